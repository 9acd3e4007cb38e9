"""Run files: what makes no sense is refused before an image is opened, naming both values."""

import math
from pathlib import Path

import pytest
from conftest import ROOT, change, raw_run

from mspt.errors import ConfigError
from mspt.training.config import load_run, parse_run


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("stages.1.shortside", 1, "unknown key 'stages.1.shortside'; did you mean 'short_side'?"),
        ("sed", 1, "unknown key 'sed'; did you mean 'seed'?"),
        ("data.1.manifst", "x", "unknown key 'data.1.manifst'; did you mean 'manifest'?"),
        ("data", {"train": "x"}, r"data: is a list: write \[\[data\]\] with two brackets"),
        ("stages", {"steps": 5}, r"stages: is a list: write \[\[stages\]\] with two brackets"),
        ("engine", {"precision": "int8"}, "engine.precision = 'int8': Input should be 'fp32'"),
        ("budget", "0.5", "budget = '0.5': budget '0.5' is not of the form FLOPS,PARAMS"),
        ("network", "resnet", "network = 'resnet': String should match pattern"),
        ("stages.1.epochs", 2, "stages.1: steps 5 and epochs 2: give exactly one of the two"),
        (
            "stages.2.replay",
            0.9,
            "replay 0.9 of batch 4 is 4 images, but both new",
        ),
        ("data.1", {"manifest": "m", "split": "val", "val_share": 0.1}, "give one of the two"),
        ("data.1.mos_scale", [3, 3], r"mos_scale \[3.0, 3.0\] has the same worst and best"),
        ("stages.1.replay", 0.5, "stage 1: replay 0.5 refers to an earlier stage; drop it"),
        ("stages.1.distill", 1, "stage 1: distill 1 needs start weights; set init"),
        ("stages.1.l2sp", 0.1, "stage 1: l2sp 0.1 needs start weights; set init"),
        ("stages.1.freeze_steps", 5, "stages.1: freeze_steps 5 must be below steps 5; lower it"),
        ("stages.1.short_side", 96, "stage 2: short_side 64 px is below stage 1's 96 px; raise it"),
        ("stages.2.sources", ["b"], r"stage 2: sources \['b'\] drop \['a'\] of stage 1"),
        ("stages.1.short_side", None, "key 'stages.1.short_side' is missing"),
        ("stages.2.batch", 1, "stages.2.batch = 1: Input should be greater than or equal to 2"),
        ("stages.1.steps", None, "stages.1: steps 0 and epochs 0: give exactly one"),
        ("stages.1.peak_lr", "high", "stages.1.peak_lr = 'high': Input should be a valid number"),
        ("name", "a/b", "name = 'a/b': String should match pattern"),
        ("stages.1.warmup_steps", 5, "stages.1: warmup_steps 5 must be below steps 5; lower it"),
        (
            "stages.1.short_side",
            100,
            "stages.1.short_side = 100: Input should be a multiple of 32$",
        ),
        ("name", "..", "name = '..': String should match pattern"),
        ("seed", 2**70, "seed = .*: Input should be less than"),
        ("stages.1.peak_lr", math.inf, "stages.1.peak_lr = inf: Input should be a finite number"),
    ],
)
def test_a_run_file_that_makes_no_sense_is_refused(
    where: str, value: object, message: str, manifest: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_run(change(raw_run(manifest), where, value), "run.toml")


def test_replay_without_new_sources_is_refused(manifest: Path) -> None:
    raw = change(raw_run(manifest), "stages.1.sources", ["a", "b"])
    with pytest.raises(ConfigError, match="stage 2: replay 0.5 needs sources that stage 1 lacks"):
        parse_run(change(raw, "stages.2.replay", 0.5), "run.toml")


def test_paths_are_relative_to_the_run_file(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'name = "r"\ninit = "start.safetensors"\n[engine]\ncache = "../cache"\n'
        '[[data]]\nmanifest = "a/m.csv"\nimages = "b"\n'
        "[[stages]]\nshort_side = 32\nsources = ['x']\nepochs = 2\npeak_lr = 1e-3\n"
    )
    text = (tmp_path / "run.toml").read_text()
    (tmp_path / "run.toml").write_text(text, encoding="utf-8-sig")  # as Windows' Notepad does
    run = load_run(tmp_path / "run.toml")
    assert run.init == str(tmp_path / "start.safetensors")
    assert run.engine.cache == tmp_path / "../cache"
    assert (run.data[0].manifest, run.data[0].images) == (tmp_path / "a/m.csv", tmp_path / "b")


def test_links_are_named_as_they_are(tmp_path: Path) -> None:
    """Tools that keep files by their hash put links where people look."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store/abc").write_text("path,mos\n")
    (tmp_path / "m.csv").symlink_to("store/abc")
    (tmp_path / "run.toml").write_text(
        'name = "r"\ninit = "start.onnx"\n[[data]]\nmanifest = "m.csv"\n'
        "[[stages]]\nshort_side = 32\nsources = ['x']\nepochs = 2\npeak_lr = 1e-3\n"
    )
    (tmp_path / "start.onnx").symlink_to("store/abc")
    run = load_run(tmp_path / "run.toml")
    assert (run.data[0].manifest, run.init) == (tmp_path / "m.csv", str(tmp_path / "start.onnx"))


def test_the_published_runs_are_valid() -> None:
    for path in (ROOT / "runs").rglob("*.toml"):
        run = load_run(path)
        assert run.name == path.stem
        if path.parent.name == "runs":  # the others compare, in fewer stages
            assert len(run.stages) == 3
    sides = {
        name: [stage.short_side for stage in load_run(ROOT / f"runs/{name}.toml").stages]
        for name in ("base", "fast")
    }
    assert sides == {"base": [384, 512, 640], "fast": [224, 320, 384]}
