"""Does scoring slow down or grow with the number of photos? Speed by tenths, and peak memory.

    python -m benchmarks.speed.endurance [--few 500] [--many 20000] [--side 512]

Runs `Scorer.score_many` over few and over many photos (a hundred different JPEGs of astronaut.png,
repeated), each in a process of its own. Prints peak RSS of both and their ratio, and images/s of
the first and the last tenth of the long run.
"""

import argparse
import itertools
import json
import multiprocessing
import platform
import resource
import tempfile
import time
from datetime import date
from pathlib import Path

from PIL import Image

import mspt

PHOTO = Path(__file__).parents[2] / "examples/astronaut.png"
FILES = 100


def make_photos(folder: Path, side: int) -> list[Path]:
    """Write different JPEGs of one side."""
    original = Image.open(PHOTO).convert("RGB")
    paths = []
    for number in range(FILES):
        box = (number, number, 412 + number, 412 + number)
        paths.append(folder / f"{number}.jpg")
        original.resize((side, side), Image.Resampling.BICUBIC, box=box).save(paths[-1], quality=90)
    return paths


def run(paths: list[Path], count: int) -> dict[str, float]:
    """Score `count` photos; return peak RSS in MiB and the speed of the first and last tenth."""
    marks = [time.perf_counter()]
    photos = itertools.islice(itertools.cycle(paths), count)
    for done, result in enumerate(mspt.load().score_many(photos), 1):
        assert result.status == "ok", result.error
        if done % (count // 10) == 0:
            marks.append(time.perf_counter())
    tenth = count // 10
    return {
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "first": tenth / (marks[1] - marks[0]),
        "last": tenth / (marks[10] - marks[9]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--few", type=int, default=500)
    parser.add_argument("--many", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=512, help="of the photos, px")
    options = parser.parse_args()
    print(f"{platform.machine()}, {date.today()}, photos of {options.side} px")
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        paths = make_photos(Path(folder), options.side)
        found = {}
        for count in (options.few, options.many):
            with spawn.Pool(1) as pool:  # a fresh process, whose peak is its own
                found[count] = pool.apply(run, (paths, count))
            print(
                f"{count} photos: {json.dumps({k: round(v, 1) for k, v in found[count].items()})}"
            )
    few, many = found[options.few], found[options.many]
    print(f"peak RSS, many / few: {many['peak_mib'] / few['peak_mib']:.3f}")
    print(f"images/s, last tenth / first tenth of many: {many['last'] / many['first']:.3f}")


if __name__ == "__main__":
    main()
