"""Scoring over HTTP: the rows of the command line, limits before memory, errors that say why."""

import asyncio
import base64
import io
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import FACES, ORIGINAL, RunCli, encode
from fastapi.testclient import TestClient
from PIL import Image
from starlette.requests import ClientDisconnect

import mspt
from mspt.errors import ConfigError, ModelError
from mspt.results import COLUMNS, FACTOR_COLUMNS
from mspt.serve.app import create_app
from mspt.serve.metrics import _forget_dead
from mspt.serve.problems import ProblemError
from mspt.serve.queue import Queue
from mspt.serve.routes import _client
from mspt.serve.service import Service
from mspt.serve.settings import Settings
from mspt.serve.upload import read_uploads

PNG = {"Content-Type": "image/png"}
PHOTO = ORIGINAL.read_bytes()


def client_of(**settings: object) -> TestClient:
    return TestClient(create_app(Settings(**settings)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with client_of() as made:
        yield made


def form(*photos: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("files", (name, data, "image/png")) for name, data in photos]


def problem_of(answer) -> str:
    """Return the detail of an error, whose form is checked."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["title"] == HTTPStatus(answer.status_code).phrase
    return body["detail"]


def test_the_log_has_a_level_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("mspt.serve")
    before = log.level
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setenv("MSPT_LOG", "warning")
    with client_of():
        assert log.level == logging.WARNING
    log.setLevel(before)
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setenv("MSPT_LOG", "loud")
    with pytest.raises(ConfigError, match="MSPT_LOG LOUD is no level; take one of CRITICAL"):
        client_of()


def test_a_crop_needs_memory_and_its_lack_is_a_row(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("mspt.inference.scorer.to_rgb", without_memory)
    for query in ("", "?crop=1"):
        answer = client.post(f"/v1/score{query}", files={"image": ORIGINAL.read_bytes()})
        assert answer.status_code == 422
        assert "not enough memory" in answer.text


def test_a_photo_gets_the_row_of_the_command_line(client: TestClient) -> None:
    expected = mspt.load().score(ORIGINAL).to_dict() | {"path": ""}
    (row,) = client.post("/v1/score", content=PHOTO, headers=PNG).json()["rows"]
    assert tuple(row) == COLUMNS
    assert row == expected
    (named,) = client.post("/v1/score", files=form(("me.png", PHOTO))).json()["rows"]
    assert named == expected | {"path": "me.png"}


def test_factors_and_the_square_come_when_asked_for(client: TestClient) -> None:
    dark = (FACES / "underexposure-0.6.png").read_bytes()
    query = {"factors": True, "crop": True}
    (row,) = client.post("/v1/score", params=query, content=dark, headers=PNG).json()["rows"]
    assert set(row) == {*COLUMNS, *FACTOR_COLUMNS, "square", "crop"}
    assert row["reason_codes"] == "dark"
    with Image.open(io.BytesIO(base64.b64decode(row["crop"]))) as square:
        x1, y1, x2, y2 = row["square"]
        assert square.size == (x2 - x1, y2 - y1)


def test_a_batch_keeps_its_order_and_a_bad_photo_is_a_row(client: TestClient) -> None:
    photos = form(("a.png", PHOTO), ("b.png", b"no photo"), ("c.png", PHOTO))
    answer = client.post("/v1/score/batch", files=photos).json()["photos"]
    assert [photo["rows"][0]["path"] for photo in answer] == ["a.png", "b.png", "c.png"]
    assert [photo["rows"][0]["status"] for photo in answer] == ["ok", "unreadable", "ok"]
    assert "not an image of a known format" in answer[1]["rows"][0]["error"]


@pytest.mark.parametrize(
    ("status", "says", "request_"),
    [
        (422, "the request holds no photo", {"content": b"", "headers": PNG}),
        (422, "not an image of a known format", {"content": b"text", "headers": PNG}),
        (422, "1 x 1 px", {"content": encode(Image.new("RGB", (1, 1)), "PNG"), "headers": PNG}),
        (
            415,
            "'text/plain' is not taken",
            {"content": PHOTO, "headers": {"Content-Type": "text/plain"}},
        ),
        (415, "there is no Content-Type; send the photo as image/jpeg", {"content": PHOTO}),
        (
            422,
            "holds no photo; a photo is a part of the form with a filename",
            {"files": {"files": (None, b"small")}},
        ),
        (
            422,
            "Part exceeded maximum size of 1024KB; a photo is a part of the form with a filename",
            {"files": {"files": (None, b"x" * 2**21)}},
        ),
        (
            422,
            "one photo is taken here, several by /v1/score/batch",
            {"files": form(("a", PHOTO), ("b", PHOTO))},
        ),
        (
            422,
            "detect='perhaps'",
            {"content": PHOTO, "headers": PNG, "params": {"detect": "perhaps"}},
        ),
        (
            422,
            "the form cannot be read",
            {"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}},
        ),
    ],
)
def test_a_request_that_cannot_be_done_says_why(
    status: int, says: str, request_: dict, client: TestClient
) -> None:
    answer = client.post("/v1/score", **request_)
    assert answer.status_code == status
    assert says in problem_of(answer)


def test_unknown_routes_are_problems_too(client: TestClient) -> None:
    for method, path in (("GET", "/v2/score"), ("GET", "/gone.css"), ("POST", "/v2/score")):
        answer = client.request(method, path)
        assert answer.status_code in (404, 405)
        assert "/docs" in problem_of(answer)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/score", "POST"),
        ("PUT", "/v1/score/batch", "POST"),
        ("DELETE", "/docs", "GET"),
        ("HEAD", "/v1/score", "POST"),
        ("POST", "/healthz", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert method == "HEAD" or "/docs" in problem_of(answer)


def test_probes_may_ask_for_the_head_alone(client: TestClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/v1/models", "/docs", "/openapi.json", "/"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path


def test_a_slash_too_many_leads_to_the_route(client: TestClient) -> None:
    answer = client.post("/v1/score/", content=PHOTO, headers=PNG)
    assert answer.status_code == 200
    assert answer.json()["rows"][0]["status"] == "ok"


def test_bytes_beyond_the_limits_are_refused_before_they_are_kept() -> None:
    with client_of(max_image=1000, max_body=3000, max_batch=2) as client:
        promised = client.post("/v1/score", content=b"x" * 1001, headers=PNG)
        streamed = client.post("/v1/score", content=(b"x" * 500 for _ in range(3)), headers=PNG)
        for answer in (promised, streamed):
            assert answer.status_code == 413
            assert "at most 1,000 bytes are taken" in problem_of(answer)
    with client_of(max_image=3000, max_body=1000) as client:
        assert client.post("/v1/score", content=b"x" * 2000, headers=PNG).status_code == 413
    with client_of(max_image=1000, max_body=3000, max_batch=2) as client:
        large = client.post("/v1/score/batch", files=form(("a", b"x" * 4000)))
        assert large.status_code == 413
        one = client.post("/v1/score/batch", files=form(("a", b"x"), ("b", b"x" * 1500)))
        assert one.status_code == 413
        assert "photo 2 has 1,500 bytes" in problem_of(one)
        many = client.post("/v1/score/batch", files=form(*[("a", b"x")] * 3))
        assert many.status_code == 422
        assert "at most 2 photos" in problem_of(many)


def test_the_token_opens_scores_and_figures_and_nothing_else_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MSPT_TOKEN", "s3cret")
    with client_of() as client:
        for shown in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
            answer = client.post("/v1/score", content=PHOTO, headers=PNG | shown)
            assert answer.status_code == 401
            assert "Authorization: Bearer" in problem_of(answer)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert client.get("/metrics", headers=shown).status_code == 401
        right = {"Authorization": "Bearer s3cret"}
        assert client.post("/v1/score", content=PHOTO, headers=PNG | right).status_code == 200
        assert client.get("/metrics", headers=right).status_code == 200
        assert client.get("/").status_code == client.get("/healthz").status_code == 200


def test_pages_elsewhere_may_ask_only_if_they_were_named() -> None:
    origin = {"Origin": "https://photos.example"}
    with client_of() as closed, client_of(cors_origins=("https://photos.example",)) as open_:
        assert "access-control-allow-origin" not in closed.get("/v1/models", headers=origin).headers
        allowed = open_.get("/v1/models", headers=origin).headers["access-control-allow-origin"]
        assert allowed == "https://photos.example"


def test_a_misspelt_wish_is_refused_not_ignored(client: TestClient) -> None:
    for route in ("/v1/score", "/v1/score/batch"):
        answer = client.post(f"{route}?factor=true", content=PHOTO, headers=PNG)
        assert answer.status_code == 422
        assert "factor: no such query; there are crop, detect, factors" in problem_of(answer)
    two = client.post("/v1/score", files=form(("a", PHOTO), ("b", PHOTO)))
    assert "several by /v1/score/batch" in problem_of(two)


def test_operators_see_health_readiness_and_figures(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["status"] == "ready"
    client.post("/v1/score", content=PHOTO, headers=PNG)
    client.post("/v1/score", content=b"x", headers=PNG)
    text = client.get("/metrics").text
    for line in (
        'mspt_requests_total{route="/v1/score",status="200"}',
        'mspt_requests_total{route="/v1/score",status="422"}',
        'mspt_photos_total{status="ok"}',
        "mspt_requests_in_flight",
        "mspt_request_seconds_bucket",
    ):
        assert line in text
    model = client.get("/v1/models").json()
    assert model["model"] == mspt.load().label
    assert model["embedded"] == ["base", "fast"]


def counted_photos(client: TestClient) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    totals = [line.split() for line in lines if line.startswith("mspt_photos_total{")]
    return {name.split('"')[1]: float(value) for name, value in totals}


def test_a_photo_is_counted_once_as_what_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    def wait(self: Service, upload: object, **_: bool) -> list[dict[str, str]]:
        goes_on.wait()
        return [{"status": "ok"}]

    monkeypatch.setattr(Service, "_score_now", wait)
    with client_of(timeout_s=0.1, threads=2) as client:
        assert client.post("/v1/score", content=PHOTO, headers=PNG).status_code == 422
        (photo,) = client.post("/v1/score/batch", files=form(("a", PHOTO))).json()["photos"]
        assert photo["rows"][0]["status"] == "unreadable"
        goes_on.set()
        time.sleep(0.2)
        assert counted_photos(client) == {"unreadable": 2}


def test_what_a_killed_worker_had_in_flight_is_forgotten(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    files = [tmp_path / f"gauge_livesum_{pid}.db" for pid in (dead.pid, os.getpid())]
    for file in files:
        file.write_bytes(b"")
    _forget_dead(tmp_path)
    assert [file.exists() for file in files] == [False, True]


def test_the_interface_describes_itself(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    routes = {"/v1/score", "/v1/score/batch", "/v1/models", "/healthz", "/readyz", "/metrics"}
    assert set(described["paths"]) == routes
    assert "security" in described["paths"]["/metrics"]["get"]
    assert described["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    answers = described["paths"]["/v1/score"]["post"]["responses"]
    said = answers["200"]["content"]["application/json"]
    row = said["schema"]["properties"]["rows"]["items"]
    assert set(row["required"]) == set(COLUMNS) == set(said["example"]["rows"][0])
    assert {"200", "401", "413", "415", "422", "429", "503"} <= set(answers)


def test_logs_name_no_photo(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="mspt.serve"):
        client.post("/v1/score", files=form(("grandmother.png", PHOTO)), params={"crop": True})
        client.get("/grandmother")
    lines = [json.loads(record.message) for record in caplog.records if record.name == "mspt.serve"]
    assert [(line["route"], line["status"]) for line in lines] == [("/v1/score", 200), ("/", 404)]
    assert "grandmother" not in caplog.text


def test_the_page_asks_nobody_but_the_server(client: TestClient) -> None:
    page = client.get("/")
    assert "<h1>" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    for name in ("", "style.css", "page.js"):
        text = client.get(f"/{name}").text
        assert "http://" not in text
        assert "https://" not in text
        assert "//cdn" not in text


def test_a_server_that_cannot_score_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        create_app(Settings(model="gone"))
    with pytest.raises(ConfigError, match="max_batch is 0, but must be at least 1"):
        Settings(max_batch=0)
    never = ("https://App.example", "https://*.example", "https://a.example:443", "http://a:80")
    for origin in (*never, "https://app.example/", "https://app.example/page", "app.example", ""):
        with pytest.raises(ConfigError, match="pages come from an origin such as https://photos"):
            Settings(cors_origins=(origin,))
    sent = ("*", "null", "http://localhost:3000", "http://a:443", "capacitor://localhost")
    assert Settings(cors_origins=sent).cors_origins == sent


def test_what_the_environment_names_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match=r"\$PROMETHEUS_MULTIPROC_DIR: .*gone is no folder; make"):
        client_of()
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    monkeypatch.setenv("MSPT_DETECTOR", str(tmp_path / "gone.onnx"))
    with pytest.raises(ConfigError, match=r"gone.onnx \(from \$MSPT_DETECTOR\); correct the path"):
        client_of()


def test_a_limit_of_nothing_is_refused_by_its_option(run_cli: RunCli) -> None:
    for option in ("--max-body", "--max-batch", "--max-faces", "--timeout"):
        done = run_cli("serve", option, "0")
        assert done.returncode == 2
        assert f"Invalid value for '{option}'" in done.stderr
    done = run_cli("serve", "--site", "")
    assert done.returncode == 2
    assert "'--site': the name is empty; is a shell variable not set?" in done.stderr
    done = run_cli("serve", "--site", "s", "--model", "fast", "--port", "9", "--max-faces", "3")
    assert "--port, --model: says nothing of --site's plain files; leave it out" in done.stderr
    done = run_cli("serve", "--site", "s", "--open")
    assert "--open: says nothing" in done.stderr


def test_a_port_that_is_taken_is_said_and_no_page_of_a_stranger_opens(
    run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER", f"touch {tmp_path / 'opened'} %s")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run_cli("serve", "--open", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "nobody can listen there: Address already in use; name another --port" in done.stderr
    assert not (tmp_path / "opened").exists()


def test_the_page_opens_once_the_server_answers(tmp_path: Path) -> None:
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/asked\n')
    script.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mspt", "serve", "--open", "--host", "0.0.0.0", "--port"]
    env = os.environ | {"BROWSER": f"{script} %s"}
    with subprocess.Popen([*command, str(port)], cwd=tmp_path, env=env) as server:
        deadline = time.monotonic() + 60
        while not (tmp_path / "asked").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        server.terminate()
    assert (tmp_path / "asked").read_text() == f"http://127.0.0.1:{port}\n"


def test_settings_reach_worker_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSPT_SERVE", raising=False)
    assert Settings.inherited() == Settings()
    told = Settings(model="fast", cors_origins=("https://a.example",), timeout_s=3)
    monkeypatch.setenv("MSPT_SERVE", "")
    told.export()
    assert Settings.inherited() == told
    for text in ("[]", "{", '{"modle": "fast"}', '{"threads": true}', '{"detector": 7}'):
        monkeypatch.setenv("MSPT_SERVE", text)
        with pytest.raises(ConfigError, match=r"\$MSPT_SERVE"):
            Settings.inherited()


# ---- the queue ----


def test_no_more_waits_than_is_allowed() -> None:
    async def ask() -> None:
        queue = Queue(threads=1, max_waiting=1, max_per_client=9)
        async with queue.admit("a"), queue.admit("b"):
            assert queue.requests == 2
            with pytest.raises(ProblemError, match="2 requests are here already") as refused:
                async with queue.admit("c"):
                    pass
            assert refused.value.status == 503
            assert refused.value.headers == {"Retry-After": "1"}
        async with queue.admit("c"):
            pass
        assert queue.requests == 0

    asyncio.run(ask())


def test_a_client_may_not_take_all_places() -> None:
    async def ask() -> None:
        queue = Queue(threads=4, max_waiting=9, max_per_client=1)
        async with queue.admit("a"):
            with pytest.raises(ProblemError, match="1 requests of yours") as refused:
                async with queue.admit("a"):
                    pass
            assert refused.value.status == 429
            async with queue.admit("b"):
                pass

    asyncio.run(ask())


def test_a_photo_that_takes_too_long_keeps_its_thread_until_it_is_done() -> None:
    goes_on = threading.Event()

    async def ask() -> None:
        queue = Queue(threads=1, max_waiting=9, max_per_client=9)
        with pytest.raises(ProblemError, match=r"took longer than 0.1 s") as late:
            await queue.run(goes_on.wait, 0.1, stays)
        assert late.value.status == 422, "asking again would not help"
        second = asyncio.create_task(queue.run(time.perf_counter, 5, stays))
        await asyncio.sleep(0.1)
        assert not second.done(), "the only thread is still at the first photo"
        freed = time.perf_counter()
        goes_on.set()
        assert await second >= freed

    asyncio.run(ask())


def test_a_photo_is_not_blamed_for_the_one_before_it() -> None:
    async def ask() -> None:
        queue = Queue(threads=1, max_waiting=9, max_per_client=9)
        first = queue.run(lambda: time.sleep(0.5), 0.1, stays)
        second = queue.run(lambda: 7, 0.2, stays)
        late, answer = await asyncio.gather(first, second, return_exceptions=True)
        assert isinstance(late, ProblemError)
        assert answer == 7, "it waited longer than it may run"

    asyncio.run(ask())


async def stays() -> bool:
    return False


async def leaves() -> bool:
    return True


def test_a_photo_that_nobody_waits_for_is_not_scored() -> None:
    async def ask() -> None:
        queue = Queue(threads=1, max_waiting=9, max_per_client=9)
        with pytest.raises(ClientDisconnect):
            await queue.run(lambda: pytest.fail("it was scored"), 5, leaves)
        assert await queue.run(lambda: 7, 5, stays) == 7, "the thread is free again"

    asyncio.run(ask())


def test_a_client_that_hangs_up_is_no_error_of_the_server(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang_up(*_: object, **__: object) -> None:
        raise ClientDisconnect

    monkeypatch.setattr("mspt.serve.routes.read_uploads", hang_up)
    with caplog.at_level("INFO", logger="mspt.serve"), suppress(Exception):
        client.post("/v1/score", content=PHOTO, headers=PNG)
    (line,) = [record.message for record in caplog.records if record.name == "mspt.serve"]
    assert json.loads(line)["status"] == 499


def test_a_page_from_elsewhere_can_read_an_error_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("mspt.serve.routes.read_uploads", fail)
    origin = "https://photos.example"
    with client_of(cors_origins=(origin,)) as client:
        answer = client.post("/v1/score", content=PHOTO, headers=PNG | {"Origin": origin})
    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == origin
    assert "a fault of ours" not in problem_of(answer)


# ---- what strangers try ----


def test_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        headers = {"content-type": "image/png"}  # noqa: RUF012

        async def stream(self):
            while True:
                await asyncio.sleep(0.05)
                yield b"x"

    with pytest.raises(ProblemError, match="did not arrive within 0.2 s") as late:
        asyncio.run(read_uploads(Slow(), Settings(timeout_s=0.2), max_files=1))
    assert late.value.status == 408


def test_faces_cannot_be_found_without_a_detector(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MSPT_DETECTOR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    answers = (
        client.post("/v1/score", params={"detect": True}, content=PHOTO, headers=PNG),
        client.post("/v1/score/batch", params={"detect": True}, files=form(("a.png", PHOTO))),
    )
    for answer in answers:
        assert answer.status_code == 422
        assert "detector" in problem_of(answer) or "opencv" in problem_of(answer)


def test_a_server_whose_detector_is_none_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises((ConfigError, ModelError)):
        client_of(detector=str(tmp_path / "bad.onnx"), trust_detector=True)


def test_a_face_too_small_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"face": 0, "status": "too_small", "error": "the face's square is 20 x 20 px"}
    monkeypatch.setattr(Service, "_score_now", lambda self, upload, **options: [row])
    with client_of() as client:
        answer = client.post("/v1/score", params={"detect": True}, content=PHOTO, headers=PNG)
    assert (answer.status_code, answer.json()) == (200, {"rows": [row]})


def test_any_name_comes_back_as_text(client: TestClient) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="\\ud800.jpg"\r\n'
        b"Content-Type: image/png\r\n\r\n" + PHOTO + b"\r\n--b--\r\n"
    )
    kind = "multipart/form-data; boundary=b; charset=unicode_escape"
    answer = client.post("/v1/score", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (200, 422)
    assert answer.json()


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_a_customers_whole_network_is_one_client(host: str, named: str) -> None:
    assert _client(SimpleNamespace(client=SimpleNamespace(host=host))) == named


def test_the_page_of_the_interface_fetches_nothing(client: TestClient) -> None:
    page = client.get("/docs").text
    for said in ("POST /v1/score", "POST /v1/score/batch", "GET /v1/models", "detect", "429"):
        assert said in page
    for said in ("GET /healthz", "GET /metrics", "Authorization: Bearer TOKEN", "the token, if"):
        assert said in page
    assert "<script" not in page
    assert "https://" not in page
