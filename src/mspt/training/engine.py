"""One training step, on whatever the machine offers: CPU, one GPU or several (accelerate).

In:   batches, and the settings of their stage.
Out:  a trained network and its running average (EMA), which is what gets evaluated and exported.

Under `accelerate launch` every process takes its part of each batch; loss and batch-norm are those
of the whole batch (together.py), so that many processes take the steps of one.
"""

import copy
import math
import os
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor

from mspt.errors import ConfigError
from mspt.parallel import keep_freed_memory
from mspt.training.backbones import Network, build_network
from mspt.training.batches import Batch, Shard, another_view, batches_in_order, to_pixels
from mspt.training.carryover import Anchor
from mspt.training.checkpoint import Tensors
from mspt.training.config import EngineConfig, RunConfig, Stage, StageConfig
from mspt.training.frames import Frames
from mspt.training.losses import quality_loss, rank_loss, spoil_loss
from mspt.training.start_weights import load_start_weights
from mspt.training.together import gather, share_statistics

_FLOOR = 0.01  # of the peak: where the cosine ends
_MAX_GRADIENT = 5.0  # L2 norm; reached only in the first steps from random weights
_PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}  # as accelerate calls them
_SCORE_BATCH = 16  # images scored at once
_PATIENCE = timedelta(hours=12)  # while one process prepares images for all
_DROPOUT = 3  # first part of dropout's seeds, as batches.py has its own


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step says of itself, for this process's part of the batch, but images that lead."""

    loss: float
    score: npt.NDArray[np.float64]  # (n,), before the step
    mos: npt.NDArray[np.float64]  # (n,)


