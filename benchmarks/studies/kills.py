"""Does a job on Ray lose or double a row when it is killed? Kills it twenty times, at any moment.

    python -m benchmarks.studies.kills [--kills 20] [--seed 0]

In:   the example portrait under 400 names, in parts of ten.
Out:  for each kill when it came, how many parts were done by then, and how many rows are lost,
      doubled or other than those of a job that nobody killed, once the job was started again.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

PHOTO = Path(__file__).parents[2] / "examples/faces/original.png"
MSPT = Path(sys.executable).with_name("mspt")
PHOTOS, PART = 400, 10
Rows = list[tuple[str, float]]  # path and score, in the order of the parts


def start(photos: Path, out: Path) -> "subprocess.Popen[bytes]":
    """Begin a job, or go on with it, in a group of processes of its own."""
    command = [MSPT, "cluster", "score", photos, out, "--part", str(PART), "--model", "fast"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)


def finish(photos: Path, out: Path) -> Rows:
    """Let a job end and return its rows."""
    if code := start(photos, out).wait():
        sys.exit(f"{out.name}: exit code {code}")
    tables = (pq.read_table(part, columns=["path", "score"]) for part in sorted(parts_of(out)))
    return [(row["path"], row["score"]) for table in tables for row in table.to_pylist()]


def parts_of(out: Path) -> list[Path]:
    """Return the parts that are done."""
    return list(out.glob("part-*"))


def main() -> None:
    """Kill and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, wrong = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name, "in")
        photos.mkdir()
        for number in range(PHOTOS):
            (photos / f"{number:04d}.png").symlink_to(PHOTO)
        begun = time.perf_counter()
        expected = finish(photos, Path(name, "whole"))
        seconds = time.perf_counter() - begun
        for kill in range(1, options.kills + 1):
            out, moment = Path(name, f"out-{kill}"), rng.uniform(0, seconds)
            process = start(photos, out)
            time.sleep(moment)
            os.killpg(process.pid, signal.SIGKILL)  # the driver, and all of Ray below it
            process.wait()
            done, rows = len(parts_of(out)), finish(photos, out)
            names = [path for path, _ in rows]
            lost = len(expected) - len(set(names))
            doubled = len(names) - len(set(names))
            other = len(set(rows) - set(expected))
            wrong += bool(lost or doubled or other)
            print(
                f"kill {kill} after {moment:.1f} of {seconds:.1f} s, {done} of "
                f"{PHOTOS // PART} parts done: {lost} lost, {doubled} doubled, {other} other",
                flush=True,
            )
    print(f"{options.kills - wrong} of {options.kills} kills lost and doubled nothing")


if __name__ == "__main__":
    main()
