"""Stopping a run politely: what is scored is kept, a slow picture is not waited for.

In:   SIGINT (Ctrl-C), SIGTERM, SIGHUP.
Out:  no new photo is begun, and those on their way may end within GRACE_S; a second signal, or the
      end of that time, stops at once.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from mspt.parallel import WORKER_NAME

GRACE_S = 2.0
STOPPED = 130  # exit code, as shells give it for Ctrl-C
Item = TypeVar("Item")
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows lacks the last


class Stop:
    """Whether the run was told to stop."""

    def __init__(self) -> None:
        """Begin as not told."""
        self.is_told = False

    def until(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items until the run is told to stop."""
        for item in items:
            if self.is_told:
                return
            yield item

    def _tell(self, number: int, frame: FrameType | None) -> None:
        if self.is_told:  # the second time
            signal.default_int_handler(number, frame)
        self.is_told = True
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, GRACE_S)


@contextmanager
def listening() -> Iterator[Stop]:
    """Listen for signals within this block; raise KeyboardInterrupt at its end if one came."""
    stop = Stop()
    before = {
        number: signal.signal(number, stop._tell)
        for name in _SIGNALS
        if (number := getattr(signal, name, None))
    }
    try:
        yield stop
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.is_told:
        raise KeyboardInterrupt


def leave_slow_threads() -> None:
    """End the process at once if a thread still works on a picture that nobody waits for."""
    if any(thread.name.startswith(WORKER_NAME) for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(STOPPED)