class Engine:
    """The network in training, its average and its optimiser."""

    def __init__(self, run: RunConfig) -> None:
        """Start from random weights drawn with the run's seed.

        Raises:
            ConfigError: if the network or the device cannot be had as the run says.
        """
        keep_freed_memory()
        self.accelerator = _make_accelerator(run.engine)
        torch.manual_seed(run.seed)
        self._run = run
        self.network: Network = build_network(run.network)
        self.network.to(self.accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged: Network = copy.deepcopy(self.network).eval()
        self.anchor: Anchor | None = None
        self.optimizer = _make_optimizer(self.network)
        share_statistics(self.network, self.accelerator.num_processes)
        self._wrapped, self._stepper = self.accelerator.prepare(self.network, self.optimizer)

    @property
    def shard(self) -> Shard:
        """Which part of each batch this process takes."""
        return Shard(self.accelerator.process_index, self.accelerator.num_processes)

    def load_start(self, init: str, batches: Iterable[Tensor]) -> str:
        """Start from the weights that `init` names instead; return a remark, or "".

        Raises:
            ConfigError: as `load_start_weights`.
        """
        on_device = (rgb.to(self.accelerator.device) for rgb in batches)
        remark = load_start_weights(self.network, init, on_device)
        self.averaged.load_state_dict(self.network.state_dict())
        return remark

    def check_batch(self, stage: StageConfig) -> None:
        """Refuse a batch that cannot be shared out; PLCC and batch-norm need two images a part."""
        parts = self.accelerator.num_processes * self._run.engine.accumulate
        if stage.batch % parts or stage.batch < 2 * parts:
            raise ConfigError(
                f"batch {stage.batch} cannot be split into {parts} equal parts of at least 2 images"
                f" ({self.accelerator.num_processes} processes x accumulate "
                f"{self._run.engine.accumulate}); choose a multiple of {parts}"
            )

    def enter_stage(self, stage: StageConfig) -> None:
        """Start a stage: from the averaged network, with a fresh optimiser."""
        self.network.load_state_dict(self.averaged.state_dict())
        self.optimizer.state.clear()
        self.apply_settings(stage)

    def apply_settings(self, stage: StageConfig) -> None:
        """Set what a stage says of regularisation."""
        self.network.drop_rate = stage.dropout
        decayed, plain = self.optimizer.param_groups
        decayed["weight_decay"], plain["weight_decay"] = stage.weight_decay, 0.0

    def train_step(self, place: Stage, batch: Batch) -> StepResult:
        """Take one step of a stage."""
        stage = place.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(stage, batch.step)
        frozen = batch.step < stage.freeze_steps
        self._wrapped.train(not frozen)
        torch.manual_seed(self._dropout_seed(place.number, batch.step))
        self._stepper.zero_grad(set_to_none=True)
        loss, score = self._backward(stage, batch)
        if frozen:
            self._drop_backbone_gradients()
        self.accelerator.clip_grad_norm_(self.network.parameters(), _MAX_GRADIENT)
        self._stepper.step()
        update_average(self.averaged, self.network, stage.ema_decay, batch.step)
        counted = ~batch.leads_only.numpy()
        return StepResult(loss, score[counted], batch.mos.numpy().astype(np.float64)[counted])

    def _dropout_seed(self, number: int, step: int) -> int:
        """Return a seed that depends on the place in the run only, so that resuming is exact."""
        place = (_DROPOUT, self._run.seed, number, step, self.shard.rank)
        return int(np.random.SeedSequence(place).generate_state(1)[0])

    def _backward(self, stage: StageConfig, batch: Batch) -> tuple[float, npt.NDArray[np.float64]]:
        """Add up the gradients of a batch, part by part; return its loss and scores."""
        parts = self._run.engine.accumulate
        device = self.accelerator.device
        losses, scores = [], []
        for place, part in enumerate(batch.split(parts), 1):
            last = place == parts  # only then do processes exchange gradients
            with nullcontext() if last else self.accelerator.no_sync(self._wrapped):
                part = part.to(device)
                pixels = views = to_pixels(part.rgb)
                if stage.views == 2:
                    second = to_pixels(part.second) if stage.spoil else pixels
                    views = torch.cat([pixels, another_view(second)])
                score = self._wrapped(views)
                loss = self._loss(stage, part, pixels, score) / parts
                self.accelerator.backward(loss)
            losses.append(float(loss.item()))
            scores.append(score[: len(part.mos)].detach().cpu().double().numpy())
        return sum(losses), np.concatenate(scores)

    def _loss(self, stage: StageConfig, batch: Batch, pixels: Tensor, scores: Tensor) -> Tensor:
        """Return the loss of the scores of `pixels`, behind which those of second views may come.

        It is the loss of all processes' parts together. A spoiled view has no label: it only has
        to score lower.
        """
        anchor, views = self.anchor, stage.views
        anchored = self._gather(anchor.score(pixels)) if anchor and stage.distill else None
        scores = self._gather(scores, views)
        shown = (batch.mos, batch.identity, batch.leads_only, batch.lost)
        mos, identity, leads_only, lost = map(self._gather, shown)
        spoiled = lost > 0
        score, second = scores[: len(spoiled)], scores[len(spoiled) :]
        labelled = torch.cat([torch.ones_like(spoiled), ~spoiled])[: len(scores)]
        truth, identity = mos.repeat(views), identity.repeat(views)
        loss = self._quality_loss(scores, truth, labelled & ~leads_only.repeat(views))
        # What a stage may add, by the key of its weight.
        terms: dict[str, Callable[[], Tensor]] = {
            "consistency": lambda: _mean_square((score - second)[~spoiled]),
            "spoil": lambda: spoil_loss(score[spoiled], second[spoiled], lost[spoiled]),
            "rank": lambda: rank_loss(scores[labelled], truth[labelled], identity[labelled]),
        }
        if anchored is not None:
            terms["distill"] = lambda: _mean_square(score - anchored)
        if anchor:
            terms["l2sp"] = lambda: anchor.distance(self.network)
        for name, term in terms.items():
            if weight := getattr(stage, name):
                loss = loss + weight * term()
        return loss

    def _gather(self, values: Tensor, views: int = 1) -> Tensor:
        """Return the values of all processes, (N,); all first views come before all second ones."""
        parts = gather(values.view(views, -1), self.accelerator.num_processes)
        return parts.transpose(0, 1).reshape(-1)

    def _quality_loss(self, scores: Tensor, truth: Tensor, is_counted: Tensor) -> Tensor:
        """Return the loss of the scores that count, 0 if they are less than two."""
        if is_counted.sum() < 2:
            return scores.sum() * 0
        scores, truth, weights = scores[is_counted], truth[is_counted], self._run.loss
        return quality_loss(scores, truth, mse_weight=weights.mse, plcc_weight=weights.plcc)

    def _drop_backbone_gradients(self) -> None:
        for name, parameter in self.network.named_parameters():
            if not name.startswith(self.network.HEAD):
                parameter.grad = None

    def collect_training_state(self) -> Tensors:
        """Return what resuming needs beside the averaged weights, as named tensors."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for what, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{what}.{name}"] = value
        return tensors

    def restore_training_state(self, tensors: Tensors) -> None:
        """Put back what `collect_training_state` returned."""
        self.network.load_state_dict(_without_prefix(tensors, "network."))
        for what in ("step", "exp_avg", "exp_avg_sq"):
            moments = _without_prefix(tensors, f"optimizer.{what}.")
            for name, parameter in self.network.named_parameters():
                if name in moments:  # a frozen parameter has none
                    like = parameter if what != "step" else moments[name]
                    self.optimizer.state[parameter][what] = torch.empty_like(like).copy_(
                        moments[name]
                    )

    def restore_scaler(self, state: dict[str, float]) -> None:
        """Put back what `scaler_state` returned."""
        if state and self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state)

    def scaler_state(self) -> dict[str, float]:
        """Return fp16's loss scale; empty with other precisions."""
        scaler = self.accelerator.scaler
        return dict(scaler.state_dict()) if scaler else {}


def _mean_square(differences: Tensor) -> Tensor:
    """Return the mean of the squares, 0 of none."""
    return (differences**2).sum() / max(1, len(differences))


def _make_accelerator(config: EngineConfig) -> Accelerator:
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    try:
        accelerator = Accelerator(
            cpu=config.device == "cpu",
            mixed_precision=_PRECISIONS[config.precision],
            kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
        )
    except ValueError as error:  # accelerate allows one setting per process
        raise ConfigError(
            f"engine.precision {config.precision!r}, device {config.device!r}: {error} A process "
            "keeps the setting of its first run: start a new one"
        ) from error
    if config.precision == "fp16" and accelerator.device.type == "cpu":
        raise ConfigError("engine.precision 'fp16' needs a GPU, and there is none; take 'bf16'")
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise ConfigError(
            f"{launched} processes were launched, but each would train alone: for "
            'processes on a CPU set device = "cpu" in [engine]'
        )
    return accelerator


def _make_optimizer(network: Network) -> torch.optim.AdamW:
    """Return AdamW with one group of matrices and kernels, which decay, and one of the rest."""
    parameters = list(network.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0)  # set before every step


def learning_rate(stage: StageConfig, step: int) -> float:
    """Return the rate of a step: linear warm-up to the peak, then the stage's decay."""
    if step < stage.warmup_steps:
        return stage.peak_lr * (step + 1) / stage.warmup_steps
    done = (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps)
    if stage.schedule == "thirds":
        return float(stage.peak_lr * 0.1 ** min(2, int(3 * done)))
    return stage.peak_lr * (_FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * done)) / 2)


@torch.no_grad()
def update_average(averaged: Network, network: Network, decay: float, step: int) -> None:
    """Move the averaged network towards the trained one, faster in a stage's first steps."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for mean, value in zip(
        averaged.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if mean.is_floating_point():
            mean.lerp_(value, weight)
        else:
            mean.copy_(value)


def _without_prefix(tensors: Tensors, prefix: str) -> Tensors:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@torch.no_grad()
def score_frames(network: Network, frames: Frames) -> npt.NDArray[np.float64]:
    """Score prepared frames with torch, in fp32, on the network's device; (N,)."""
    network.eval()
    device = next(network.parameters()).device
    scores = [
        network(to_pixels(rgb.to(device))).cpu().numpy()
        for rgb in batches_in_order(frames, _SCORE_BATCH)
    ]
    return np.concatenate(scores).astype(np.float64)
