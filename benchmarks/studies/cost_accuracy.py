"""What does accuracy cost? SRCC on `val` against GFLOPs and milliseconds, over sizes and networks.

    python -m benchmarks.studies.cost_accuracy data/val NAME=CHECKPOINT[@PX] ...

Each checkpoint is scored at its own size, or at PX after its batch-norm statistics were renewed on
`val` images of that size (FixRes, arXiv:1906.06423; labels unseen), and timed on one thread.
Writes docs/cost-accuracy.png and prints the table.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mspt.evaluation.manifest import Entry, read_manifest
from mspt.evaluation.metrics import srcc
from mspt.spec import square_spec
from mspt.training.backbones import Network
from mspt.training.carryover import reestimate_batch_norm
from mspt.training.checkpoint import load_network, load_state
from mspt.training.cost import measure_cost
from mspt.training.engine import score_frames
from mspt.training.frames import Frames, build_frames

ROOT = Path(__file__).parents[2]
TIMED = 20  # images
RENEWED = 24  # batches of 16


@dataclass(frozen=True)
class Point:
    """One network at one size."""

    title: str
    side: int
    gflops: float
    ms: float  # median of one image, torch, one thread
    srcc: float


def measure(argument: str, entries: list[Entry], cache: Path) -> Point:
    """Score and time a checkpoint at its own size or another."""
    name, _, place = argument.partition("=")
    folder, _, px = place.partition("@")
    network, state = load_network(Path(folder)), load_state(Path(folder))
    side = int(px or state.spec.crop_side)
    frames = build_frames(entries, square_spec(side), cache)
    if side != state.spec.crop_side:
        renew(network, frames)
    score = score_frames(network, frames)
    mos = np.array([e.mos for e in entries])
    title = name + ("" if side == state.spec.crop_side else " (other size)")
    cost = measure_cost(network, side).gflops
    return Point(title, side, cost, milliseconds(network, side), srcc(score, mos))


def renew(network: Network, frames: Frames) -> None:
    """Renew batch-norm statistics at the frames' size; labels are not used."""
    order = np.random.default_rng(0).permutation(len(frames))[: RENEWED * 16]
    parts = [np.sort(order[i : i + 16]) for i in range(0, len(order), 16)]
    reestimate_batch_norm(network, (torch.from_numpy(frames.rgb[part].copy()) for part in parts))
    network.eval()


@torch.no_grad()
def milliseconds(network: Network, side: int) -> float:
    """Return the median time of one image on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pixels = torch.rand(1, 3, side, side).contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(TIMED + 3):
        started = time.perf_counter()
        network(pixels)
        times.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    return float(np.median(times[3:]) * 1000)


def draw(points: list[Point], path: Path) -> None:
    """Draw SRCC over GFLOPs and over milliseconds."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True)
    for axis, (label, cost) in zip(
        axes,
        {"GFLOPs": lambda p: p.gflops, "ms an image, one thread (torch)": lambda p: p.ms}.items(),
        strict=True,
    ):
        for title in dict.fromkeys(p.title for p in points):
            part = sorted((p for p in points if p.title == title), key=cost)
            axis.plot([cost(p) for p in part], [p.srcc for p in part], "o-", label=title)
            for p in part:
                axis.annotate(f"{p.side}", (cost(p), p.srcc), fontsize=8)
        axis.set(xlabel=label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("SRCC on val")
    axes[1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Measure all points, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("val", type=Path)
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=CHECKPOINT[@PX]")
    parser.add_argument("--cache", type=Path, default=ROOT / "out/cost-accuracy")
    options = parser.parse_args()
    if bad := [c for c in options.checkpoints if "=" not in c]:
        parser.error(f"{bad[0]} names no curve; write NAME={bad[0]}")
    entries = read_manifest(options.val / "graded.csv")
    points = [measure(c, entries, options.cache) for c in options.checkpoints]
    print("| run | px | GFLOPs | ms, one thread | SRCC on val |\n|---|---|---|---|---|")
    for p in sorted(points, key=lambda p: (p.title, p.side)):
        print(f"| {p.title} | {p.side} | {p.gflops:.3f} | {p.ms:.1f} | {p.srcc:.4f} |")
    draw(points, ROOT / "docs/cost-accuracy.png")


if __name__ == "__main__":
    main()
