"""Training speed: what a step costs, and how much of it is spent waiting for images.

    python -m benchmarks.speed.training_speed [--seconds 20] [--sides 384 512 640] [--batch 16]
        [--precision bf16] [--return-memory]

On a GPU if there is one. For each input side, on noise images on disk, interleaved rounds of
(a) pure compute: the trainer's step on one batch that is already in memory,
(b) training: the same step on batches drawn, moved and mirrored from prepared frames by threads,
(c) a control: timm's mobilenetv3_small_100 in a plain loop (forward, MSE, backward, AdamW), which
    tells what this machine gives at this moment.
With --return-memory the C library hands freed memory back to the system, as it does by itself.
Prints images/s of all three, median and range over the rounds, and (b) over (a).
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from mspt.compat import make_torchvision_importable
from mspt.evaluation.manifest import Entry
from mspt.parallel import usable_cores
from mspt.training import engine as engine_module
from mspt.training.batches import Batch, BatchSource, to_pixels
from mspt.training.config import RunConfig, Stage, StageConfig
from mspt.training.engine import Engine
from mspt.training.frames import Frames

ROUNDS = 5
IMAGES = 512  # more than the processor's caches hold at any of the sides


def make_run(side: int, batch: int, precision: str) -> RunConfig:
    """Return a run of one endless stage."""
    stage = {"short_side": side, "sources": ["noise"], "steps": 10**6, "peak_lr": 1e-4}
    plain = {
        "name": "speed",
        "data": [{"manifest": "none"}],
        "engine": {"precision": precision},
        "stages": [stage | {"batch": batch}],
    }
    return RunConfig.model_validate(plain)


def make_frames(side: int, folder: Path) -> Frames:
    """Return frames of noise, memory-mapped as in training."""
    path = folder / f"{side}.npy"
    shape = (IMAGES, side, side, 3)
    frames = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    rng = np.random.default_rng(0)
    for index in range(IMAGES):
        frames[index] = rng.integers(0, 256, shape[1:], dtype=np.uint8)
    frames.flush()
    mos = rng.random(IMAGES).astype(np.float32)
    entries = [Entry(path=Path(f"{i}"), mos=float(m)) for i, m in enumerate(mos)]
    return Frames(np.load(path, mmap_mode="r"), mos, entries)


def make_control(device: torch.device) -> Callable[[Batch], float]:
    """Return a step, in fp32, of the plainest loop that people write."""
    make_torchvision_importable()
    import timm

    network = timm.create_model("mobilenetv3_small_100", num_classes=1)
    network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step(batch: Batch) -> float:
        score = torch.sigmoid(network(to_pixels(batch.rgb.to(device)))[:, 0])
        loss = ((score - batch.mos.to(device)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()  # waits for a GPU, as the trainer's step does

    return step


def images_per_s(
    step: Callable[[Batch], object], batches: Iterator[Batch], seconds: float
) -> float:
    """Train on the batches for a while; return the speed."""
    started, images = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        batch = next(batches)
        step(batch)
        images += len(batch.mos)
    return images / (time.perf_counter() - started)


def measure(side: int, batch: int, precision: str, seconds: float, folder: Path) -> None:
    """Print the row of one input side."""
    run = make_run(side, batch, precision)
    stage, engine = run.stages[0], Engine(run)
    engine.enter_stage(stage)
    source = BatchSource(make_frames(side, folder), Stage(1, stage), seed=0)
    ready = partial(itertools.repeat, source.draw(0))
    # A new stream per round: nothing is drawn ahead while the others are timed.
    drawn = partial(source.stream, 0, 10**6, workers=max(1, usable_cores() // 2))
    ours = partial(train_step, engine, stage)
    kinds = ((ours, ready), (ours, drawn), (make_control(engine.accelerator.device), ready))
    for step, open_batches in kinds:
        images_per_s(step, open_batches(), 1)  # warm-up
    rounds = [
        [images_per_s(step, open_batches(), seconds / ROUNDS) for step, open_batches in kinds]
        for _ in range(ROUNDS)
    ]
    cells = [f"{median(k):.1f} ({min(k):.1f} .. {max(k):.1f})" for k in zip(*rounds, strict=True)]
    ratio = median(training / pure for pure, training, _ in rounds)
    print(f"| {side} | {' | '.join(cells)} | {ratio:.1%} |", flush=True)


def train_step(engine: Engine, stage: StageConfig, batch: Batch) -> None:
    """Take the trainer's step."""
    engine.train_step(Stage(1, stage), batch)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="per side and kind")
    parser.add_argument("--sides", type=int, nargs="+", default=[384, 512, 640])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="fp32", help="of ours: fp32, bf16 or fp16")
    parser.add_argument("--return-memory", action="store_true", help="see above")
    options = parser.parse_args()
    if options.return_memory:
        engine_module.keep_freed_memory = lambda: None
    print("| px | pure compute, images/s | training | control (timm) | training / pure |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for side in options.sides:
            measure(side, options.batch, options.precision, options.seconds, Path(folder))


if __name__ == "__main__":
    main()
