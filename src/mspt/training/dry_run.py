"""What a run would do, in words: `mspt train RUN.toml --dry-run`.

In:   RunPlan.
Out:  a line per stage, with the time of a step measured on random pixels; nothing is written.
"""

import copy
import time

import torch

from mspt.evaluation.manifest import select_entries
from mspt.training.batches import Batch
from mspt.training.carryover import Anchor
from mspt.training.config import Stage
from mspt.training.engine import Engine
from mspt.training.frames import frames_bytes, say_size
from mspt.training.plan import RunPlan
from mspt.training.start_weights import check_start


def describe_plan(plan: RunPlan) -> str:
    """Return what a run would do, a line per stage; times one step of each."""
    run = plan.run
    if run.init:
        check_start(run.init)
    engine = Engine(run)
    lines = [f"{run.name}: network {run.network}, {len(run.stages)} stages, seed {run.seed}"]
    idle = len(plan.train) - len(select_entries(plan.train, sources=run.stages[-1].sources))
    if idle:
        lines.append(f"{idle} training images belong to no stage, by their sources")
    total_s, disks = 0.0, []
    for number, (stage, cost) in enumerate(zip(run.stages, plan.costs, strict=True), 1):
        engine.check_batch(stage)
        images = len(select_entries(plan.train, sources=stage.sources))
        seen = stage.steps * stage.batch
        stage_s = stage.steps * _measure_step_s(engine, run.stage(number))
        stage_disk = frames_bytes(images + len(plan.val), stage.short_side)
        total_s += stage_s
        disks.append(stage_disk)
        lines.append(
            f"stage {number}: {stage.short_side} px, {cost.gflops} GFLOPs, {images} images of "
            f"{', '.join(sorted(stage.sources))}; {stage.steps} steps of {stage.batch} "
            f"({seen / images:.1f} epochs), about {_duration(stage_s)}, "
            f"{say_size(stage_disk)} on disk"
        )
    disk = sum(disks) if run.engine.cache else max(disks)  # without a cache, one at a time
    val_images = f"{len(plan.val)} val images after every stage"
    lines.append(
        f"in all: about {_duration(total_s)} of steps, as measured now (scoring {val_images} comes "
        f"on top); at most {say_size(disk)} on disk"
    )
    return "\n".join(lines)


def _measure_step_s(engine: Engine, place: Stage) -> float:
    """Return the seconds of one training step on random pixels, the second of two."""
    stage = place.config
    side = stage.short_side
    rgb = torch.randint(0, 256, (stage.batch, side, side, 3), dtype=torch.uint8)
    batch = Batch.as_drawn(stage.freeze_steps, rgb, torch.linspace(0, 1, stage.batch))
    engine.apply_settings(stage)
    if stage.distill or stage.l2sp:
        engine.anchor = Anchor(copy.deepcopy(engine.averaged), side)
    engine.train_step(place, batch)
    started = time.perf_counter()
    engine.train_step(place, batch)
    return time.perf_counter() - started


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
