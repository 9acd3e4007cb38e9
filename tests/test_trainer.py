"""Runs: stages carry over, a stopped run ends the same, and what cannot work is refused."""

import itertools
import json
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from conftest import Raw, RunCli, change, raw_run, train_tiny
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mspt.budget import Cost
from mspt.errors import ConfigError, DataError, MsptError, TrainingError
from mspt.training import engine as engine_module
from mspt.training import plan, run_summary, trainer
from mspt.training.batches import BatchSource
from mspt.training.checkpoint import load_tensors
from mspt.training.config import RunConfig, Stage, parse_run
from mspt.training.dry_run import describe_plan
from mspt.training.engine import learning_rate
from mspt.training.network import MsptNetwork
from mspt.training.plan import make_plan
from mspt.training.run_log import read_metrics

if TYPE_CHECKING:
    from mspt.training.backbones import Network
    from mspt.training.batches import Batch

pytestmark = pytest.mark.slow


def with_settings(run: RunConfig, number: int, **settings: object) -> RunConfig:
    """Return a run whose stage `number` is changed."""
    stages = list(run.stages)
    stages[number - 1] = stages[number - 1].model_copy(update=settings)
    return run.model_copy(update={"stages": tuple(stages)})


def with_engine(run: RunConfig, **settings: object) -> RunConfig:
    return run.model_copy(update={"engine": run.engine.model_copy(update=settings)})


def assert_same_weights(first: Path, second: Path) -> None:
    """Compare two checkpoints bit for bit, optimiser included."""
    for name in ("weights.safetensors", "training.safetensors"):
        expected, found = load_tensors(first / name), load_tensors(second / name)
        assert expected.keys() == found.keys()
        for key in expected:
            assert torch.equal(expected[key], found[key]), f"{name}: {key} differs"


def test_the_learning_rate_warms_up_peaks_and_decays(run: RunConfig) -> None:
    stage = run.stages[1].model_copy(update={"steps": 100, "warmup_steps": 10})
    rates = [learning_rate(stage, step) for step in range(100)]
    assert rates[0] == pytest.approx(stage.peak_lr / 10)
    assert max(rates) == pytest.approx(stage.peak_lr)
    assert rates[-1] < 0.02 * stage.peak_lr
    assert rates.index(max(rates)) in (9, 10)


def test_the_winners_schedule_falls_tenfold_twice(run: RunConfig) -> None:
    settings = {"steps": 30, "warmup_steps": 0, "schedule": "thirds", "peak_lr": 1e-4}
    stage = run.stages[0].model_copy(update=settings)
    rates = [learning_rate(stage, step) for step in (0, 9, 10, 19, 20, 29)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6])


