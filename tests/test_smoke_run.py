"""The whole training path on drawn faces, by the commands that people type."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, RunCli

import mspt

pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_drawn_faces_become_a_model(run_cli: RunCli, tmp_path: Path) -> None:
    for folder in ("runs", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    script = [sys.executable, "examples/draw_faces.py", "data/smoke"]
    subprocess.run(script, cwd=tmp_path, check=True)

    def run(*args: str) -> str:
        done = run_cli(*args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    photos, manifest = "data/smoke/photos.csv", "data/smoke/set/manifest.csv"
    run("synthesize", photos, "data/smoke/set", "--frame", "256", "--min-side", "256")
    plan = run("train", "runs/smoke.toml", "--dry-run")
    assert "stage 3: 160 px" in plan
    assert not (tmp_path / "out").exists(), "a dry run leaves nothing behind"

    checkpoint = run("train", "runs/smoke.toml").strip()
    log = (tmp_path / "out/smoke/metrics.jsonl").read_text()
    rows = [json.loads(row) for row in log.splitlines()]
    evaluations = [row["val"] for row in rows if "val" in row]
    assert [sorted(val) for val in evaluations] == [["1", "2", "3"]] * 3

    run("export", checkpoint, "smoke.onnx", "--licence", "CC0-1.0")
    evaluation = json.loads(run("evaluate", manifest, "--model", "smoke.onnx", "--json"))
    assert evaluation["overall"]["images"] == 12 * 13
    assert evaluation["severity_order"]["pairs"] == 12 * 2
    info = mspt.load(tmp_path / "smoke.onnx").info
    assert info.licence == "CC0-1.0"
    assert info.reference.description == "val images of smoke (39 images)"
    assert info.spec.short_side == 160
