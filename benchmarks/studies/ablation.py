"""Does growing size and data pay, at equal training cost? Trains the arms and writes the table.

    make ablation                                # data, then this script
    python -m benchmarks.studies.ablation [--processes 2] [--table-only]

Trains every runs/ablation/*.toml with the seeds 0, 1 and 2, each run in a process of its own with
one thread; a stopped ablation goes on where it was. The final networks are scored on the val
images (the training's kinds of degradation) and on an outside set (outside_set.py: other code,
other parameters). Writes the tables of docs/ablation.md, and docs/ablation.json.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.evidence.pages import fill_page

from mspt.evaluation.evaluate import Indices
from mspt.evaluation.manifest import read_manifest
from mspt.evaluation.metrics import Vector, plcc, srcc
from mspt.evaluation.paired import check_same_images
from mspt.evaluation.predictions import (
    Predictions,
    last_predictions_path,
    read_predictions,
    write_predictions,
)
from mspt.parallel import usable_cores

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "runs/ablation"
OUT = ROOT / "out/ablation"
OUTSIDE = ROOT / "data/outside-val/manifest.csv"
SEEDS = (0, 1, 2)
TOLERANCE = 0.01  # by which the arms' costs may differ
RESAMPLES = 1000
REFERENCE = "d-mspt"  # what the other arms are compared with


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    name: str
    title: str
    network: str
    images: int  # seen in training, repeats counted
    cost: float  # GFLOPs of one forward pass x images

    @classmethod
    def read(cls, path: Path) -> "Arm":
        """Read an arm's run file and count what it costs."""
        from mspt.training.backbones import build_network
        from mspt.training.config import load_run
        from mspt.training.cost import measure_cost

        run = load_run(path)
        network = build_network(run.network)
        images = [stage.steps * stage.batch for stage in run.stages]
        gflops = [measure_cost(network, stage.short_side).gflops for stage in run.stages]
        return cls(
            name=path.stem,
            title=path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "),
            network=run.network,
            images=sum(images),
            cost=float(np.dot(images, gflops)),
        )


def out_dir(arm: str, seed: int) -> Path:
    """Return where a run of an arm lives."""
    return OUT / f"{arm}-seed{seed}"


def train_one(name: str, seed: int) -> None:
    """Train an arm with a seed, then score the outside set; both are skipped if done."""
    from mspt.training.config import load_run
    from mspt.training.trainer import train

    out = out_dir(name, seed)
    if not (out / "summary.md").exists():
        run = load_run(RUNS / f"{name}.toml").model_copy(update={"seed": seed})
        train(run, out, resume=True)
    if OUTSIDE.exists() and not (out / "outside.csv").exists():
        score_outside(out)


def score_outside(out: Path) -> None:
    """Score the outside set by a run's last checkpoint."""
    from mspt.training.checkpoint import latest_checkpoint, load_network, load_state
    from mspt.training.engine import score_frames
    from mspt.training.frames import build_frames

    checkpoint = latest_checkpoint(out / "checkpoints")
    if checkpoint is None:
        sys.exit(f"{out} holds no checkpoint; train it first")
    entries = read_manifest(OUTSIDE)
    frames = build_frames(entries, load_state(checkpoint).spec, OUT / "frames")
    scored = Predictions(entries, score_frames(load_network(checkpoint), frames))
    write_predictions(out / "outside.csv", scored)


def train_all(arms: Sequence[Arm], processes: int) -> None:
    """Train every arm with every seed, some at a time, seed by seed; stop if one fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(job: tuple[int, str]) -> bool:
        seed, name = job
        OUT.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.studies.ablation", "--one", name, str(seed)]
        with (OUT / f"{name}-seed{seed}.log").open("a") as log:
            done = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False)
        good = done.returncode == 0
        print(f"{name} seed {seed}: {'done' if good else f'failed, see {log.name}'}", flush=True)
        return good

    with ThreadPoolExecutor(processes) as pool:
        done = list(pool.map(run, [(seed, arm.name) for seed in SEEDS for arm in arms]))
    if not all(done):
        sys.exit("some runs failed; no table is written")


def check_costs(arms: Sequence[Arm]) -> None:
    """Print what each arm costs and refuse an unfair comparison."""
    costs = [arm.cost for arm in arms]
    for arm in arms:
        print(f"{arm.name:20} {arm.images:7} images  {arm.cost:8.1f} GFLOPs x images  {arm.title}")
    if max(costs) / min(costs) - 1 > TOLERANCE:
        sys.exit(f"the arms' costs differ by more than {TOLERANCE:.0%}; correct their steps")


Metric = Callable[[Vector, Vector], float]


class Ensemble:
    """One arm's scores of one set with all seeds: (seeds, N)."""

    def __init__(self, scored: Sequence[Predictions]) -> None:
        for one in scored:
            check_same_images(scored[0], one)
        self.scored = scored[0]
        self.mos = scored[0].mos
        self.groups = [entry.group for entry in scored[0].entries]
        self.scores = np.stack([one.score for one in scored])

    def mean(self, metric: Metric, part: Indices, seeds: Sequence[int]) -> float:
        """Return the mean over seeds of a metric on some images."""
        return float(np.mean([metric(self.scores[s][part], self.mos[part]) for s in seeds]))


