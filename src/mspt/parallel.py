"""Threads that keep input order and bounded memory: for scoring, checking and training alike.

Image work here (decoding, resizing, onnxruntime, numpy) releases the interpreter's lock, so that
threads keep every core busy.
"""

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_WINDOW = 4  # items in flight per worker: keeps workers busy and memory bounded


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    window: int = _WINDOW,
) -> Iterator[Result]:
    """Yield function(item) in the order of the items, at most workers * window ahead of the caller.

    The items may be endless. When the caller stops early, work not yet begun is dropped.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= workers * window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # also when the caller stops early
        pool.shutdown(cancel_futures=True)


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next allocation, instead of returning it at once.

    A training step frees and allocates gigabytes in tensors that glibc hands back to the kernel
    each time; having the pages cleared anew took a third of a step and more (EXPERIMENTS.md).
    Without effect where the C library is another one. The values are malloc.h's.
    """
    m_trim_threshold, m_mmap_max, never, no_limit = -1, -4, 0, -1
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:
        mallopt(m_mmap_max, never)
        mallopt(m_trim_threshold, no_limit)
