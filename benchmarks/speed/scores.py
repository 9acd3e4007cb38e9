"""What do a million rows cost, and how long does a large folder wait for its first row?

    python -m benchmarks.speed.scores [--rows 1000000] [--files 100000]

In:   rows made up, in a CSV; hard links to the example portrait, in one folder.
Out:  seconds and memory of `mspt filter`, `threshold` and `report`; seconds until the first row of
      `mspt score` is written.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mspt.results import COLUMNS

PHOTO = Path(__file__).parents[2] / "examples/faces/original.png"
MSPT = (sys.executable, "-m", "mspt")
COMMANDS = (
    ("filter", "rows.csv", "--keep", "0.7", "-o", "kept.csv"),
    ("threshold", "rows.csv", "--keep", "0.7"),
    ("report", "rows.csv", "-o", "report.html"),
)


def write_rows(path: Path, count: int) -> None:
    """Write so many rows; one in a hundred is of a photo that could not be read."""
    rng = np.random.default_rng(0)
    empty = dict.fromkeys(COLUMNS, "")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, score in enumerate(rng.beta(4, 3, count).round(6)):
            row = empty | {"path": f"photos/{number // 1000:04d}/{number:07d}.jpg"}
            if number % 100:
                row |= {"score": score, "status": "ok", "band": "good", "model": "base@12"}
            else:
                row |= {"status": "unreadable", "error": "the file is empty"}
            writer.writerow(row)


def time_commands(folder: Path, rows: int) -> Iterator[str]:
    """Yield a line for each command."""
    write_rows(folder / "rows.csv", rows)
    for command in COMMANDS:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*MSPT, *command],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{command}: failed")
        seconds = time.perf_counter() - begun
        yield f"{command[0]}, {rows} rows: {seconds:.1f} s, {usage.ru_maxrss / 1024:.0f} MiB"


def time_first_row(folder: Path, files: int) -> str:
    """Return the line that says how long a folder waits."""
    photos = folder / "photos"
    photos.mkdir()
    for number in range(files):  # 1,000 links a file: file systems allow no more than some 65,000
        first = photos / f"{number - number % 1000:06d}.png"
        if number % 1000:
            os.link(first, photos / f"{number:06d}.png")
        else:
            first.write_bytes(PHOTO.read_bytes())
    rows, begun = folder / "first.csv", time.perf_counter()
    with subprocess.Popen(
        [*MSPT, "score", photos, "-o", rows], stderr=subprocess.DEVNULL
    ) as process:
        while not (rows.exists() and rows.read_bytes().count(b"\n") > 1):
            time.sleep(0.01)
        seconds = time.perf_counter() - begun
        process.kill()
    return f"the first row of {files} files: {seconds:.2f} s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for line in time_commands(Path(folder), options.rows):
            print(line, flush=True)
        print(time_first_row(Path(folder), options.files))


if __name__ == "__main__":
    main()
