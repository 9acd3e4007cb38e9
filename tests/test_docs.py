"""What the tutorial promises is run as it stands, on drawn faces; its table of keys is complete."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT
from docs import write_cli, write_python

from mspt.training.config import DataConfig, EngineConfig, LossConfig, RunConfig, StageConfig

TUTORIAL = (ROOT / "docs/train-your-own.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TUTORIAL, flags=re.DOTALL)


@pytest.mark.slow
def test_the_whole_tutorial_runs(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    ran = 0
    for language, body in BLOCKS:
        if language == "toml":
            name = body.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(body, encoding="utf-8")
        if language in ("sh", "python"):
            python = [sys.executable, "-c", body]
            command = ["sh", "-ec", body] if language == "sh" else python
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{body}\n{done.stdout}\n{done.stderr}"
            ran += len(body.splitlines()) if language == "sh" else 0
    assert ran == 13
    summary = (tmp_path / "out/my-run/summary.md").read_text()
    first, second, third = re.findall(r"^\| [123] \|.* (0\.\d+) \[.* \|$", summary, re.MULTILINE)[
        :3
    ]
    assert float(first) < float(second) < float(third), "each stage wins"
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1 + 24 * 9
    assert ",pseudo," in (tmp_path / "data/my-faces/pseudo.csv").read_text()


def test_the_table_names_every_key_and_no_other() -> None:
    named = set(re.findall(r"^\| `(\w+)`", TUTORIAL, flags=re.MULTILINE)) | {"epochs"}
    models = (RunConfig, DataConfig, LossConfig, EngineConfig, StageConfig)
    assert named == {key for model in models for key in model.model_fields} - {
        "data",
        "loss",
        "engine",
        "stages",
    }


@pytest.mark.parametrize("written", [write_cli, write_python])
def test_a_page_that_is_written_says_what_the_code_does(written: ModuleType) -> None:
    assert written.PAGE.read_text(encoding="utf-8") == written.page(), "run `make docs`"


def test_what_docs_point_to_is_there() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "labels/README.md"]
    for path in pages:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (path.parent / target).exists(), f"{path.name} points to {target}"
