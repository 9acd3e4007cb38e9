"""Do two processes train what one does? A run by one, by two, and handed from one to two.

    python -m benchmarks.studies.processes RUN.toml [--seeds 0 1 2] [--ways one two] [--out DIR]

In:   a run file; on a machine without a GPU, where two processes talk by gloo.
Out:  SRCC on the validation images after the last stage, and minutes, of
      one: a process with all cores, once for each seed;
      two: two processes (torch.distributed.run), half of each batch each, for each seed;
      handed over: one process, killed (SIGKILL) at its first checkpoint, gone on with by two.
      Then the means of `one` and `two`, and the standard deviation over the seeds, which tells
      what chance does.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mspt.evaluation.metrics import srcc
from mspt.evaluation.predictions import last_predictions_path, read_predictions

TRAIN = ("-m", "mspt", "train")
ONE = (sys.executable, *TRAIN)
TWO = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", *TRAIN)
HANDED_OVER = "handed over"
WAYS = ("one", "two", HANDED_OVER)


def train(command: Sequence[str], run: Path, out: Path, *, resume: bool = False) -> None:
    """Train a run from the start, or go on with it."""
    options = ["--out", str(out), *(["--resume"] if resume else [])]
    threads = os.environ | ({"OMP_NUM_THREADS": "1"} if command is TWO else {})
    done = subprocess.run(
        [*command, str(run), *options], env=threads, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{out}: {done.stderr}")


def train_until_killed(run: Path, out: Path) -> None:
    """Begin a run and kill it as soon as it has kept a checkpoint."""
    command = [*ONE, str(run), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not any(out.glob("checkpoints/stage[1-9]*")):  # 0: start
            time.sleep(0.2)
        process.kill()
    if (out / "summary.md").exists():
        sys.exit(f"{run} ended before it could be killed; let it keep checkpoints more often")


def agreement(out: Path) -> float:
    """Return a run's SRCC after its last stage."""
    path = last_predictions_path(out)
    assert path is not None, "the run ended"
    scored = read_predictions(path)
    return srcc(scored.score, scored.mos)


def with_seed(run: Path, seed: int) -> Path:
    """Write a run file beside another, where its paths stay right, with another seed."""
    text, seeded = run.read_text(encoding="utf-8"), run.with_name(f".{run.stem}-{seed}.toml")
    seeded.write_text(re.sub(r"(?m)^seed = .*$", f"seed = {seed}", text), encoding="utf-8")
    return seeded


def measure(name: str, run: Path, out: Path) -> float:
    """Train in one of the three ways, and return and print the SRCC."""
    begun = time.perf_counter()
    if name == HANDED_OVER:
        train_until_killed(run, out)
    train(ONE if name == "one" else TWO, run, out, resume=name == HANDED_OVER)
    reached, minutes = agreement(out), (time.perf_counter() - begun) / 60
    print(f"{run.stem[1:]}, {name}: SRCC {reached:.4f}, {minutes:.1f} minutes", flush=True)
    return reached


def main() -> None:
    """Train all and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", type=Path, default=Path("out/processes"))
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    reached: dict[str, list[float]] = {name: [] for name in options.ways}
    for seed in options.seeds:
        run = with_seed(options.run, seed)
        try:
            for name, results in reached.items():
                if name != HANDED_OVER or seed == options.seeds[0]:
                    out = options.out / f"{run.stem[1:]}-{name.replace(' ', '-')}"
                    results.append(measure(name, run, out))
        finally:
            run.unlink()
    for name, results in reached.items():
        if len(results) > 1:
            spread = np.std(results, ddof=1)
            print(f"{name}: mean {np.mean(results):.4f}, deviation over seeds {spread:.4f}")


if __name__ == "__main__":
    main()
