"""The training loop: stage after stage, larger and more diverse, resumable at any step.

In:   RunConfig and an output folder.
Out:  OUT/checkpoints/stageK-stepN/, OUT/metrics.jsonl; returns the last checkpoint.

Each stage starts from the averaged network of the stage before, with a fresh optimiser, a short
warm-up and a cosine decay to near zero. After each stage every stage's validation set is scored
at that stage's size: a later row of metrics.jsonl shows what was forgotten.
"""

import copy
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mspt.errors import ConfigError
from mspt.evaluation.manifest import Entry, read_manifest, select_entries
from mspt.evaluation.metrics import MIN_IMAGES, plcc, srcc
from mspt.spec import InputSpec, square_spec
from mspt.training.budget import measure_cost
from mspt.training.checkpoint import (
    State,
    Tensors,
    checkpoint_name,
    latest_checkpoint,
    load_network,
    load_state,
    load_tensors,
    place_of,
    save_checkpoint,
)
from mspt.training.dataset import Frames, build_frames, draw_batch
from mspt.training.losses import quality_loss
from mspt.training.network import MsptNetwork
from mspt.training.stages import OptimConfig, RunConfig, StageConfig

_LOG_EVERY = 20  # steps
_SAVE_EVERY = 100  # steps
_FLOOR = 0.01  # of the peak: where the cosine ends
_MAX_GRADIENT = 5.0  # L2 norm; reached only in the first steps from random weights

Log = Callable[[str], None]


def train(run: RunConfig, out_dir: Path, *, resume: bool = False, log: Log = print) -> Path:
    """Train all stages and return the folder of the last checkpoint.

    Args:
        run: what to train.
        out_dir: receives checkpoints, prepared frames and metrics.jsonl.
        resume: go on from the newest checkpoint; without it, `out_dir` must hold none.
        log: takes lines of progress.

    Raises:
        ConfigError: if data and run do not fit, or `out_dir` holds a run already.
    """
    train_entries, val_entries = read_run_data(run)
    trainer = Trainer(run, out_dir, log, digest_data([*train_entries, *val_entries]))
    if resume:
        trainer.restore()
    elif latest_checkpoint(trainer.checkpoints):
        raise ConfigError(f"{out_dir} already holds checkpoints; add --resume or delete it")
    for number in range(trainer.stage, len(run.stages) + 1):
        trainer.train_stage(number, train_entries, val_entries)
    return trainer.checkpoints / checkpoint_name(len(run.stages), run.stages[-1].steps)


def read_run_data(run: RunConfig) -> tuple[list[Entry], list[Entry]]:
    """Read both manifests and check them against the stages.

    Raises:
        ConfigError: if a stage finds too few images, or an identity is in both train and val.
    """
    train_entries, val_entries = read_manifest(run.data.train), read_manifest(run.data.val)
    if run.data.train == run.data.val:
        train_entries = select_entries(train_entries, split="train")
        val_entries = select_entries(val_entries, split="val")
        for split, entries in (("train", train_entries), ("val", val_entries)):
            if not entries:
                raise ConfigError(
                    f"{run.data.train}: no row has the split {split!r}; each row must name "
                    "its split where one manifest serves as both train and val"
                )
    for number, stage in enumerate(run.stages, 1):
        _check_stage_data(number, stage, train_entries, val_entries)
    shared = {e.group for e in train_entries} & {e.group for e in val_entries}
    if shared:
        raise ConfigError(
            f"{len(shared)} identities are in both train and val, such as {min(shared)!r}; "
            "split by identity"
        )
    return train_entries, val_entries


def describe_plan(run: RunConfig) -> str:
    """Check a run and its data, and return what it would do, a line per stage.

    Raises:
        ConfigError: as `train`.
    """
    train_entries, _ = read_run_data(run)
    lines = [f"{run.name}: {len(run.stages)} stages, seed {run.seed}"]
    for number, stage in enumerate(run.stages, 1):
        images = len(select_entries(train_entries, sources=stage.sources))
        cost = measure_cost(MsptNetwork(), stage.short_side)
        seen = stage.steps * stage.batch
        lines.append(
            f"stage {number}: {stage.short_side} px, {cost.gflops} GFLOPs, {images} images of "
            f"{', '.join(sorted(stage.sources))}; {stage.steps} steps of {stage.batch} "
            f"({seen / images:.1f} epochs), {images * stage.short_side**2 * 3 / 1e9:.1f} GB on disk"
        )
    return "\n".join(lines)


