"""What does Ray cost? Photos a second of `mspt cluster score` against `mspt score` on this machine.

    python -m benchmarks.speed.cluster [--photos 4000] [--model base]

In:   the example portrait as a JPEG of 1024 px, under as many names as there are photos.
Out:  for `mspt score` and for 1 and 2 actors: seconds until the end, photos a second between the
      first row or part and the last, memory of the processes that score.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from benchmarks.speed.serve import make_photo

MSPT = Path(sys.executable).with_name("mspt")
PART = 100  # photos


@dataclass(frozen=True)
class Run:
    """What one run took."""

    name: str
    seconds: float
    per_second: float  # photos, from the first part on
    mib: float  # of the largest process that scores


def measure(name: str, command: Sequence[str], out: Path, photos: int) -> Run:
    """Run a command that writes `out`, a file of rows or a folder of parts."""
    begun, first, mib = time.perf_counter(), (0.0, 0), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(0.25)
        done = _done(out)
        if done and not first[1]:
            first = (time.perf_counter(), done)
        mib = max(mib, _memory(process.pid, is_ray=out.is_dir()))
    ended = time.perf_counter()
    if process.returncode:
        raise SystemExit(f"{name}: exit code {process.returncode}")
    return Run(name, ended - begun, (photos - first[1]) / (ended - first[0]), mib)


def _done(out: Path) -> int:
    """Return how many photos have rows."""
    if out.is_dir():
        return PART * len(list(out.glob("part-*")))
    return len(out.read_bytes().splitlines()) - 1 if out.exists() else 0


def _memory(pid: int, *, is_ray: bool) -> float:
    """Return the MiB of the command, or of the largest actor."""
    found = [psutil.Process(pid)]
    if is_ray:
        found = [p for p in psutil.process_iter() if _is_actor(p)]
    return max((_resident(process) for process in found), default=0.0)


def _is_actor(process: psutil.Process) -> bool:
    try:
        return any("MapWorker" in word for word in process.cmdline())
    except psutil.Error:
        return False


def _resident(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss / 2**20)
    except psutil.Error:
        return 0.0


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=4000)
    parser.add_argument("--model", default="base")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photo.jpg").write_bytes(make_photo())
        (folder / "in").mkdir()
        for number in range(options.photos):
            (folder / f"in/{number:06d}.jpg").symlink_to(folder / "photo.jpg")
        photos, model = str(folder / "in"), ("--model", options.model)
        alone = [str(MSPT), "score", photos, *model, "-o", str(folder / "rows.csv")]
        runs = [measure("mspt score", alone, folder / "rows.csv", options.photos)]
        for actors in (1, 2):
            out = folder / f"out-{actors}"
            out.mkdir()
            ray = [str(MSPT), "cluster", "score", photos, str(out), *model, "--part", str(PART)]
            ray += ["--actors", str(actors)]
            runs.append(measure(f"Ray, {actors} actors", ray, out, options.photos))
    print("| | seconds in all | photos/s | MiB of a process that scores |\n|---|---|---|---|")
    for run in runs:
        print(f"| {run.name} | {run.seconds:.0f} | {run.per_second:.1f} | {run.mib:.0f} |")


if __name__ == "__main__":
    main()
