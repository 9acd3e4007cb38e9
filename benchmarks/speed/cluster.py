"""What does Ray cost? Photos a second of `mspt cluster score` against `mspt score` on this machine.

    python -m benchmarks.speed.cluster [--photos 20000] [--model base] [--actors 0 1 2]
        [--part 100]

In:   the example portrait as a JPEG of 1024 px, under as many names as there are photos.
Out:  for each number of actors (0: `mspt score`): seconds until the end, photos a second from the
      first row or part on, and the largest memory of the command and of an actor, in the first
      tenth of the photos and in the last: what grows shows there.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from benchmarks.speed.serve import make_photo

MSPT = Path(sys.executable).with_name("mspt")


@dataclass
class Memory:
    """The largest resident MiB of a kind of process, in the first tenth and in the last."""

    first: float = 0.0
    last: float = 0.0

    def see(self, share: float, mib: float) -> None:
        """Count one look at it, when this share of the photos was done."""
        if share <= 0.1:
            self.first = max(self.first, mib)
        if share >= 0.9:
            self.last = max(self.last, mib)

    def __str__(self) -> str:
        return f"{self.first:.0f}, {self.last:.0f}" if self.last else "-"


@dataclass
class Run:
    """What one run took."""

    name: str
    seconds: float = 0.0
    per_second: float = 0.0  # photos, from the first part on
    command: Memory = field(default_factory=Memory)
    actor: Memory = field(default_factory=Memory)


def measure(name: str, command: Sequence[str], out: Path, photos: int, part: int = 1) -> Run:
    """Run a command that writes `out`, a file of rows or a folder of parts of so many photos."""
    run = Run(name)
    begun, first = time.perf_counter(), (0.0, 0)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(1)
        done = _done(out, part)
        if done and not first[1]:
            first = (time.perf_counter(), done)
        run.command.see(done / photos, _resident(psutil.Process(process.pid)))
        run.actor.see(done / photos, max(map(_resident, _actors()), default=0.0))
    ended = time.perf_counter()
    if process.returncode:
        raise SystemExit(f"{name}: exit code {process.returncode}")
    run.seconds, run.per_second = ended - begun, (photos - first[1]) / (ended - first[0])
    return run


def _done(out: Path, part: int) -> int:
    """Return how many photos have rows."""
    if out.is_dir():
        return part * len(list(out.glob("part-*")))
    return len(out.read_bytes().splitlines()) - 1 if out.exists() else 0


def _actors() -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _is_actor(process)]


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
    parser.add_argument("--photos", type=int, default=20000)
    parser.add_argument("--model", default="base")
    parser.add_argument("--part", type=int, default=100)
    parser.add_argument("--actors", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    print("| | seconds in all | photos/s | MiB of the command: first tenth, last | of an actor |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photo.jpg").write_bytes(make_photo())
        (folder / "in").mkdir()
        for number in range(options.photos):
            (folder / f"in/{number:06d}.jpg").symlink_to(folder / "photo.jpg")
        for turn, actors in enumerate(options.actors):
            run = _run(folder, folder / f"out-{turn}", options, actors)
            print(
                f"| {run.name} | {run.seconds:.0f} | {run.per_second:.1f} | {run.command} "
                f"| {run.actor} |",
                flush=True,
            )


def _run(folder: Path, out: Path, options: argparse.Namespace, actors: int) -> Run:
    """Score the photos of folder/in with so many actors, or by `mspt score` if none."""
    photos, model = str(folder / "in"), ["--model", options.model]
    if not actors:
        out = out.with_suffix(".csv")
        alone = [str(MSPT), "score", photos, *model, "-o", str(out)]
        return measure("mspt score", alone, out, options.photos)
    out.mkdir()
    ray = [str(MSPT), "cluster", "score", photos, str(out), *model]
    ray += ["--part", str(options.part), "--actors", str(actors)]
    return measure(f"Ray, {actors} actors", ray, out, options.photos, options.part)


if __name__ == "__main__":
    main()
