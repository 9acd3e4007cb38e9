"""What does HTTP cost? Photos a second of `mspt serve` against the same process scoring directly.

    python -m benchmarks.speed.serve [--photos 400] [--clients 8] [--model base]

In:   the example portrait as a JPEG of 1024 px, sent again and again over the loopback interface.
Out:  photos a second with and without HTTP, milliseconds of a request (median, 95th percentile),
      and the server's memory before and after.
"""

import argparse
import http.client
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

import mspt

PHOTO = Path(__file__).parents[2] / "examples/faces/original.png"
SIDE_PX, QUALITY = 1024, 92


def make_photo() -> bytes:
    """Return the portrait as a JPEG of usual size."""
    buffer = io.BytesIO()
    with Image.open(PHOTO) as image:
        image.convert("RGB").resize((SIDE_PX, SIDE_PX)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(port: int, photo: bytes, count: int) -> list[float]:
    """Send a photo so many times over one connection; return the seconds of each request."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        connection.request("POST", "/v1/score", photo, {"Content-Type": "image/jpeg"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {body.decode()}")
        seconds.append(time.perf_counter() - begun)
    return seconds


def resident_mib(pid: int) -> float:
    """Return a process's memory (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def wait_until_ready(port: int) -> None:
    """Return when the server takes requests."""
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def measure(photo: bytes, model: str, photos: int, clients: int) -> Sequence[str]:
    """Return the lines to print."""
    port = free_port()
    command = [sys.executable, "-m", "mspt", "serve", "--model", model, "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        wait_until_ready(port)
        post(port, photo, 20)  # warm
        before = resident_mib(server.pid)
        begun = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            parts = pool.map(lambda _: post(port, photo, photos // clients), range(clients))
            seconds = [s for part in parts for s in part]
        over_http = len(seconds) / (time.perf_counter() - begun)
        after = resident_mib(server.pid)
        server.terminate()
    scorer = mspt.load(model)
    list(scorer.score_many([photo] * 20))
    begun = time.perf_counter()
    list(scorer.score_many([photo] * photos))
    directly = photos / (time.perf_counter() - begun)
    middle, slow = 1000 * np.percentile(seconds, [50, 95])
    return [
        f"{scorer.label}, {len(photo) / 2**10:.0f} KiB a photo, {clients} clients",
        f"over HTTP {over_http:.1f} photos/s, directly {directly:.1f}: {over_http / directly:.0%}",
        f"a request takes {middle:.0f} ms (median), {slow:.0f} ms (95th percentile)",
        f"memory {before:.0f} MiB before, {after:.0f} MiB after {len(seconds)} photos",
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--model", default="base")
    options = parser.parse_args()
    for line in measure(make_photo(), options.model, options.photos, options.clients):
        print(line)


if __name__ == "__main__":
    main()
