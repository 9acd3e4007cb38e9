"""What a run would do: its data read and checked against its stages, and what that costs.

In:   RunConfig.
Out:  RunPlan, or an error that names both values; nothing has been trained or written yet.
"""

import copy
import hashlib
import math
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from mspt.errors import ConfigError
from mspt.evaluation.manifest import Entry, read_manifest, relative_name, select_entries
from mspt.evaluation.metrics import MIN_IMAGES
from mspt.training.batches import Batch
from mspt.training.budget import Cost, measure_cost, parse_budget
from mspt.training.carryover import Anchor
from mspt.training.engine import Engine
from mspt.training.frames import check_present, frames_bytes
from mspt.training.networks import build_network
from mspt.training.stages import DataConfig, RunConfig, StageConfig


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run whose promises hold."""

    run: RunConfig  # every stage with its number of steps
    train: Sequence[Entry]
    val: Sequence[Entry]
    costs: Sequence[Cost]  # of one image, per stage

    @property
    def digest(self) -> str:
        """Return what changes when the images' names or labels do."""
        digest = hashlib.sha256()
        for e in (*self.train, *self.val):
            line = f"{e.path.name}|{e.mos}|{e.source}|{e.identity}|{e.split}\n"
            digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]


def make_plan(run: RunConfig) -> RunPlan:
    """Read the manifests and check them and the budget against the stages.

    Raises:
        ConfigError: if data and run do not fit, or the budget is exceeded.
        ManifestError: if a manifest cannot be read, or a mos lies outside its declared scale.
    """
    train, val = read_run_data(run)
    check_present([*train, *val])
    stages = tuple(_with_steps(number, stage, train) for number, stage in enumerate(run.stages, 1))
    network = build_network(run.network)
    costs = [measure_cost(network, stage.short_side) for stage in stages]
    if run.budget and (excess := parse_budget(run.budget).excess(costs[-1])):
        raise ConfigError(
            f"{run.name}: stage {len(stages)} at {stages[-1].short_side} px breaks the budget "
            f"{run.budget}: {excess}; lower short_side or raise the budget"
        )
    return RunPlan(run.model_copy(update={"stages": stages}), train, val, costs)


def read_run_data(run: RunConfig) -> tuple[list[Entry], list[Entry]]:
    """Return the entries of train and of val; rows of other splits are left alone.

    Raises:
        ConfigError: if a split is empty, an identity is in both, an image is listed twice, or a
            stage finds too few images.
        ManifestError: as `read_manifest`.
    """
    entries = [entry for data in run.data for entry in _read_set(data)]
    twice = [path for path, count in Counter(str(e.path) for e in entries).items() if count > 1]
    if twice:
        raise ConfigError(f"{len(twice)} images are listed twice, such as {twice[0]}")
    train, val = (select_entries(entries, split=split) for split in ("train", "val"))
    for split, found in (("train", train), ("val", val)):
        if not found:
            splits = sorted({entry.split for entry in entries})
            raise ConfigError(
                f"{run.name}: no image has the split {split!r} (there are {splits}); add a set, "
                "or declare split or val_share for one"
            )
    shared = {entry.group for entry in train} & {entry.group for entry in val}
    if shared:
        raise ConfigError(
            f"{len(shared)} identities are in both train and val, such as {min(shared)!r}; "
            "split by identity"
        )
    for number, stage in enumerate(run.stages, 1):
        _check_stage_data(number, stage, train, val)
    return train, val


def _read_set(data: DataConfig) -> Iterator[Entry]:
    """Yield the entries of one set, with what the run file declares of them."""
    undecided = 0
    for entry in read_manifest(data.manifest, images=data.images, mos_scale=data.mos_scale):
        split = entry.split or data.split
        if not split and data.val_share:
            split = "val" if _lot(entry, data) < data.val_share else "train"
        undecided += not split
        yield replace(entry, source=entry.source or data.source, split=split)
    if undecided:
        raise ConfigError(
            f"{data.manifest}: {undecided} rows name no split; add a column split, or declare "
            'split = "train" or val_share = 0.1 in the run file'
        )


