"""Do two processes train what one does? A run by one, by two, and handed from one to two.

    python -m benchmarks.studies.processes RUN.toml [--out out/processes]

In:   a run file; on a machine without a GPU, where two processes talk by gloo.
Out:  SRCC on the validation images after the last stage, and minutes, of
      one: a process with all cores;
      another seed: the same with the seed 1, which tells what chance does;
      two: two processes (torch.distributed.run), half of each batch each;
      handed over: one process, killed (SIGKILL) at its first checkpoint, gone on with by two.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mspt.evaluation.metrics import srcc
from mspt.evaluation.predictions import last_predictions_path, read_predictions

TRAIN = ("-m", "mspt", "train")
ONE = (sys.executable, *TRAIN)
TWO = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", *TRAIN)


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
        while process.poll() is None and not any(out.glob("checkpoints/stage*-step*")):
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


def main() -> None:
    """Train all four and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/processes"))
    options = parser.parse_args()
    text = options.run.read_text(encoding="utf-8")
    other = options.run.with_name(f".{options.run.stem}-other-seed.toml")  # its paths stay right
    shutil.rmtree(options.out, ignore_errors=True)
    try:
        other.write_text(text.replace("seed = 0", "seed = 1"), encoding="utf-8")
        for name, command, run in (
            ("one", ONE, options.run),
            ("another seed", ONE, other),
            ("two", TWO, options.run),
            ("handed over", TWO, options.run),
        ):
            out, begun = options.out / name.replace(" ", "-"), time.perf_counter()
            if name == "handed over":
                train_until_killed(run, out)
            train(command, run, out, resume=name == "handed over")
            minutes = (time.perf_counter() - begun) / 60
            print(f"{name}: SRCC {agreement(out):.4f}, {minutes:.1f} minutes", flush=True)
    finally:
        other.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
