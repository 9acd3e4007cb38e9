"""From process start to the first printed score, and the memory it takes.

    python -m benchmarks.speed.coldstart [ROUNDS]

Prints the median and range of wall-clock seconds, and the largest peak RSS, of each command.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

PHOTO = Path(__file__).parents[2] / "examples/faces/original.png"
SCRIPT = Path(sys.executable).with_name("mspt")

COMMANDS = {
    "mspt score one.png": [str(SCRIPT), "score", str(PHOTO)],
    "mspt --version": [str(SCRIPT), "--version"],
    "import mspt": [sys.executable, "-c", "import mspt"],
    "python alone": [sys.executable, "-c", "pass"],
}


def run_once(command: list[str]) -> tuple[float, float]:
    """Return seconds and peak RSS in MiB of one process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed with exit code {process.returncode}")
    return seconds, usage.ru_maxrss / 1024


def main(rounds: int) -> None:
    """Measure, commands interleaved."""
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):  # the first warms the disk cache and is dropped
        for name, command in COMMANDS.items():
            measured[name].append(run_once(command))
    print(f"{'command':20} median s   range s          peak RSS MiB   ({rounds} rounds)")
    for name, runs in measured.items():
        seconds = [s for s, _ in runs[1:]]
        peak = max(rss for _, rss in runs[1:])
        print(
            f"{name:20} {median(seconds):8.3f}   {min(seconds):.3f} .. {max(seconds):.3f}"
            f"   {peak:8.0f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
