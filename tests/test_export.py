"""Checkpoints and the model files made of them."""

import json
import math
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from conftest import train_tiny
from safetensors import SafetensorError

from mspt.errors import ConfigError, DataError, ImageError, ModelError, WriteError
from mspt.evaluation.manifest import Entry, read_manifest
from mspt.inference.scorer import Scorer
from mspt.spec import square_spec
from mspt.training import checkpoint as checkpoint_module
from mspt.training import export
from mspt.training.checkpoint import latest_checkpoint, load_mean, load_network, load_state
from mspt.training.config import RunConfig
from mspt.training.engine import score_frames
from mspt.training.frames import build_frames
from mspt.training.lineage import describe_training
from mspt.training.run_folder import find_checkpoint

pytestmark = pytest.mark.slow


def test_training_learns_and_the_export_scores_alike(
    run: RunConfig, manifest: Path, tmp_path: Path
) -> None:
    settings = {"batch": 12, "steps": 40, "peak_lr": 2e-3}
    stage = run.stages[1].model_copy(update=settings)
    checkpoint = train_tiny(run.model_copy(update={"stages": (stage,)}), tmp_path / "out")
    rows = [json.loads(r) for r in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    agreement = [row["train_srcc"] for row in rows if "train_srcc" in row]
    assert agreement[-1] > 0.6, "noise this strong is learnt in forty steps"
    assert latest_checkpoint(tmp_path / "out/checkpoints") == checkpoint
    assert load_state(checkpoint).step == 40

    entries = read_manifest(manifest)
    release = export.Release(name="t", version="3", licence="MIT", reference_description="made up")
    difference = export.export_model([checkpoint], tmp_path / "t.onnx", entries, release)
    assert difference <= export.MAX_DIFFERENCE
    assert b".py" not in (tmp_path / "t.onnx").read_bytes(), "a path of the exporting machine"
    scorer = Scorer(tmp_path / "t.onnx", backend="onnxruntime")
    assert scorer.info.label == "t@3"
    assert scorer.info.spec == square_spec(64)
    assert scorer.info.reference.description == "made up (24 images)"
    assert scorer.info.training["stages"][0]["images_seen"] == 480
    scores = [scorer.score(entry.path).score for entry in entries]

    half = export.export_model(
        [checkpoint], tmp_path / "h.onnx", entries, replace(release, half=True)
    )
    assert 0 < half <= export.MAX_HALF_DIFFERENCE
    whole_size, half_size = ((tmp_path / f"{n}.onnx").stat().st_size for n in "th")
    assert half_size < 0.55 * whole_size
    stored = {t.name: t.data_type for t in onnx.load(tmp_path / "h.onnx").graph.initializer}
    assert stored["network.conv_stem.weight"] == onnx.TensorProto.FLOAT, (
        "small, and scores hang on it"
    )
    assert stored["network.conv_head.weight"] == onnx.TensorProto.FLOAT16
    assert scorer.info.reference.quantiles[0] == pytest.approx(min(scores), abs=1e-5)
    network = load_network(checkpoint)
    frames = build_frames(entries, square_spec(64), tmp_path / "cache")
    assert score_frames(network, frames) == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("difference", [2e-4, math.nan])
def test_an_export_that_scores_differently_is_not_written(
    difference: float,
    run: RunConfig,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = run.stages[0].model_copy(update={"steps": 1, "warmup_steps": 0})
    checkpoint = train_tiny(run.model_copy(update={"stages": (stage,)}), tmp_path / "out")
    monkeypatch.setattr(export, "_largest_difference", lambda *args: difference)
    release = export.Release(name="t", version="3", licence="MIT", reference_description="")
    with pytest.raises(ModelError, match="is not written: torch and onnxruntime differ by"):
        export.export_model([checkpoint], tmp_path / "t.onnx", read_manifest(manifest), release)
    assert not (tmp_path / "t.onnx").exists()


def test_damaged_checkpoints_say_what_is_wrong(run: RunConfig, tmp_path: Path) -> None:
    stage = run.stages[0].model_copy(update={"steps": 1, "warmup_steps": 0})
    checkpoint = train_tiny(run.model_copy(update={"stages": (stage,)}), tmp_path / "out")
    with pytest.raises(ModelError, match=r"out is not a checkpoint; they are called"):
        load_state(tmp_path / "out")
    (checkpoint / "weights.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match="weights.safetensors: cannot be read as safetensors"):
        load_network(checkpoint)
    state = (checkpoint / "state.json").read_text()
    for text in ("{}", "[]", state.replace('"stage": 1', '"stage": 9')):
        (checkpoint / "state.json").write_text(text)
        with pytest.raises(ModelError, match="state.json: not a checkpoint's state"):
            load_state(checkpoint)


def test_checkpoints_are_ordered_by_number_not_by_name(tmp_path: Path) -> None:
    for name in ("stage2-step000005", "stage10-step000001", "stage9-step1000000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").touch()
    assert latest_checkpoint(tmp_path).name == "stage10-step000001"


def test_a_copy_by_another_name_is_no_checkpoint(tmp_path: Path) -> None:
    for name in ("stage1-step000005", "stage1-step000100-copy", "stage2-step000001.bak"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").touch()
    assert latest_checkpoint(tmp_path).name == "stage1-step000005"


def test_a_full_disk_leaves_no_half_checkpoint(
    run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint_module, "save_file", fill_up)
    with pytest.raises(WriteError, match=r"step\d+: cannot be written: .*No space left.*room"):
        train_tiny(run, tmp_path / "out")
    assert not list((tmp_path / "out/checkpoints").iterdir())


def test_a_reference_that_cannot_be_read_is_named(run: RunConfig, tmp_path: Path) -> None:
    checkpoint = train_tiny(run, tmp_path / "out")
    bad = tmp_path / "bad.png"
    bad.touch()
    release = export.Release(name="t", version="1", licence="MIT", reference_description="")
    with pytest.raises(ImageError, match=r"bad\.png: the file is empty"):
        export.export_model([checkpoint], tmp_path / "t.onnx", [Entry(path=bad, mos=1)], release)


def test_a_checkpoint_of_another_version_says_so(run: RunConfig, tmp_path: Path) -> None:
    stage = run.stages[0].model_copy(update={"steps": 1, "warmup_steps": 0})
    checkpoint = train_tiny(run.model_copy(update={"stages": (stage,)}), tmp_path / "out")
    state = (checkpoint / "state.json").read_text()
    (checkpoint / "state.json").write_text(state.replace('"loss"', '"optim"'))
    with pytest.raises(ModelError, match="state.json: made by another version of mspt"):
        load_state(checkpoint)


def test_a_model_file_knows_its_lineage(run: RunConfig, manifest: Path, tmp_path: Path) -> None:
    """A run from `base`, then one from its checkpoint: the file names all three."""
    first = run.model_copy(update={"name": "first", "init": "base"})
    second = run.model_copy(
        update={"name": "second", "init": str(train_tiny(first, tmp_path / "first"))}
    )
    train_tiny(second, tmp_path / "second")
    checkpoint = find_checkpoint(tmp_path / "second")
    release = export.Release(name="t", version="1", licence="MIT", reference_description="made up")
    export.export_model([checkpoint], tmp_path / "t.onnx", read_manifest(manifest), release)
    training = Scorer(tmp_path / "t.onnx", backend="onnxruntime").info.training
    parent = training["init"]["training"]
    assert (training["run"], parent["run"]) == ("second", "first")
    assert parent["init"]["model"].startswith("base@")
    assert parent["init"]["training"]["stages"]
    start = load_state(tmp_path / "first/checkpoints/stage0-step000000")
    assert describe_training(start)["stages"] == []  # nothing was trained before its first stage
    assert (start.is_last, load_state(checkpoint).is_last) == (False, True)


def test_a_run_is_found_by_its_folder_its_file_and_its_stage(
    run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    last = train_tiny(run, Path("out/tiny"))
    Path("tiny.toml").write_text('name = "tiny"')
    for name in ("out/tiny", "tiny.toml", str(last)):
        assert find_checkpoint(Path(name)).resolve() == last.resolve()
    assert find_checkpoint(Path("out/tiny"), stage=1).name == "stage1-step000005"
    with pytest.raises(DataError, match=r"no checkpoint of stage 7 in .*there are: stage1-step"):
        find_checkpoint(Path("out/tiny"), stage=7)
    with pytest.raises(ConfigError, match=r"none\.toml: no such file"):
        find_checkpoint(Path("none.toml"))


def test_the_mean_of_two_runs_is_the_mean_of_their_weights(
    run: RunConfig, manifest: Path, tmp_path: Path
) -> None:
    first = train_tiny(run, tmp_path / "first")
    second = train_tiny(run.model_copy(update={"seed": 1}), tmp_path / "second")
    release = export.Release(name="m", licence="MIT", reference_description="made up")
    entries = read_manifest(manifest)
    export.export_model([first, second], tmp_path / "m.onnx", entries, release)
    mean = load_mean([first, second]).state_dict()
    for name, one in load_network(first).state_dict().items():
        other = load_network(second).state_dict()[name]
        if one.is_floating_point():
            assert torch.allclose(mean[name], (one + other) / 2, atol=1e-6), name
    trainings = Scorer(tmp_path / "m.onnx").info.training["mean of"]
    assert [training["seed"] for training in trainings] == [run.seed, 1]
    alone = Scorer(tmp_path / "m.onnx").info.label
    export.export_model([first], tmp_path / "f.onnx", entries, release)
    assert Scorer(tmp_path / "f.onnx").info.label != alone


def test_other_networks_have_no_mean(run: RunConfig, tmp_path: Path) -> None:
    first, other = (train_tiny(run, tmp_path / name) for name in ("first", "other"))
    state = json.loads((other / "state.json").read_text())
    state["input_spec"] |= {"short_side": 96, "crop_side": 96}
    (other / "state.json").write_text(json.dumps(state))
    with pytest.raises(ModelError, match="have other networks or inputs .* have no mean"):
        load_mean([first, other])