def digest_data(entries: Sequence[Entry]) -> str:
    """Return what changes when the images' names or labels do."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.path.name}|{entry.mos}|{entry.source}\n".encode())
    return digest.hexdigest()[:16]


def _check_stage_data(
    number: int, stage: StageConfig, train: Sequence[Entry], val: Sequence[Entry]
) -> None:
    known = {entry.source for entry in train}
    if unknown := sorted(stage.sources - known):
        raise ConfigError(
            f"stage {number}: sources {unknown} are not in the training manifest, which has "
            f"{sorted(known)}"
        )
    for name, entries, least in (("train", train, stage.batch), ("val", val, MIN_IMAGES)):
        count = len(select_entries(entries, sources=stage.sources))
        if count < least:
            raise ConfigError(
                f"stage {number}: {count} {name} images of its sources, but it needs {least}; "
                "lower the batch or add images"
            )


class Trainer:
    """The state of a run, and the steps that change it."""

    def __init__(self, run: RunConfig, out_dir: Path, log: Log, data_digest: str) -> None:
        """Start from random weights drawn with the run's seed."""
        self.data_digest = data_digest
        torch.manual_seed(run.seed)
        self.run = run
        self.log = log
        self.out_dir = out_dir
        self.checkpoints = out_dir / "checkpoints"
        self.network = MsptNetwork()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network).eval()
        self.optimizer = make_optimizer(self.network, run.optim)
        self.stage, self.step = 1, 0

    def restore(self) -> None:
        """Go on from the newest checkpoint, if there is one.

        Raises:
            ConfigError: if it belongs to another run file or other data.
        """
        folder = latest_checkpoint(self.checkpoints)
        if folder is None:
            self._drop_metrics_after(0, 0)
            return
        state = load_state(folder)
        if state.run.model_dump(exclude={"data"}) != self.run.model_dump(exclude={"data"}):
            raise ConfigError(
                f"{folder} was trained by another run file; restore that file or start elsewhere"
            )
        if state.data_digest != self.data_digest:
            raise ConfigError(
                f"{folder} was trained on other images or labels than the manifests list now; "
                "restore them or start elsewhere"
            )
        self.averaged.load_state_dict(load_network(folder).state_dict())
        training = load_tensors(folder / "training.safetensors")
        self.network.load_state_dict(_without_prefix(training, "network."))
        self.stage, self.step = state.stage, state.step
        if self.step == self.run.stages[self.stage - 1].steps:
            shutil.rmtree(self._cache(self.stage), ignore_errors=True)
            self._enter_stage(self.stage + 1)
        else:
            restore_moments(self.optimizer, self.network, training)
        self._drop_metrics_after(state.stage, state.step)
        self.log(f"resumed from {folder.name}")

    def train_stage(
        self, number: int, train_entries: Sequence[Entry], val_entries: Sequence[Entry]
    ) -> None:
        """Train one stage from wherever it stands, evaluate it and keep its checkpoint."""
        stage = self.run.stages[number - 1]
        spec = square_spec(stage.short_side)
        cache = self._cache(number)
        entries = select_entries(train_entries, sources=stage.sources)
        self.log(f"stage {number}: preparing {len(entries)} images at {stage.short_side} px")
        frames = build_frames(entries, spec, cache)
        started, first = time.monotonic(), self.step
        while self.step < stage.steps:
            loss = self._train_step(stage, frames)
            self.step += 1
            if self.step % _LOG_EVERY == 0 or self.step == stage.steps:
                speed = (self.step - first) / (time.monotonic() - started)
                self._report_step(stage, loss, speed)
            if self.step % _SAVE_EVERY == 0 and self.step < stage.steps:
                self._save(spec)
        self._evaluate(number, build_frames(val_entries, spec, cache))
        self._save(spec)
        shutil.rmtree(cache)  # gigabytes that no later stage needs
        self._enter_stage(number + 1)

    def _cache(self, stage: int) -> Path:
        """Return where a stage's prepared frames lie while it is trained."""
        return self.out_dir / f"frames-stage{stage}"

    def _enter_stage(self, number: int) -> None:
        """Start a stage: from the averaged network, with a fresh optimiser."""
        self.network.load_state_dict(self.averaged.state_dict())
        self.optimizer = make_optimizer(self.network, self.run.optim)
        self.stage, self.step = number, 0

    def _train_step(self, stage: StageConfig, frames: Frames) -> float:
        rgb, mos = draw_batch(
            frames, stage.batch, seed=self.run.seed, stage=self.stage, step=self.step
        )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(stage, self.step)
        self.network.train()
        score = self.network(to_pixels(rgb))
        optim = self.run.optim
        loss = quality_loss(score, mos, mse_weight=optim.mse_weight, plcc_weight=optim.plcc_weight)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_GRADIENT)
        self.optimizer.step()
        update_average(self.averaged, self.network, optim.ema_decay, self.step)
        return float(loss.item())

    def _report_step(self, stage: StageConfig, loss: float, steps_per_s: float) -> None:
        if not math.isfinite(loss):
            raise ConfigError(
                f"stage {self.stage}, step {self.step}: the loss is {loss}; lower peak_lr "
                f"({stage.peak_lr}) or lengthen warmup_steps ({stage.warmup_steps})"
            )
        left_s = (stage.steps - self.step) / steps_per_s
        self.log(
            f"stage {self.stage}  step {self.step}/{stage.steps}  loss {loss:.4f}  "
            f"{steps_per_s * stage.batch:.1f} images/s  {left_s / 60:.1f} min left"
        )
        self._add_metrics(
            {"loss": loss, "lr": learning_rate(stage, self.step - 1)}
            | {"images_per_s": round(steps_per_s * stage.batch, 2)}
        )

    def _evaluate(self, number: int, val: Frames) -> None:
        """Score every stage's validation set at this stage's size."""
        score = score_frames(self.averaged, val)
        mos = val.mos.astype(np.float64)
        agreement = {}
        for set_number, stage in enumerate(self.run.stages, 1):
            chosen = np.array([entry.source in stage.sources for entry in val.entries])
            pair = score[chosen], mos[chosen]
            agreement[str(set_number)] = {"srcc": srcc(*pair), "plcc": plcc(*pair)}
            self.log(
                f"after stage {number}, on the val set of stage {set_number}: "
                f"SRCC {srcc(*pair):.4f}  PLCC {plcc(*pair):.4f}  ({chosen.sum()} images)"
            )
        self._add_metrics({"val": agreement})

    def _save(self, spec: InputSpec) -> None:
        """Write a checkpoint and drop older ones of the same stage."""
        name = checkpoint_name(self.stage, self.step)
        training = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        training |= collect_moments(self.optimizer, self.network)
        state = State(
            run=self.run,
            stage=self.stage,
            step=self.step,
            spec=spec,
            data_digest=self.data_digest,
        )
        save_checkpoint(self.checkpoints / name, state, dict(self.averaged.state_dict()), training)
        for old in self.checkpoints.glob(f"stage{self.stage}-step*"):
            if place_of(old)[1] < self.step:
                shutil.rmtree(old)

    @property
    def _metrics_path(self) -> Path:
        return self.out_dir / "metrics.jsonl"

    def _add_metrics(self, values: dict[str, Any]) -> None:
        self.out_dir.mkdir(parents=True, exist_ok=True)
        with self._metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": self.stage, "step": self.step} | values) + "\n")

    def _drop_metrics_after(self, stage: int, step: int) -> None:
        """Forget rows of the steps that a resumed run is about to repeat."""
        if not self._metrics_path.exists():
            return
        lines = self._metrics_path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        kept = [row for row in rows if (row["stage"], row["step"]) <= (stage, step)]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        self._metrics_path.write_text(text, encoding="utf-8")


