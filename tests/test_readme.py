"""What README promises is run as it stands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_run(workplace: Path) -> None:
    (block,) = [body for language, body in BLOCKS if language == "sh"]
    venv, install, *commands = block.splitlines()
    assert (venv.split("  ")[0], install) == (
        "python3 -m venv .venv && . .venv/bin/activate",
        "pip install .",
    )
    assert len(commands) == 3
    for command in commands:
        shown = run(["sh", "-c", command], workplace)
    assert len(shown.splitlines()) == 9, "80 % of eleven photos"
    assert (workplace / "report.html").exists()


def test_the_python_lines_print_a_score(workplace: Path) -> None:
    (code,) = [body for language, body in BLOCKS if language == "python"]
    first, second, third = run([sys.executable, "-c", code], workplace).splitlines()
    assert 0.5 < float(first) < 0.9
    assert "ok" in second
    assert "none.jpg unreadable None" in third


def test_the_scores_under_the_pictures_are_todays(workplace: Path) -> None:
    lines = README.splitlines()
    (row,) = (i for i, line in enumerate(lines) if line.startswith("| ![](examples"))
    pictures = re.findall(r"\((examples/[^)]+)\)", lines[row])
    said = [float(cell) for cell in lines[row + 1].strip("|").split("|")]
    shown = run(["mspt", "score", "--backend", "onnxruntime", *pictures], workplace)
    assert [float(line.split()[0]) for line in shown.splitlines()] == pytest.approx(said, abs=0.006)


def test_the_output_shown_is_what_comes(workplace: Path) -> None:
    (shown,) = [body for language, body in BLOCKS if language == "text"]
    come = run(["mspt", "score", "--backend", "onnxruntime", "examples/faces"], workplace)
    pairs = zip(shown.splitlines(), come.splitlines(), strict=False)
    for said, line in pairs:
        (score, path), (score_now, path_now) = said.split(), line.split()
        assert path == path_now
        assert float(score) == pytest.approx(float(score_now), abs=2e-4)


def test_it_is_one_screen() -> None:
    assert len(README.split()) < 620
    assert len(README.splitlines()) < 80
