"""`mspt serve --isolate`: a photo that costs too much ends its own process and nothing else."""

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import DETECTOR, ORIGINAL, draw_group, encode
from fastapi.testclient import TestClient
from PIL import Image

from mspt.limits import MAX_PIXELS
from mspt.serve.app import create_app
from mspt.serve.settings import Settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]
PHOTO = ORIGINAL.read_bytes()
WEBP = {"Content-Type": "image/webp"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(model="fast", backend="onnxruntime", isolate=True, threads=1, timeout_s=1)
    with pytest.MonkeyPatch.context() as patch:  # no detector
        patch.delenv("MSPT_DETECTOR", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with TestClient(create_app(settings)) as made:
            made.post("/v1/score", content=PHOTO, headers={"Content-Type": "image/png"})
            yield made


@pytest.fixture(scope="module")
def slow_photo() -> bytes:
    """A few kilobytes that take seconds to decode."""
    side = int(MAX_PIXELS**0.5)
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (9, 9, 9)).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def score(client: TestClient, **query: bool) -> float:
    answer = client.post(
        "/v1/score", params=query, content=PHOTO, headers={"Content-Type": "image/png"}
    )
    assert answer.status_code == 200, answer.text
    return float(answer.json()["rows"][0]["score"])


def processes() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid]


def test_rows_are_those_of_a_server_that_does_not_isolate(client: TestClient) -> None:
    plain = TestClient(create_app(Settings(model="fast", backend="onnxruntime")))
    query = {"factors": True, "crop": True}
    png = {"Content-Type": "image/png"}
    answers = [
        made.post("/v1/score", params=query, content=PHOTO, headers=png).json()
        for made in (plain, client)
    ]
    assert answers[0] == answers[1]
    assert answers[0]["rows"][0]["crop"]


def test_a_photo_that_takes_too_long_is_stopped_and_the_next_is_scored(
    client: TestClient, slow_photo: bytes
) -> None:
    (before,) = processes()
    begun = time.monotonic()
    answer = client.post("/v1/score?crop=true", content=slow_photo, headers=WEBP)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "the photo took longer than 1 s to score; send a smaller one"
    assert time.monotonic() - begun < 10
    assert 0 < score(client) < 1
    assert before not in processes(), "it was killed, and another one took its place"


def test_a_process_that_dies_takes_one_photo_along(client: TestClient, slow_photo: bytes) -> None:
    score(client)
    (victim,) = processes()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, "/v1/score", content=slow_photo, headers=WEBP)
        time.sleep(0.2)
        os.kill(victim, signal.SIGKILL)
        answer = asked.result()
    assert answer.status_code == 422
    assert "the process that read the photo died" in answer.json()["detail"]
    assert 0 < score(client) < 1


def test_a_stop_of_all_processes_blames_no_photo(slow_photo: bytes) -> None:
    """systemd tells every process of a service to end; the server finishes what it took."""
    settings = Settings(model="fast", backend="onnxruntime", isolate=True, threads=2)
    with TestClient(create_app(settings)) as made, ThreadPoolExecutor(1) as pool:
        score(made)
        before = processes()
        asked = pool.submit(made.post, "/v1/score", content=slow_photo, headers=WEBP)
        time.sleep(0.5)
        for worker in before:
            os.kill(worker, signal.SIGTERM)
        answer = asked.result()
    assert answer.status_code == 200, answer.text


def test_a_process_that_dies_idle_is_replaced(client: TestClient) -> None:
    score(client)
    for victim in processes():
        os.kill(victim, signal.SIGKILL)
    time.sleep(1)
    assert 0 < score(client) < 1


def test_an_application_may_be_started_once_more() -> None:
    app = create_app(Settings(model="fast", backend="onnxruntime", isolate=True, threads=1))
    for _ in range(2):
        with TestClient(app) as started:
            assert 0 < score(started) < 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's memory")
def test_what_takes_more_memory_than_a_photo_may_is_a_memory_error() -> None:
    code = (
        "from mspt.serve import isolate; from mspt.serve.settings import Settings; import numpy\n"
        "isolate._begin(Settings(model='fast', backend='onnxruntime', max_pixels=1_000_000))\n"
        "numpy.ones(2**29, dtype=numpy.uint8)\n"
        "try: numpy.ones(2**31, dtype=numpy.uint8)\n"
        "except MemoryError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


@pytest.mark.skipif(DETECTOR is None, reason="no YuNet file: mspt detector fetch")
def test_faces_are_found_under_a_low_limit_of_pixels() -> None:
    settings = Settings(
        model="fast", detector=str(DETECTOR), isolate=True, threads=1, max_pixels=1_000_000
    )
    with TestClient(create_app(settings)) as made:
        for form in ("PNG", "JPEG"):
            answer = made.post(
                "/v1/score?detect=true&crop=true&factors=true",
                content=encode(draw_group(), form),
                headers={"Content-Type": "image/png"},
            )
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["rows"]) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process holds")
def test_a_process_may_take_no_more_memory_than_its_photo(client: TestClient) -> None:
    score(client)
    (worker,) = processes()
    limits = Path(f"/proc/{worker}/limits").read_text(encoding="ascii")
    (line,) = [line for line in limits.splitlines() if line.startswith("Max address space")]
    assert 0 < int(line.split()[3]) < 16 * 2**30


def test_what_a_process_lacks_is_said(client: TestClient) -> None:
    answer = client.post(
        "/v1/score?detect=true", content=PHOTO, headers={"Content-Type": "image/png"}
    )
    assert answer.status_code == 422
    assert "mspt detector fetch" in answer.json()["detail"]
