"""Threads that keep input order, within the cores and the memory that this process may use.

Image work here (decoding, resizing, onnxruntime, numpy) releases the interpreter's lock, so that
threads keep every core busy.
"""

import ctypes
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKER_NAME = "mspt-worker"
_WINDOW = 4  # items in flight per worker: keeps workers busy and memory bounded


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    window: int = _WINDOW,
    weigh: Callable[[Item], int] = lambda item: 0,
    most: int = 0,
) -> Iterator[Result]:
    """Yield function(item) in the order of the items, at most workers * window ahead of the caller.

    Nor more ahead than items that weigh `most` together, or one that weighs more.

    The items may be endless. When the caller stops early, work not yet begun is dropped. When the
    items fail, what was begun is yielded first. After a KeyboardInterrupt nothing is waited for.
    """
    pending: deque[tuple[Future[Result], int]] = deque()
    held = 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix=WORKER_NAME)
    is_patient, failure = True, None
    try:
        source = iter(items)
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            pending.append((pool.submit(function, item), weigh(item)))
            held += pending[-1][1]
            del item  # what it holds is free once it is done
            while pending and (held > most or len(pending) >= workers * window):
                first, weight = pending.popleft()
                held -= weight
                yield first.result()
        while pending:
            yield pending.popleft()[0].result()
    except KeyboardInterrupt:
        is_patient = False
        raise
    finally:  # also when the caller stops early
        pool.shutdown(wait=is_patient, cancel_futures=True)
    if failure is not None:
        raise failure


def usable_cores() -> int:
    """Return the number of cores that this process may use: its affinity, its group's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = [quota for folder in _cgroups("cpu") if (quota := _cpu_quota(folder)) is not None]
    return max(1, math.floor(min([allowed or 1, *quotas])))


def usable_memory() -> int | None:
    """Return the bytes that this process may use: the machine's, its group's limit; or None."""
    limits = [limit for folder in _cgroups("memory") if (limit := _memory_limit(folder))]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    elif os.name == "nt":
        limits.append(_memory_of_windows())
    return min(filter(None, limits), default=None)


class _MemoryStatus(ctypes.Structure):
    """Windows' MEMORYSTATUSEX."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("physical", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 6),
    ]


def _memory_of_windows() -> int:
    """Return the bytes of a Windows machine, 0 if it does not tell."""
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    kernel: Any = getattr(ctypes, "windll").kernel32  # noqa: B009 - not on other systems
    return int(status.physical) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else 0


_CGROUP_ROOT = Path("/sys/fs/cgroup")
_CGROUP_OF_PROCESS = Path("/proc/self/cgroup")


def _cgroups(controller: str) -> Iterator[Path]:
    """Yield the folders that may limit this process: of its group and of those around it.

    Lines of /proc/self/cgroup are `number:controllers:path`; version 2 has one without controllers.
    In a container the path may be the host's, and the limits lie at the root.
    """
    try:
        lines = _CGROUP_OF_PROCESS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUP_ROOT / controllers if controllers else _CGROUP_ROOT
        group = root / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(root))


def _cpu_quota(folder: Path) -> float | None:
    """Return how many cores a group may use: cpu.max of version 2, cfs_quota of version 1."""
    numbers = _numbers_in(folder / "cpu.max") or (
        _numbers_in(folder / "cpu.cfs_quota_us") + _numbers_in(folder / "cpu.cfs_period_us")
    )
    is_limit = len(numbers) == 2 and min(numbers) > 0
    return numbers[0] / numbers[1] if is_limit else None


def _memory_limit(folder: Path) -> int | None:
    """Return a group's limit in bytes: memory.max of version 2, limit_in_bytes of version 1."""
    numbers = _numbers_in(folder / "memory.max") or _numbers_in(folder / "memory.limit_in_bytes")
    return numbers[0] if numbers else None


def _numbers_in(path: Path) -> list[int]:
    """Return the numbers of a control file; none if it is not there or says `max`."""
    try:
        return [int(word) for word in path.read_text().split()]
    except (OSError, ValueError):
        return []


class Budget:
    """Bounds what threads hold at once: a thread that asks for more than is left waits."""

    def __init__(self, limit: int) -> None:
        """Give out at most `limit`, but whatever it asks for to a thread that is alone."""
        self.limit = limit
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Give a function that takes an amount, once; it is given back when the block ends."""
        taken = 0

        def take(amount: int) -> None:
            nonlocal taken
            with self._changed:
                self._changed.wait_for(lambda: not self._held or self._held + amount <= self.limit)
                self._held += amount
                taken += amount

        try:
            yield take
        finally:
            with self._changed:
                self._held -= taken
                self._changed.notify_all()


# malloc.h's numbers: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_MMAP_MAX. Whoever sets one ends that
# glibc adapts them; afterwards they get the most that it would have come to, and its default.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_MOST_TRIM, _MOST_MMAP_THRESHOLD, _DEFAULT_MMAPS = 2**26, 2**25, 65536
_NO_LIMIT, _NEVER = -1, 0


_keepers = 0
_keepers_lock = threading.Lock()


def keep_freed_memory(most: int = _NO_LIMIT) -> None:
    """Let glibc keep what is freed for the next allocation, instead of returning it at once.

    Photos and training steps take and free many megabytes at a time; having the kernel clear those
    pages anew takes a fifth to a third of the time. Without effect where the C library is another.

    Args:
        most: bytes that each thread may keep; default: all.
    """
    global _keepers
    with _keepers_lock:
        _keepers += 1
        _set_malloc(_MMAP_MAX, _NEVER)
        _set_malloc(_TRIM_THRESHOLD, most)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory within this block; after the last such block the system has it back.

    From then on the process keeps up to 64 MiB, as if it had often freed blocks of 32 MiB.
    """
    global _keepers
    keep_freed_memory()
    try:
        yield
    finally:
        with _keepers_lock:
            _keepers -= 1
            if not _keepers:
                _return_freed_memory()


def _return_freed_memory() -> None:
    _set_malloc(_MMAP_MAX, _DEFAULT_MMAPS)
    _set_malloc(_MMAP_THRESHOLD, _MOST_MMAP_THRESHOLD)
    _set_malloc(_TRIM_THRESHOLD, _MOST_TRIM)
    if trim := getattr(_c_library(), "malloc_trim", None):
        trim(0)


def _set_malloc(parameter: int, value: int) -> None:
    if set_option := getattr(_c_library(), "mallopt", None):
        set_option(parameter, value)


def _c_library() -> Any:  # noqa: ANN401 - foreign functions have no types
    return ctypes.CDLL(None) if os.name == "posix" else None
