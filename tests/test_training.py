"""Training: the network is the paper's, stages only grow, and a stopped run ends the same."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from numpy.random import default_rng
from PIL import Image

from mspt.errors import ConfigError, ModelError
from mspt.evaluation.manifest import Entry, read_manifest, write_manifest
from mspt.image.crop import RGB
from mspt.image.decode import read_rgb
from mspt.image.preprocess import prepare_rgb, resize_rgb
from mspt.inference.scorer import Scorer
from mspt.spec import square_spec
from mspt.training import export, trainer
from mspt.training.budget import measure_cost
from mspt.training.checkpoint import latest_checkpoint, load_network, load_state, load_tensors
from mspt.training.dataset import augment, build_frames, draw_batch
from mspt.training.losses import plcc_loss, quality_loss
from mspt.training.network import MsptNetwork
from mspt.training.stages import RunConfig, load_run, parse_run

Raw = dict[str, Any]


@pytest.fixture
def manifest(tmp_path: Path, face: RGB) -> Path:
    """24 small images of 12 identities: noisier means worse."""
    entries = []
    for number in range(24):
        noise = default_rng(number).normal(0, 3 * number, (80, 80, 3))
        rgb = np.clip(resize_rgb(face, 80, 80) + noise, 0, 255).astype(np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(rgb).save(path)
        identity = number % 12
        entries.append(
            Entry(
                path=path,
                mos=1 - number / 24,
                source="a" if number % 3 else "b",
                split="val" if identity > 8 else "train",
                identity=f"id{identity}",
            )
        )
    write_manifest(tmp_path / "manifest.csv", entries)
    return tmp_path / "manifest.csv"


def raw_run(manifest: Path) -> Raw:
    """Return a tiny run of two stages, as TOML would give it."""
    first = {"short_side": 32, "sources": ["a"], "steps": 5, "batch": 4, "peak_lr": 1e-3}
    second = {"short_side": 64, "sources": ["a", "b"], "steps": 7, "batch": 4, "peak_lr": 1e-3}
    return {
        "name": "tiny",
        "data": {"train": str(manifest), "val": str(manifest)},
        "stages": [first | {"warmup_steps": 2}, second | {"warmup_steps": 2}],
    }


@pytest.fixture
def run(manifest: Path) -> RunConfig:
    return parse_run(raw_run(manifest), "tiny")


def test_names_and_shapes_are_timms() -> None:
    pinned = json.loads((ROOT / "tests/golden/mobilenetv3_small_100.json").read_text())
    ours = {name: list(tensor.shape) for name, tensor in MsptNetwork().state_dict().items()}
    assert ours == pinned


def test_the_cost_is_the_papers() -> None:
    cost = measure_cost(MsptNetwork(), 640)
    assert (cost.params, cost.gflops) == (1_518_881, 0.46874)
    assert measure_cost(MsptNetwork(), 384).gflops == pytest.approx(0.169, abs=5e-4)


def test_the_network_scores_between_0_and_1_and_starts_undecided() -> None:
    torch.manual_seed(0)
    scores = MsptNetwork().eval()(torch.rand(3, 3, 96, 96))
    assert scores.shape == (3,)
    assert ((scores > 0.3) & (scores < 0.7)).all()


def test_plcc_loss_runs_from_0_to_1() -> None:
    mos = torch.tensor([0.1, 0.4, 0.9])
    assert plcc_loss(3 * mos - 7, mos).item() == pytest.approx(0, abs=1e-5)
    assert plcc_loss(-mos, mos).item() == pytest.approx(1, abs=1e-5)
    score = torch.full((3,), 0.5, requires_grad=True)
    loss = plcc_loss(score, mos)
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert score.grad.isfinite().all()


def test_losses_refuse_what_has_no_correlation() -> None:
    with pytest.raises(ValueError, match=r"score \(1,\) and mos \(1,\) must both be \(N,\)"):
        plcc_loss(torch.zeros(1), torch.zeros(1))
    with pytest.raises(ValueError, match=r"score \(2,\) and mos \(3,\)"):
        plcc_loss(torch.zeros(2), torch.zeros(3))


def test_the_quality_loss_adds_what_its_weights_say() -> None:
    score, mos = torch.tensor([0.5, 0.5, 0.9]), torch.tensor([0.5, 0.5, 0.5])
    loss = quality_loss(score, mos, mse_weight=3, plcc_weight=0)
    assert loss.item() == pytest.approx(3 * 0.16 / 3)


def test_frames_are_what_scoring_sees(manifest: Path, tmp_path: Path) -> None:
    entries = read_manifest(manifest)
    frames = build_frames(entries, square_spec(64), tmp_path / "cache")
    assert frames.rgb.shape == (24, 64, 64, 3)
    for index in (0, 23):
        expected = prepare_rgb(read_rgb(entries[index].path), square_spec(64))
        assert np.array_equal(frames.rgb[index], expected)
    cached = next((tmp_path / "cache").iterdir())
    before = cached.stat().st_mtime_ns
    build_frames(entries, square_spec(64), tmp_path / "cache")
    assert cached.stat().st_mtime_ns == before, "prepared frames must be found again"


def test_a_broken_training_image_is_named_not_replaced(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "5.png").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"5.png: the file is empty; repair the image"):
        build_frames(read_manifest(manifest), square_spec(64), tmp_path / "cache")
    (tmp_path / "5.png").unlink()
    with pytest.raises(ConfigError, match=r"5.png: No such file or directory"):
        build_frames(read_manifest(manifest), square_spec(64), tmp_path / "cache")


def test_an_epoch_sees_every_image_once(manifest: Path, tmp_path: Path) -> None:
    frames = build_frames(read_manifest(manifest), square_spec(32), tmp_path / "cache")
    draws = [draw_batch(frames, 4, seed=0, stage=1, step=step) for step in range(12)]
    for epoch in (draws[:6], draws[6:]):
        seen = torch.cat([mos for _, mos in epoch]).tolist()
        assert sorted(seen) == pytest.approx(sorted(frames.mos.tolist()))
    assert draws[0][1].tolist() != draws[6][1].tolist()
    again = draw_batch(frames, 4, seed=0, stage=1, step=3)
    assert torch.equal(again[0], draws[3][0])


def test_augmentation_only_moves_and_mirrors(face: RGB) -> None:
    """Away from the border, every result is the face or its mirror image, moved."""
    reach, inner = 11, slice(20, 300)
    found = set()
    for seed in range(20):
        moved = augment(face, default_rng(seed))[inner, inner]
        matches = [
            (mirrored, down, right)
            for mirrored, source in enumerate((face, face[:, ::-1]))
            for down in range(-reach, reach + 1)
            for right in range(-reach, reach + 1)
            if np.array_equal(source[20 + down, 20 + right : 300 + right], moved[0])
            and np.array_equal(source[20 + down : 300 + down, 20 + right : 300 + right], moved)
        ]
        assert len(matches) == 1, f"seed {seed} is no shift of the face"
        found.add(matches[0])
    assert {mirrored for mirrored, _, _ in found} == {0, 1}
    assert len(found) > 15


def test_the_learning_rate_warms_up_peaks_and_decays(run: RunConfig) -> None:
    stage = run.stages[1].model_copy(update={"steps": 100, "warmup_steps": 10})
    rates = [trainer.learning_rate(stage, step) for step in range(100)]
    assert rates[0] == pytest.approx(stage.peak_lr / 10)
    assert max(rates) == pytest.approx(stage.peak_lr)
    assert rates[-1] < 0.02 * stage.peak_lr
    assert np.argmax(rates) in (9, 10)


def change(raw: Raw, where: str, value: object) -> Raw:
    """Set `stages.1.steps`-like keys of plain data; None deletes."""
    *path, last = where.split(".")
    table: Any = raw
    for part in path:
        table = table[int(part) - 1] if part.isdigit() else table[part]
    if value is None:
        del table[last]
    else:
        table[last] = value
    return raw


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("stages.1.shortside", 1, "unknown key 'stages.1.shortside'; did you mean 'short_side'?"),
        ("sed", 1, "unknown key 'sed'; did you mean 'seed'?"),
        ("data.trian", "x", "unknown key 'data.trian'; did you mean 'train'?"),
        ("stages.1.short_side", 96, "stage 2: short_side 64 px is below stage 1's 96 px; raise it"),
        ("stages.2.sources", ["b"], r"stage 2: sources \['b'\] drop \['a'\] of stage 1"),
        ("stages.2.batch", 1, "stages.2.batch = 1: Input should be greater than or equal to 2"),
        ("stages.1.steps", None, "key 'stages.1.steps' is missing"),
        ("stages.1.peak_lr", "high", "stages.1.peak_lr = 'high': Input should be a valid number"),
        ("name", "a/b", "name = 'a/b': String should match pattern"),
        ("stages.1.warmup_steps", 5, "stages.1: warmup_steps 5 must be below steps 5"),
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


def test_the_published_runs_are_valid() -> None:
    for path in (ROOT / "runs").glob("*.toml"):
        run = load_run(path)
        assert run.name == path.stem
        assert len(run.stages) == 3
    assert [stage.short_side for stage in load_run(ROOT / "runs/first-light.toml").stages] == [
        384,
        512,
        640,
    ]


def train_tiny(run: RunConfig, out: Path, **options: Any) -> Path:
    return trainer.train(run, out, log=lambda line: None, **options)


def refuse(run: RunConfig, tmp_path: Path, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_tiny(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_that_does_not_fit_the_stages_is_refused(manifest: Path, tmp_path: Path) -> None:
    raw = raw_run(manifest)
    for stage in raw["stages"]:
        stage["sources"] = ["a", "z"]
    refuse(parse_run(raw, "x"), tmp_path, r"stage 1: sources \['z'\] are not in the training")
    raw = change(raw_run(manifest), "stages.1.batch", 64)
    refuse(parse_run(raw, "x"), tmp_path, "stage 1: 12 train images of its sources, .* needs 64")
    manifest.write_text(manifest.read_text().replace(",val,", ",test,"))
    refuse(parse_run(raw_run(manifest), "x"), tmp_path, "no row has the split 'val'; each row must")
    raw = change(raw_run(manifest), "data.val", str(tmp_path / "copy.csv"))
    (tmp_path / "copy.csv").write_bytes(manifest.read_bytes())
    refuse(parse_run(raw, "x"), tmp_path, "12 identities are in both train and val, such as 'id0'")


def test_a_stopped_run_goes_on_to_the_same_weights(
    run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in each stage and between checkpoints; compared bit for bit."""
    monkeypatch.setattr(trainer, "_SAVE_EVERY", 3)
    monkeypatch.setattr(trainer, "_LOG_EVERY", 1)
    unbroken = train_tiny(run, tmp_path / "unbroken")

    broken_out = tmp_path / "broken"
    draw = trainer.draw_batch
    for last_step in (4, 9):  # of all 12: one after a checkpoint in stage 1, one in stage 2
        calls = 0

        def stop_there(*args: Any, last: int = last_step, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if (options["stage"] - 1) * 5 + options["step"] == last:
                raise KeyboardInterrupt
            return draw(*args, **options)

        monkeypatch.setattr(trainer, "draw_batch", stop_there)
        with pytest.raises(KeyboardInterrupt):
            train_tiny(run, broken_out, resume=True)
        assert calls > 0
    monkeypatch.setattr(trainer, "draw_batch", draw)
    resumed = train_tiny(run, broken_out, resume=True)

    for name in ("weights.safetensors", "training.safetensors"):
        expected, found = load_tensors(unbroken / name), load_tensors(resumed / name)
        assert expected.keys() == found.keys()
        for key in expected:
            assert torch.equal(expected[key], found[key]), f"{name}: {key} differs"
    logs = [
        [
            {k: v for k, v in json.loads(line).items() if k != "images_per_s"}
            for line in (folder / "metrics.jsonl").read_text().splitlines()
        ]
        for folder in (tmp_path / "unbroken", broken_out)
    ]
    assert logs[0] == logs[1]
    assert [row["stage"] for row in logs[0] if "val" in row] == [1, 2]


def test_another_run_file_or_a_second_start_is_refused(run: RunConfig, tmp_path: Path) -> None:
    train_tiny(run, tmp_path / "out")
    with pytest.raises(ConfigError, match="already holds checkpoints; add --resume"):
        train_tiny(run, tmp_path / "out")
    other = run.model_copy(update={"seed": 5})
    with pytest.raises(ConfigError, match="was trained by another run file"):
        train_tiny(other, tmp_path / "out", resume=True)
    text = run.data.train.read_text()
    run.data.train.write_text(text.replace("1.0", "0.9", 1))
    with pytest.raises(ConfigError, match="was trained on other images or labels"):
        train_tiny(run, tmp_path / "out", resume=True)


def test_a_run_killed_before_its_first_checkpoint_starts_its_log_anew(
    run: RunConfig, tmp_path: Path
) -> None:
    train_tiny(run, tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    rows = (tmp_path / "whole/metrics.jsonl").read_text()
    (tmp_path / "killed/metrics.jsonl").write_text(rows.splitlines()[0] + "\n")
    train_tiny(run, tmp_path / "killed", resume=True)
    again = (tmp_path / "killed/metrics.jsonl").read_text()
    assert len(again.splitlines()) == len(rows.splitlines())
    assert not list((tmp_path / "killed").glob("frames-*")), "prepared frames are left behind"


def test_training_learns_and_the_export_scores_alike(
    run: RunConfig, manifest: Path, tmp_path: Path
) -> None:
    stage = run.stages[0].model_copy(update={"steps": 40, "peak_lr": 3e-3})
    checkpoint = train_tiny(run.model_copy(update={"stages": (stage,)}), tmp_path / "out")
    rows = [json.loads(r) for r in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 0.3, "noise this strong is learnt in forty steps"
    assert latest_checkpoint(tmp_path / "out/checkpoints") == checkpoint
    assert load_state(checkpoint).step == 40

    entries = read_manifest(manifest)
    release = export.Release(name="t", version="3", licence="MIT", reference_description="made up")
    difference = export.export_model(checkpoint, tmp_path / "t.onnx", entries, release)
    assert difference <= export.MAX_DIFFERENCE
    assert b".py" not in (tmp_path / "t.onnx").read_bytes(), "a path of the exporting machine"
    scorer = Scorer(tmp_path / "t.onnx")
    assert scorer.info.label == "t@3"
    assert scorer.info.spec == square_spec(32)
    assert scorer.info.reference.description == "made up (24 images)"
    assert scorer.info.training["stages"][0]["images_seen"] == 160
    scores = [scorer.score(entry.path).score for entry in entries]
    assert scorer.info.reference.quantiles[0] == pytest.approx(min(scores), abs=1e-5)
    network = load_network(checkpoint)
    frames = build_frames(entries, square_spec(32), tmp_path / "cache")
    assert trainer.score_frames(network, frames) == pytest.approx(scores, abs=1e-4)


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
        export.export_model(checkpoint, tmp_path / "t.onnx", read_manifest(manifest), release)
    assert not (tmp_path / "t.onnx").exists()


def test_damaged_checkpoints_say_what_is_wrong(run: RunConfig, tmp_path: Path) -> None:
    stage = run.stages[0].model_copy(update={"steps": 1, "warmup_steps": 0})
    checkpoint = train_tiny(run.model_copy(update={"stages": (stage,)}), tmp_path / "out")
    with pytest.raises(ModelError, match=r"out is no checkpoint; they are called"):
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


def test_a_loss_that_is_no_number_stops_the_run(run: RunConfig, tmp_path: Path) -> None:
    stage = run.stages[0].model_copy(update={"peak_lr": math.inf, "warmup_steps": 0})
    with pytest.raises(ConfigError, match="the loss is nan; lower peak_lr"):
        train_tiny(run.model_copy(update={"stages": (stage,)}), tmp_path / "out")