def learning_rate(stage: StageConfig, step: int) -> float:
    """Return the rate of a step: linear warm-up to the peak, then a cosine to near zero."""
    if step < stage.warmup_steps:
        return stage.peak_lr * (step + 1) / stage.warmup_steps
    done = (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps)
    return stage.peak_lr * (_FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * done)) / 2)


def make_optimizer(network: MsptNetwork, optim: OptimConfig) -> torch.optim.AdamW:
    """Return AdamW with decay on matrices and kernels, never on biases or batch-norm."""
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": optim.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=0.0,  # set before every step
    )


def collect_moments(optimizer: torch.optim.AdamW, network: MsptNetwork) -> Tensors:
    """Return AdamW's state as named tensors: `optimizer.<what>.<parameter>`."""
    return {
        f"optimizer.{what}.{name}": value
        for name, parameter in network.named_parameters()
        for what, value in optimizer.state.get(parameter, {}).items()
    }


def restore_moments(optimizer: torch.optim.AdamW, network: MsptNetwork, training: Tensors) -> None:
    """Put back what `collect_moments` returned."""
    for what in ("step", "exp_avg", "exp_avg_sq"):
        moments = _without_prefix(training, f"optimizer.{what}.")
        for name, parameter in network.named_parameters():
            like = parameter if what != "step" else moments[name]
            optimizer.state[parameter][what] = torch.empty_like(like).copy_(moments[name])


def _without_prefix(tensors: Tensors, prefix: str) -> Tensors:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@torch.no_grad()
def update_average(averaged: MsptNetwork, network: MsptNetwork, decay: float, step: int) -> None:
    """Move the averaged network towards the trained one, faster in a stage's first steps."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for mean, value in zip(
        averaged.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if mean.is_floating_point():
            mean.lerp_(value, weight)
        else:
            mean.copy_(value)


def to_pixels(rgb: Tensor) -> Tensor:
    """Turn uint8 (N, S, S, 3) into the network's float32 (N, 3, S, S) in 0..1."""
    return rgb.permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def score_frames(
    network: MsptNetwork, frames: Frames, *, batch: int = 16
) -> npt.NDArray[np.float64]:
    """Score prepared frames with torch; (N,)."""
    network.eval()
    scores = [
        network(to_pixels(torch.from_numpy(np.array(frames.rgb[start : start + batch])))).numpy()
        for start in range(0, len(frames), batch)
    ]
    return np.concatenate(scores).astype(np.float64)
