"""What does HTTP cost? Photos a second of `mspt serve` against the same process scoring directly.

    python -m benchmarks.speed.serve [--seconds 15] [--clients 1 8 64] [--model base] [--isolate]
    python -m benchmarks.speed.serve --overload-minutes 10

In:   the example portrait as a JPEG of 1024 px, sent again and again over the loopback interface.
Out:  for each number of clients photos a second and milliseconds of a request (median, 99th
      percentile), and photos a second without HTTP. At overload, by more clients than may wait:
      answers by status, and the server's memory every minute.
Needs wrk (Debian's package): clients in Python would take a good part of the server's cores.
"""

import argparse
import http.client
import io
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import numpy as np
import psutil
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


class Client:
    """Sends one photo over one connection; keeps what came of it."""

    def __init__(self, port: int, photo: bytes) -> None:
        """Send nothing yet."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._photo = photo
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []  # of requests that were answered by a score

    def post(self) -> None:
        """Send the photo; told to come back, wait as long as was said."""
        begun = time.perf_counter()
        self._connection.request("POST", "/v1/score", self._photo, {"Content-Type": "image/jpeg"})
        answer = self._connection.getresponse()
        answer.read()
        self.statuses[answer.status] += 1
        if answer.status == HTTPStatus.OK:
            self.seconds.append(time.perf_counter() - begun)
        else:
            time.sleep(float(answer.headers.get("Retry-After", 0)))

    def post_until(self, end: float) -> None:
        """Go on until a time of time.monotonic()."""
        while time.monotonic() < end:
            self.post()


def memory_mib(pid: int) -> float:
    """Return the memory of a process and its children."""
    server = psutil.Process(pid)
    return sum(p.memory_info().rss for p in (server, *server.children(recursive=True))) / 2**20


def wait_until_ready(port: int) -> None:
    """Return when the server takes requests."""
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[int, int]]:
    """Give the port and the process of a server that lets one address ask as often as it likes."""
    port = free_port()
    command = [sys.executable, "-m", "mspt", "serve", "--port", str(port)]
    command += ["--max-per-client", "1000", "--max-waiting", "200", *arguments]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until_ready(port)
            yield port, server.pid
        finally:
            server.terminate()


def run_clients(
    port: int, photo: bytes, count: int, work: Callable[[Client], None]
) -> list[Client]:
    """Let so many clients work at once."""
    clients = [Client(port, photo) for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, clients))
    return clients


def measure_clients(port: int, photo: Path, seconds: float, count: int) -> tuple[float, str]:
    """Return photos a second of so many clients, and the line that says so."""
    script = photo.with_suffix(".lua")
    script.write_text(
        f"local file = io.open({str(photo)!r}, 'rb'); wrk.body = file:read('*a'); file:close()\n"
        "wrk.method = 'POST'; wrk.headers['Content-Type'] = 'image/jpeg'\n"
        "done = function(summary, latency, requests)\n"
        "  local errors = 0; for _, n in pairs(summary.errors) do errors = errors + n end\n"
        "  io.write(summary.requests, ' ', summary.duration, ' ', errors, ' ',\n"
        "    latency:percentile(50), ' ', latency:percentile(99))\n"
        "end\n"
    )
    command = ["wrk", "-t1", f"-c{count}", f"-d{seconds:g}s", "--timeout", "60s", "-s", str(script)]
    command.append(f"http://127.0.0.1:{port}/v1/score")
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    requests, microseconds, failed, middle, slow = map(float, text.splitlines()[-1].split())
    if failed:
        raise SystemExit(f"{failed:.0f} of {requests:.0f} requests got no score")
    rate = requests / microseconds * 1e6
    middle, slow = middle / 1000, slow / 1000
    return (
        rate,
        f"clients {count}: {rate:.1f} photos/s, {middle:.0f} ms (median), {slow:.0f} (99 %)",
    )


def measure(photo: bytes, options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines to print."""
    isolate = ["--isolate"] if options.isolate else []
    rates = []
    with (
        tempfile.TemporaryDirectory() as folder,
        serving("--model", options.model, *isolate) as (port, pid),
    ):
        file = Path(folder, "photo.jpg")
        file.write_bytes(photo)
        measure_clients(port, file, 2, 2)  # warm
        for count in options.clients:
            rate, line = measure_clients(port, file, options.seconds, count)
            rates.append(rate)
            yield line
        yield f"memory {memory_mib(pid):.0f} MiB"
    scorer = mspt.load(options.model)
    photos = [photo] * 500
    list(scorer.score_many(photos[:20]))
    begun = time.perf_counter()
    list(scorer.score_many(photos))
    directly = len(photos) / (time.perf_counter() - begun)
    shares = ", ".join(f"{rate / directly:.0%}" for rate in rates)
    yield f"{scorer.label} directly: {directly:.1f} photos/s; over HTTP {shares} of it"


def overload(photo: bytes, options: argparse.Namespace) -> Iterator[str]:
    """Yield the memory every minute, then what the answers were."""
    isolate = ["--isolate"] if options.isolate else []
    with serving("--model", options.model, "--max-waiting", "16", *isolate) as (port, pid):
        end = time.monotonic() + 60 * options.overload_minutes
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(run_clients, port, photo, 64, lambda c: c.post_until(end))
            while not done.done():
                time.sleep(min(60.0, max(1.0, end - time.monotonic())))
                yield f"{time.monotonic() - end + 60 * options.overload_minutes:.0f} s: " + (
                    f"{memory_mib(pid):.0f} MiB"
                )
            clients = done.result()
    statuses = sum((client.statuses for client in clients), Counter())
    slow = 1000 * np.percentile(_seconds_of(clients), 99)
    yield f"answers by status {dict(statuses)}; of scores 99 % within {slow:.0f} ms"


def _seconds_of(clients: Sequence[Client]) -> list[float]:
    return [s for client in clients for s in client.seconds]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--model", default="base")
    parser.add_argument("--isolate", action="store_true")
    parser.add_argument("--overload-minutes", type=float, default=0.0)
    options = parser.parse_args()
    work = overload if options.overload_minutes else measure
    for line in work(make_photo(), options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