def refuse(run: RunConfig, tmp_path: Path, message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        train_tiny(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_that_does_not_fit_the_stages_is_refused(manifest: Path, tmp_path: Path) -> None:
    raw = raw_run(manifest)
    for stage in raw["stages"]:
        stage["sources"] = ["a", "z"]
    refuse(parse_run(raw, "x"), tmp_path, r"stage 1: sources \['z'\] are not in the training")
    raw = change(raw_run(manifest), "stages.1.batch", 64)
    refuse(parse_run(raw, "x"), tmp_path, "stage 1: 12 train images of its sources, .* needs 64")
    refuse(
        with_budget(manifest, "0.004G,5M"), tmp_path, "breaks the budget .*: 0.00573 GFLOPs > 0.004"
    )
    raw = change(raw_run(manifest), "stages.1.steps", None)
    raw = change(raw, "stages.1.epochs", 0.5)
    refuse(parse_run(raw, "x"), tmp_path, "0.5 epochs of 12 images are 2 steps, but warmup_steps 2")


def with_budget(manifest: Path, budget: str) -> RunConfig:
    return parse_run(change(raw_run(manifest), "budget", budget), "x")


def test_sets_that_do_not_fit_each_other_are_refused(manifest: Path, tmp_path: Path) -> None:
    text = manifest.read_text()
    manifest.write_text(text.replace(",val,", ",test,"))
    refuse(parse_run(raw_run(manifest), "x"), tmp_path, r"no image has the split 'val' \(there are")
    manifest.write_text(text.replace(",val,", ",,"))
    refuse(parse_run(raw_run(manifest), "x"), tmp_path, "6 rows name no split; add a column split")
    manifest.write_text(text)
    raw = raw_run(manifest)
    raw["data"].append({"manifest": str(manifest)})
    refuse(
        parse_run(raw, "x"), tmp_path, "24 images are listed twice, such as .*0.png .in .*csv and"
    )
    (tmp_path / "links").mkdir()
    (tmp_path / "links/other.png").symlink_to(tmp_path / "0.png")
    for name in ("links/../1.png", "links/other.png"):
        (tmp_path / "again.csv").write_text(f"path,mos,source,split\n{name},0.5,a,train\n")
        raw["data"][1]["manifest"] = str(tmp_path / "again.csv")
        refuse(parse_run(raw, "x"), tmp_path, "1 images are listed twice, such as ")
    manifest.write_text(text.replace(",val,", ",valid,"))
    refuse(parse_run(raw_run(manifest), "x"), tmp_path, "has the split 'valid'; it is one of train")
    manifest.write_text(text)
    raw = change(raw_run(manifest), "data.1.val_share", 0.5)
    refuse(parse_run(raw, "x"), tmp_path, "every row names its split, so that val_share 0.5 draws")
    manifest.write_text(text.replace("id9", "id0"))
    refuse(parse_run(raw_run(manifest), "x"), tmp_path, "1 identities are in both .* 'id0'; split")
    raw = change(raw_run(manifest), "data.1.mos_scale", [0, 0.5])
    refuse_manifest = pytest.raises(
        Exception, match=r"line 2: mos 1.0 lies outside the scale 0..0.5"
    )
    with refuse_manifest:
        make_plan(parse_run(raw, "x"))


def test_a_set_may_declare_what_its_rows_lack(manifest: Path, tmp_path: Path) -> None:
    lines = manifest.read_text().splitlines()[1:]
    rows = [line.split(",")[:2] for line in lines]
    (tmp_path / "bare.csv").write_text("".join(f"{path},{1 + 4 * float(m)}\n" for path, m in rows))
    raw = change(raw_run(tmp_path / "bare.csv"), "data.1.mos_scale", [1, 5])
    for name, value in (("source", "mine"), ("val_share", 0.4)):
        raw = change(raw, f"data.1.{name}", value)
    for number in (1, 2):
        raw = change(raw, f"stages.{number}.sources", ["mine"])
    plan = make_plan(parse_run(raw, "x"))
    assert len(plan.train) + len(plan.val) == 24
    assert 4 <= len(plan.val) <= 16
    assert {entry.source for entry in plan.train} == {"mine"}
    assert max(entry.mos for entry in (*plan.train, *plan.val)) == 1


def test_a_share_set_apart_does_not_depend_on_where_the_folder_lies(
    manifest: Path, tmp_path: Path
) -> None:
    lines = [line.split(",")[:2] for line in manifest.read_text().splitlines()[1:]]
    chosen = []
    for folder in (tmp_path, tmp_path / "moved"):
        folder.mkdir(exist_ok=True)
        for name, _ in lines:
            (folder / name).touch()
        (folder / "bare.csv").write_text("".join(f"{name},{mos}\n" for name, mos in lines))
        raw = change(raw_run(folder / "bare.csv"), "data.1.val_share", 0.4)
        for key in ("data.1.source", "stages.1.sources", "stages.2.sources"):
            raw = change(raw, key, "x" if key.startswith("data") else ["x"])
        chosen.append([entry.path.name for entry in make_plan(parse_run(raw, "x")).val])
    assert chosen[0] == chosen[1]


def test_the_plan_tells_images_steps_cost_and_disk(run: RunConfig) -> None:
    text = describe_plan(make_plan(run))
    expected = r"stage 1: 32 px, 0.00\d+ GFLOPs, 12 images of a; 5 steps of 4 \(1.7 epochs\), about"
    assert re.search(expected, text)
    assert "stage 2: 64 px" in text
    assert "in all: about" in text


def test_the_plan_refuses_a_start_that_is_not_there(run: RunConfig) -> None:
    for init, message in (("bse", "embedded models: base, fast"), ("gone.onnx", "gone.onnx")):
        lost = run.model_copy(update={"init": init})
        with pytest.raises(MsptError, match=message):
            describe_plan(make_plan(lost))


def test_a_stopped_run_goes_on_to_the_same_weights(
    run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in each stage and between checkpoints, with all that a stage may carry over."""
    monkeypatch.setattr(trainer, "_LOG_EVERY", 1)
    run = with_engine(run, save_every=3)
    run = with_settings(
        run,
        2,
        distill=1.0,
        l2sp=0.01,
        reestimate_bn=2,
        freeze_steps=2,
        replay=0.5,
        dropout=0.2,
        consistency=1.0,
    )
    unbroken = train_tiny(run, tmp_path / "unbroken")
    broken_out = tmp_path / "broken"
    for stage, step in ((1, 4), (2, 4)):
        with monkeypatch.context() as patch:
            patch.setattr(BatchSource, "draw", stop_at(stage, step))
            with pytest.raises(KeyboardInterrupt):
                train_tiny(run, broken_out, resume=True)
    resumed = train_tiny(run, broken_out, resume=True)
    assert_same_weights(unbroken, resumed)
    rows = [read_metrics(out / "metrics.jsonl") for out in (tmp_path / "unbroken", broken_out)]
    places = [[(row["stage"], row["step"]) for row in log] for log in rows]
    assert places[0] == places[1]
    assert [row["val"] for row in rows[0] if "val" in row] == [
        row["val"] for row in rows[1] if "val" in row
    ]


def stop_at(stage: int, step: int) -> Callable[..., Any]:
    """Return a BatchSource.draw that behaves like Ctrl-C at a place."""
    draw = BatchSource.draw

    def stopping_draw(self: BatchSource, at: int) -> Any:
        if (self._number, at) == (stage, step):
            raise KeyboardInterrupt
        return draw(self, at)

    return stopping_draw


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "place",
    ["build_frames", "save_checkpoint", "write_predictions", "shutil.rmtree", "write_summary"],
)
def test_a_run_that_dies_between_any_two_writes_resumes_to_the_same_weights(
    place: str, moment: str, run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these calls is interrupted time and again, just before or just after it."""
    monkeypatch.setattr(run_summary, "_plot", lambda *args: None)  # slow, and no matter here
    monkeypatch.setattr(plan, "measure_cost", lambda network, side_px: Cost(1, 0.001))
    run = with_engine(with_settings(run, 2, distill=1.0), save_every=3)
    unbroken = train_tiny(run, tmp_path / "unbroken")
    owner, name = (trainer.shutil, "rmtree") if "." in place else (trainer, place)
    call, spared = getattr(owner, name), 0

    def interrupted(*args: Any, **options: Any) -> Any:
        if calls() <= spared:
            return call(*args, **options)
        if moment == "after":
            call(*args, **options)
        raise KeyboardInterrupt

    for _ in range(30):
        calls = itertools.count(1).__next__
        try:
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, interrupted)
                resumed = train_tiny(run, tmp_path / "broken", resume=True)
            break
        except KeyboardInterrupt:
            spared += 1  # so that the run gets one call further each time
    assert spared, "nothing was interrupted"
    assert_same_weights(unbroken, resumed)
    assert (tmp_path / "broken/summary.md").exists()
    rows = [read_metrics(tmp_path / out / "metrics.jsonl") for out in ("unbroken", "broken")]
    assert [(r["stage"], r["step"]) for r in rows[0]] == [(r["stage"], r["step"]) for r in rows[1]]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_to_the_same_weights(
    run: RunConfig, manifest: Path, tmp_path: Path
) -> None:
    """SIGKILL, from outside, in both stages; by the command that people type."""
    settings = 'name = "t"\n[engine]\nsave_every = 2\n[[data]]\nmanifest = "manifest.csv"\n'
    for side, sources in ((32, '["a"]'), (64, '["a", "b"]')):
        settings += f"[[stages]]\nshort_side = {side}\nsources = {sources}\nsteps = 40\nbatch = 4\n"
        settings += "peak_lr = 1e-3\nwarmup_steps = 2\n"
    (tmp_path / "t.toml").write_text(settings)
    command = [sys.executable, "-m", "mspt", "train", "t.toml", "--resume", "--out"]
    subprocess.run([*command, "whole"], cwd=tmp_path, check=True, capture_output=True)
    for stage in (1, 2):
        process = subprocess.Popen([*command, "killed"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        begun = f"killed/checkpoints/stage{stage}-step*"
        wait_for(lambda begun=begun: any(tmp_path.glob(begun)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "killed/summary.md").exists(), "it was done before the kill"
    subprocess.run([*command, "killed"], cwd=tmp_path, check=True, capture_output=True)
    last = "checkpoints/stage2-step000040"
    assert_same_weights(tmp_path / "whole" / last, tmp_path / "killed" / last)


def wait_for(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)


def test_another_run_file_or_a_second_start_is_refused(run: RunConfig, tmp_path: Path) -> None:
    train_tiny(run, tmp_path / "out")
    with pytest.raises(ConfigError, match="already holds checkpoints; add --resume"):
        train_tiny(run, tmp_path / "out")
    other = run.model_copy(update={"seed": 5})
    said = r"was trained by another run file \(seed was 0, now 5, stages.2.l2sp was 0.0, now 0.1\)"
    with pytest.raises(ConfigError, match=said):
        train_tiny(with_settings(other, 2, l2sp=0.1), tmp_path / "out", resume=True)
    train_tiny(
        run.model_copy(update={"name": "another", "budget": "9G,9M"}), tmp_path / "out", resume=True
    )
    train_tiny(with_engine(run, workers=2, save_every=7), tmp_path / "out", resume=True)
    text = run.data[0].manifest.read_text()
    run.data[0].manifest.write_text(text.replace("1.0", "0.9", 1))
    with pytest.raises(ConfigError, match="was trained on other images or labels"):
        train_tiny(run, tmp_path / "out", resume=True)


def test_a_folder_in_which_another_run_trains_is_refused(run: RunConfig, tmp_path: Path) -> None:
    program = "\n".join(
        [
            "import sys, filelock",
            "lock = filelock.FileLock(sys.argv[1])",
            "lock.acquire()",
            "print('locked', flush=True)",
            "input()",
        ]
    )
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", program, tmp_path / "out/.mspt-train.lock"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ConfigError, match="out: another mspt train writes there now; wait"):
            train_tiny(run, tmp_path / "out")
        assert [p.name for p in (tmp_path / "out").iterdir()] == [".mspt-train.lock"]
        other.kill()
    train_tiny(run, tmp_path / "out")  # a killed run leaves no lock behind


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


def test_a_start_anew_before_the_first_checkpoint_has_a_log_of_its_own(
    run: RunConfig, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/metrics.jsonl").write_text('{"stage": 1, "step": 3, "loss": 9.0}\n{"torn')
    (tmp_path / "out/scores").mkdir()
    (tmp_path / "out/scores/stage3.csv").touch()
    train_tiny(run, tmp_path / "out")
    rows = read_metrics(tmp_path / "out/metrics.jsonl")
    assert not (tmp_path / "out/scores/stage3.csv").exists()
    assert rows
    assert all(row["loss"] != 9 for row in rows if "loss" in row)


def test_a_run_leaves_summary_scores_and_tensorboard(run: RunConfig, tmp_path: Path) -> None:
    train_tiny(run, tmp_path / "out")
    summary = (tmp_path / "out/summary.md").read_text()
    assert "| SRCC after stage | val set of stage 1 | val set of stage 2 |" in summary
    assert "| end minus right after |" in summary
    assert (tmp_path / "out/summary.png").read_bytes().startswith(b"\x89PNG")
    events = EventAccumulator(str(tmp_path / "out/tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [5, 12]
    assert {"lr", "train_srcc", "val/1/srcc", "val/2/plcc"} <= set(events.Tags()["scalars"])


def test_shared_frames_are_kept(run: RunConfig, tmp_path: Path) -> None:
    shared = with_engine(run, cache=tmp_path / "frames")
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/frames-32-0.part").touch()  # of a killed run
    first = train_tiny(shared, tmp_path / "one")
    kept = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert len(kept) == 6, "train and val of two sizes, the list of checked images, a lock"
    second = train_tiny(shared, tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == kept
    assert_same_weights(first, second)


def test_a_loss_that_is_no_number_stops_the_run(run: RunConfig, tmp_path: Path) -> None:
    broken = with_settings(run, 1, peak_lr=math.inf, warmup_steps=0)
    with pytest.raises(TrainingError, match="the loss is nan; lower peak_lr"):
        train_tiny(broken, tmp_path / "out")


def test_freezing_moves_the_head_alone(run: RunConfig, tmp_path: Path) -> None:
    one_stage = run.model_copy(update={"stages": run.stages[:1]})
    frozen = train_tiny(with_settings(one_stage, 1, freeze_steps=4), tmp_path / "frozen")
    moved = moved_parameters(frozen, steps=4)
    assert all(not name.startswith(("conv_head.", "classifier.")) for name in moved["late"])
    assert all(name.startswith(("conv_head.", "classifier.")) for name in moved["from_the_start"])
    assert moved["from_the_start"]


def moved_parameters(checkpoint: Path, steps: int) -> dict[str, list[str]]:
    """Tell by AdamW's counters which parameters moved in all steps and which only after some."""
    training = load_tensors(checkpoint / "training.safetensors")
    prefix = "optimizer.step."
    counts = {k.removeprefix(prefix): int(v) for k, v in training.items() if k.startswith(prefix)}
    late = [name for name, count in counts.items() if count == 5 - steps]
    return {"late": late, "from_the_start": [name for name in counts if name not in late]}


def test_accumulated_parts_give_the_mse_gradient_of_the_whole(run: RunConfig) -> None:
    """With batch-norm frozen out of the way by evaluation mode the two must agree closely."""
    from mspt.training.batches import Batch
    from mspt.training.engine import Engine

    gradients = []
    for accumulate in (1, 2):
        changed = with_engine(run, accumulate=accumulate)
        loss = run.loss.model_copy(update={"plcc": 0.0})
        engine = Engine(changed.model_copy(update={"loss": loss}))
        stage = run.stages[0].model_copy(update={"freeze_steps": 1})
        engine.enter_stage(stage)
        rgb = torch.arange(4 * 32 * 32 * 3).reshape(4, 32, 32, 3).remainder(251).to(torch.uint8)
        engine.train_step(Stage(1, stage), Batch.as_drawn(0, rgb, torch.linspace(0, 1, 4)))
        gradients.append(engine.network.classifier.weight.grad.clone())
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-8)
    assert gradients[0].abs().max() > 0


def trained_on(run: RunConfig, batch: "Batch", steps: int, **settings: float) -> "Network":
    """Return the network after steps on one and the same batch."""
    from mspt.training.engine import Engine

    settings |= {"steps": steps, "warmup_steps": 0}
    stage = run.stages[0].model_copy(update=settings)
    engine = Engine(run)
    engine.enter_stage(stage)
    for step in range(steps):
        result = engine.train_step(Stage(1, stage), replace(batch, step=step))
        assert result.score.shape == batch.mos.shape
    return engine.network.train()


def test_consistency_brings_the_scores_of_an_image_and_its_mirror_image_together(
    run: RunConfig,
) -> None:
    from mspt.training.batches import Batch, another_view, to_pixels

    rgb = torch.randint(0, 256, (8, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    rgb, mos = rgb.to(torch.uint8), torch.linspace(0, 1, 8)
    apart = []
    for consistency in (0.0, 100.0):
        batch = Batch.as_drawn(0, rgb, mos)
        network = trained_on(run, batch, 40, peak_lr=1e-3, consistency=consistency)
        pixels = to_pixels(rgb)
        with torch.no_grad():
            first, second = (network(p) for p in (pixels, another_view(pixels)))
        apart.append(float((first - second).abs().mean()))
    assert apart[1] < apart[0] / 3


def test_spoiled_views_lower_scores_and_have_no_label(run: RunConfig) -> None:
    from mspt.training.batches import Batch, another_view, to_pixels

    rgb = torch.randint(90, 170, (8, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    rgb, mos = rgb.to(torch.uint8), torch.linspace(0.3, 0.9, 8)
    grain = torch.randint(-30, 31, rgb.shape, generator=torch.Generator().manual_seed(1))
    second, lost = (rgb.int() + grain).to(torch.uint8), torch.tensor([0.2] * 6 + [0.0] * 2)
    batch = replace(Batch.as_drawn(0, rgb, mos), second=second, lost=lost)
    falls = []
    for weight in (0.0, 20.0):
        network = trained_on(run, batch, 150, peak_lr=2e-3, spoil=weight)
        with torch.no_grad():
            views = [network(to_pixels(rgb)), network(another_view(to_pixels(second)))]
        falls.append(float((views[0] - views[1])[:6].mean()))
    assert falls[1] > falls[0] + 0.02


def test_ranking_makes_order_within_an_identity_count(run: RunConfig) -> None:
    from mspt.training.batches import Batch
    from mspt.training.engine import Engine

    rgb = torch.randint(0, 256, (4, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    mos, one = torch.tensor([0.2, 0.4, 0.6, 0.8]), torch.zeros(4, dtype=torch.long)
    losses = {}
    for rank, identity in ((0.0, one), (2.0, one), (2.0, torch.arange(4))):
        engine, stage = Engine(run), run.stages[0].model_copy(update={"rank": rank})
        engine.enter_stage(stage)
        batch = Batch.as_drawn(0, rgb.to(torch.uint8), mos, identity)
        losses[rank, bool(identity.any())] = engine.train_step(Stage(1, stage), batch).loss
    assert losses[2.0, False] > losses[0.0, False] + 0.01
    assert losses[2.0, True] == pytest.approx(losses[0.0, False])


def test_an_image_that_only_leads_counts_in_ranking_not_in_quality(run: RunConfig) -> None:
    from mspt.training.batches import Batch
    from mspt.training.engine import Engine

    rgb = torch.randint(0, 256, (4, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    mos, one = torch.tensor([0.2, 0.4, 0.6, 0.8]), torch.zeros(4, dtype=torch.long)
    losses = {}
    for rank, leading in ((0.0, 0), (0.0, 1), (0.0, 4), (2.0, 4)):
        engine, stage = Engine(run), run.stages[0].model_copy(update={"rank": rank})
        engine.enter_stage(stage)
        batch = Batch.as_drawn(0, rgb.to(torch.uint8), mos, one, torch.arange(4) < leading)
        losses[rank, leading] = engine.train_step(Stage(1, stage), batch).loss
    assert losses[0.0, 1] != pytest.approx(losses[0.0, 0])
    assert losses[0.0, 4] == 0 < losses[2.0, 4]
    result = engine.train_step(Stage(1, stage), batch)
    assert len(result.score) == len(result.mos) == 0


def test_a_batch_that_cannot_be_shared_out_is_refused(run: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch 4 cannot be split into 3 equal parts of at least"):
        train_tiny(with_engine(run, accumulate=3), tmp_path / "out")


def test_processes_that_would_each_train_alone_are_refused(
    run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes were launched, but each would train alone"):
        train_tiny(run, tmp_path / "out")


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(
    manifest: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """Two CPU processes (gloo) share each batch, but not its loss: PLCC, ranks and batch-norm are
    those of the whole batch. At a low rate, since rounding grows with every step.
    """
    more = {"rank": 2, "consistency": 1, "peak_lr": 1e-4, "warmup_steps": 0}
    text = run_file(manifest, steps=12, **more).replace("plcc = 0.0", "plcc = 0.5")
    (tmp_path / "t.toml").write_text(text)
    assert run_cli("train", "t.toml", "--out", "one").returncode == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m"]
    train = [*launch, "mspt", "train", "t.toml", "--out", "two"]
    done = subprocess.run(train, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("stage1-step000012") == 1, "one process speaks for all"
    name = "checkpoints/stage1-step000012/training.safetensors"
    one, two = (load_tensors(tmp_path / out / name) for out in ("one", "two"))
    names = [key for key in one if key.startswith("network.") and one[key].is_floating_point()]
    torch.manual_seed(0)
    start = {f"network.{key}": value for key, value in MsptNetwork().state_dict().items()}
    apart = torch.cat([(one[key] - two[key]).abs().flatten() for key in names])
    moved = torch.cat([(one[key] - start[key]).abs().flatten() for key in names])
    assert moved.mean() > 1e-4
    assert apart.mean() < 1e-3 * moved.mean()


_GRADIENT = """
import sys, torch
from pathlib import Path
from mspt.training.batches import Batch
from mspt.training.config import load_run
from mspt.training.engine import Engine

engine = Engine(run := load_run(Path("t.toml")))
engine.enter_stage(stage := run.stages[0])
draw = torch.Generator().manual_seed(0)
rgb = torch.randint(0, 256, (16, 64, 64, 3), generator=draw)
rgb = (rgb * torch.linspace(0.2, 1, 16)[:, None, None, None]).to(torch.uint8)
mos, mine = torch.rand(16, generator=draw), list(engine.shard.places(16, in_a_row=True))
engine.network.train()
loss, _ = engine._backward(
    stage, Batch.as_drawn(0, rgb[mine], mos[mine], torch.arange(16)[mine] // 4)
)
if engine.shard.rank == 0:
    found = torch.cat([p.grad.flatten() for p in engine.network.parameters()])
    print(loss, float(found.norm()), float(found[::997].abs().sum()))
"""


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one(manifest: Path, tmp_path: Path) -> None:
    """Its size, too, which AdamW does not show."""
    text = run_file(manifest, batch=16, rank=2, consistency=1).replace("plcc = 0.0", "plcc = 0.5")
    (tmp_path / "t.toml").write_text(text)
    (tmp_path / "gradient.py").write_text(_GRADIENT)
    found = []
    for launch in ([], ["-m", "torch.distributed.run", "--nproc_per_node", "2"]):
        command = [sys.executable, *launch, "gradient.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append([float(word) for word in done.stdout.split()])
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.slow
def test_two_processes_start_from_one_network(
    manifest: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """What a model file lacks is measured on images: on the same ones, however many processes."""
    text = run_file(manifest, steps=3, warmup_steps=0, reestimate_bn=2)
    (tmp_path / "t.toml").write_text('init = "fast"\n' + text)
    assert run_cli("train", "t.toml", "--out", "one").returncode == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m"]
    train = [*launch, "mspt", "train", "t.toml", "--out", "two"]
    done = subprocess.run(train, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    name = "checkpoints/stage0-step000000/weights.safetensors"
    one, two = (load_tensors(tmp_path / out / name) for out in ("one", "two"))
    assert all(torch.allclose(one[key], two[key], rtol=1e-3, atol=1e-4) for key in one)


@pytest.mark.slow
def test_bf16_trains_close_to_fp32(manifest: Path, tmp_path: Path, run_cli: RunCli) -> None:
    # At a low rate: steps that are large drive two runs apart whatever their precision is.
    text = run_file(manifest, steps=12, peak_lr=1e-4)
    (tmp_path / "fp32.toml").write_text(text)
    (tmp_path / "bf16.toml").write_text(text.replace("[engine]", '[engine]\nprecision = "bf16"'))
    losses = []
    for name in ("fp32", "bf16"):
        assert run_cli("train", f"{name}.toml", "--out", name).returncode == 0
        rows = read_metrics(tmp_path / name / "metrics.jsonl")
        losses.append([row["loss"] for row in rows if "loss" in row])
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[1] != losses[0]


def test_fp16_without_a_gpu_is_refused(run: RunConfig, tmp_path: Path) -> None:
    class Cpu:
        device = torch.device("cpu")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "Accelerator", lambda **options: Cpu())
        with pytest.raises(ConfigError, match="'fp16' needs a GPU, and there is none; take 'bf16'"):
            train_tiny(with_engine(run, precision="fp16"), tmp_path / "out")


def run_file(manifest: Path, **settings: object) -> str:
    """Return a run of one stage as the text of a TOML."""
    raw: Raw = raw_run(manifest)
    text = 'name = "tiny"\n[loss]\nplcc = 0.0\n[engine]\ndevice = "cpu"\n'
    text += f'[[data]]\nmanifest = "{manifest}"\n[[stages]]\n'
    stage = raw["stages"][0] | settings
    return text + "".join(f"{key} = {json.dumps(value)}\n" for key, value in stage.items())
