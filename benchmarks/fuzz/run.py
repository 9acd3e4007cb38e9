"""Does any damaged file crash, hang, or take more than it should?

    python -m benchmarks.fuzz.run pictures [videos models tables] [--count 10000] [--first 0]

In:   small files made here, and damaged by numbered random streams: a number gives the same file on
      every machine that has the same libraries.
Out:  how many files were opened, and each finding: an exception that is not meant for such files, a
      process that died, more than 2 s of a core, more than 1 GiB. The file of each is kept in
      out/fuzz. Exit code 1 if there is any.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from benchmarks.fuzz.mutate import mutate
from benchmarks.fuzz.targets import TARGETS
from pebble import ProcessExpired, ProcessPool

from mspt.parallel import usable_cores

MAX_SECONDS = 2.0  # of a core
MAX_MIB = 1024  # above what the process held before
_WAIT_S = 60.0  # after which a process that does nothing is killed
_BATCH = 100  # files a task: handing one over takes as long as opening it
_KEPT = Path("out/fuzz")


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that did what none should."""

    kind: str
    number: int
    what: str


@cache
def _seeds(kind: str) -> Sequence[bytes]:
    return TARGETS[kind].make()


def make_file(kind: str, number: int) -> bytes:
    """Return the damaged file of a number."""
    return mutate(_seeds(kind), np.random.default_rng([number, len(kind)]))


def open_files(kind: str, numbers: range) -> list[Finding]:
    """Open so many damaged files; return what was found."""
    return [
        Finding(kind, number, what)
        for number in numbers
        if (what := _open(kind, make_file(kind, number)))
    ]


def _open(kind: str, data: bytes) -> str:
    """Open one file; return what is wrong with how that went, or ""."""
    target = TARGETS[kind]
    held = _forget_peak()
    begun = time.process_time()
    try:
        target.open(data)
    except target.expected:
        pass
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    seconds, mib = time.process_time() - begun, _peak_mib() - held
    if seconds > MAX_SECONDS:
        return f"{seconds:.1f} s of a core"
    return f"{mib:.0f} MiB" if mib > MAX_MIB else ""


def _forget_peak() -> float:
    """Let Linux count the peak of memory from now; return it, MiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_mib()


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def fuzz(kind: str, numbers: range) -> Iterator[Finding]:
    """Open the damaged files of these numbers in all cores; yield what is found.

    A batch whose process died or hung is opened again one by one.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPool(usable_cores(), context=context) as pool:

        def submit(part: range) -> Future[list[Finding]]:
            wait = _WAIT_S + MAX_SECONDS * len(part)
            return pool.schedule(open_files, args=[kind, part], timeout=wait)

        parts = (numbers[at : at + _BATCH] for at in range(0, len(numbers), _BATCH))
        tasks = [(part, submit(part)) for part in parts]
        while tasks:
            part, task = tasks.pop(0)
            try:
                yield from task.result()
            except (TimeoutError, ProcessExpired) as error:
                if len(part) == 1:
                    how = "hung" if isinstance(error, TimeoutError) else f"died: {error}"
                    yield Finding(kind, part[0], f"its process {how}")
                else:
                    tasks += [(one, submit(one)) for n in part if (one := range(n, n + 1))]


def main() -> None:
    """Fuzz and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--count", type=int, default=10_000, help="files of a kind")
    parser.add_argument("--first", type=int, default=0, help="number to begin with")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(TARGETS):
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    found = 0
    for kind in options.kinds or TARGETS:
        begun = time.perf_counter()
        for finding in fuzz(kind, range(options.first, options.first + options.count)):
            found += 1
            _KEPT.mkdir(parents=True, exist_ok=True)
            (_KEPT / f"{kind}-{finding.number}").write_bytes(make_file(kind, finding.number))
            print(f"{kind} {finding.number}: {finding.what}", flush=True)
        print(f"{options.count} {kind} in {time.perf_counter() - begun:.0f} s", flush=True)
    print(f"{found} findings")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