def _lot(entry: Entry, data: DataConfig) -> float:
    """Return a number in 0..1 that follows from who is shown, wherever the folder lies."""
    name = entry.identity or relative_name(entry.path, data.images or data.manifest.parent)
    return zlib.crc32(name.encode(errors="surrogateescape")) / 2**32


def _check_stage_data(
    number: int, stage: StageConfig, train: Sequence[Entry], val: Sequence[Entry]
) -> None:
    known = {entry.source for entry in train}
    if unknown := sorted(stage.sources - known):
        raise ConfigError(
            f"stage {number}: sources {unknown} are not in the training data, which has "
            f"{sorted(known)}"
        )
    for name, entries, least in (("train", train, stage.batch), ("val", val, MIN_IMAGES)):
        count = len(select_entries(entries, sources=stage.sources))
        if count < least:
            raise ConfigError(
                f"stage {number}: {count} {name} images of its sources, but it needs {least}; "
                "lower the batch or add images"
            )


def _with_steps(number: int, stage: StageConfig, train: Sequence[Entry]) -> StageConfig:
    """Return a stage with its length in steps."""
    if stage.steps:
        return stage
    images = len(select_entries(train, sources=stage.sources))
    steps = math.ceil(stage.epochs * images / stage.batch)
    counted = stage.model_copy(update={"steps": steps, "epochs": 0.0})
    try:
        counted.check_parts()
    except ValueError as error:
        raise ConfigError(
            f"stage {number}: {stage.epochs:g} epochs of {images} images are {steps} steps, but "
            f"{error}"
        ) from error
    return counted


def describe_plan(plan: RunPlan) -> str:
    """Return what a run would do, a line per stage; times one step of each."""
    engine = Engine(plan.run)
    run = plan.run
    lines = [f"{run.name}: network {run.network}, {len(run.stages)} stages, seed {run.seed}"]
    idle = len(plan.train) - len(select_entries(plan.train, sources=run.stages[-1].sources))
    if idle:
        lines.append(f"{idle} training images belong to no stage, by their sources")
    total_s, disks = 0.0, []
    for number, (stage, cost) in enumerate(zip(run.stages, plan.costs, strict=True), 1):
        engine.check_batch(stage)
        images = len(select_entries(plan.train, sources=stage.sources))
        seen = stage.steps * stage.batch
        stage_s = stage.steps * _measure_step_s(engine, stage, number)
        stage_disk = frames_bytes(images + len(plan.val), stage.short_side)
        total_s += stage_s
        disks.append(stage_disk)
        lines.append(
            f"stage {number}: {stage.short_side} px, {cost.gflops} GFLOPs, {images} images of "
            f"{', '.join(sorted(stage.sources))}; {stage.steps} steps of {stage.batch} "
            f"({seen / images:.1f} epochs), about {_duration(stage_s)}, "
            f"{_size(stage_disk)} on disk"
        )
    disk = sum(disks) if run.engine.cache else max(disks)  # without a cache, one at a time
    val_images = f"{len(plan.val)} val images after every stage"
    lines.append(
        f"in all: about {_duration(total_s)} of steps, as measured now (scoring {val_images} comes "
        f"on top); at most {_size(disk)} on disk"
    )
    return "\n".join(lines)


def _measure_step_s(engine: Engine, stage: StageConfig, number: int) -> float:
    """Return the seconds of one training step on random pixels, the second of two."""
    side = stage.short_side
    rgb = torch.randint(0, 256, (stage.batch, side, side, 3), dtype=torch.uint8)
    batch = Batch.of_strangers(stage.freeze_steps, rgb, torch.linspace(0, 1, stage.batch))
    engine.apply_settings(stage)
    if stage.distill or stage.l2sp:
        engine.anchor = Anchor(copy.deepcopy(engine.averaged), side)
    engine.train_step(stage, number, batch)
    started = time.perf_counter()
    engine.train_step(stage, number, batch)
    return time.perf_counter() - started


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
