"""Nobody is called and nothing is written that was not asked for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ORIGINAL

CODE = """
import sys
import mspt
scorer = mspt.load(backend=sys.argv[1])
for _ in range(3):
    scorer.score(sys.argv[2])
print([name for name in sys.modules if name.startswith("openvino_telemetry")])
"""


def score(home: Path, backend: str, *tracer: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ORT_DISABLE_TELEMETRY", "CI", "XDG_CACHE_HOME")
    }
    command = [*tracer, sys.executable, "-c", CODE, backend, str(ORIGINAL)]
    return subprocess.run(
        command,
        env=environment | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_scoring_leaves_nothing_at_home_and_says_nothing(backend: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = score(home, backend)
    assert not list(home.rglob("*"))
    assert done.stderr == ""
    assert done.stdout == "[]\n", "openvino's telemetry is not even loaded"


def test_a_home_that_cannot_be_written_is_no_matter(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("not a folder")
    assert score(home, "onnxruntime").stderr == ""


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_no_socket_is_opened(backend: str, tmp_path: Path) -> None:
    log = tmp_path / "calls.txt"
    score(tmp_path, backend, "strace", "-f", "-qq", "-e", "trace=network", "-o", str(log))
    calls = [line for line in log.read_text().splitlines() if "AF_INET" in line]
    assert not calls


def test_what_the_user_has_set_stays() -> None:
    code = "import os, mspt; mspt.load(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