def read_ensemble(arm: str, which: str) -> Ensemble:
    """Return an arm's scores of `val` or `outside` with all seeds."""
    found = []
    for seed in SEEDS:
        out = out_dir(arm, seed)
        scores = out / "outside.csv" if which == "outside" else last_predictions_path(out)
        if not (out / "summary.md").exists() or scores is None or not scores.exists():
            sys.exit(f"{out.name} is not done on {which}; no table is written")
        found.append(read_predictions(scores))
    return Ensemble(found)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % percentile interval."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def resample(arm: Ensemble, other: Ensemble, metric: Metric) -> tuple[list[float], list[float]]:
    """Return bootstrap values of an arm's metric and of its lead over another arm.

    Identities are drawn once for both (paired); seeds are drawn for each arm on its own.
    """
    check_same_images(arm.scored, other.scored)
    names = {name: i for i, name in enumerate(dict.fromkeys(arm.groups))}
    owner = np.array([names[group] for group in arm.groups])
    members = [np.flatnonzero(owner == i) for i in range(len(names))]
    rng = np.random.default_rng(0)
    values, leads = [], []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(members), size=len(members))
        part = np.concatenate([members[i] for i in drawn])
        mine, theirs = (rng.integers(len(SEEDS), size=len(SEEDS)) for _ in range(2))
        values.append(arm.mean(metric, part, mine))
        leads.append(values[-1] - other.mean(metric, part, theirs))
    return values, leads


def measure(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Return a row per arm and set: SRCC and PLCC with intervals, and the lead over MSPT."""
    rows: list[dict[str, Any]] = []
    for which in ("val", "outside"):
        reference = read_ensemble(REFERENCE, which)
        for arm in arms:
            found = read_ensemble(arm.name, which)
            row: dict[str, Any] = {"arm": arm.name, "set": which, "images": len(found.mos)}
            everything = np.arange(len(found.mos))
            for name, metric in (("srcc", srcc), ("plcc", plcc)):
                values, leads = resample(found, reference, metric)
                per_seed = [found.mean(metric, everything, [seed]) for seed in SEEDS]
                row[name] = {
                    "mean": float(np.mean(per_seed)),
                    "per_seed": per_seed,
                    "interval": interval(values),
                }
                if arm.name != REFERENCE:
                    lead = np.mean(per_seed) - reference.mean(metric, everything, SEEDS)
                    row[name] |= {"lead": float(lead), "lead_interval": interval(leads)}
            rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]], arms: Sequence[Arm], which: str) -> list[str]:
    """Return the table of one set of images; docs/ablation.json has the PLCC, too."""
    lines = [
        f"| arm | SRCC | lead over {REFERENCE} |",
        "|---|---|---|",
    ]
    by_arm = {row["arm"]: row for row in rows if row["set"] == which}
    for arm in arms:
        if arm.name in by_arm:
            found, lead = by_arm[arm.name]["srcc"], "-"
            low, high = found["interval"]
            if "lead" in found:
                least, most = found["lead_interval"]
                lead = f"{found['lead']:+.3f} [{least:+.3f}, {most:+.3f}]"
            lines.append(f"| {arm.name} | {found['mean']:.3f} [{low:.3f}, {high:.3f}] | {lead} |")
    return lines


def forgetting_table(arms: Sequence[Arm]) -> list[str]:
    """Return how the staged arms ended on each stage's val set, against right after it."""
    lines = [
        "| arm | val set of stage 1: right after | at the end | val set of stage 2: right after "
        "| at the end |",
        "|---|---|---|---|---|",
    ]
    for arm in arms:
        matrices = [agreement_after_stages(out_dir(arm.name, seed)) for seed in SEEDS]
        if not all(len(matrix) == 3 for matrix in matrices):
            continue
        mean = np.mean(matrices, axis=0)
        cells = [arm.name] + [f"{mean[after, k]:.3f}" for k in (0, 1) for after in (k, -1)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def agreement_after_stages(out: Path) -> list[list[float]]:
    """Return the SRCC on each stage's val set (columns) after each stage (rows)."""
    path = out / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [[part["srcc"] for part in row["val"].values()] for row in rows if "val" in row]


def write_page(rows: Sequence[dict[str, Any]], arms: Sequence[Arm]) -> None:
    """Put the tables between the markers of docs/ablation.md; its words are written by people."""
    parts = {
        "arms": [f"| {arm.name} | {arm.title} | {arm.images:,} | {arm.cost:.0f} |" for arm in arms],
        "val": table(rows, arms, "val"),
        "outside": table(rows, arms, "outside"),
        "forgetting": forgetting_table(arms),
    }
    header = ["| arm | | images seen | GFLOPs x images |", "|---|---|---|---|"]
    parts["arms"] = header + parts["arms"]
    fill_page(ROOT / "docs/ablation.md", parts)


def main() -> None:
    """Train what is missing and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=usable_cores())
    parser.add_argument("--table-only", action="store_true", help="train nothing")
    parser.add_argument("--one", nargs=2, metavar=("ARM", "SEED"), help="train a single run")
    options = parser.parse_args()
    if options.one:
        train_one(options.one[0], int(options.one[1]))
        return
    arms = [Arm.read(path) for path in sorted(RUNS.glob("*.toml"))]
    check_costs(arms)
    if not options.table_only:
        train_all(arms, options.processes)
    rows = measure(arms)
    text = json.dumps(rows, indent=1) + "\n"
    (ROOT / "docs/ablation.json").write_text(text, encoding="utf-8")
    write_page(rows, arms)


if __name__ == "__main__":
    main()
