"""Photos scored in processes of their own: one that takes too long or too much ends only itself.

In:   Settings; Uploads.
Out:  their rows; a PhotoProblemError for the photo whose process was killed or died.

A thread cannot be stopped; a process can. pebble kills it, and starts another in its place.
"""

import multiprocessing
import signal
import sys
import threading
from concurrent.futures.process import BrokenProcessPool
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from mspt.inference.scorer import BYTES_PER_PIXEL
from mspt.serve.photos import PhotoScorer, Row
from mspt.serve.problems import PhotoProblemError, busy
from mspt.serve.settings import Settings
from mspt.serve.upload import Upload

_MARGIN = 2**30  # bytes of addresses that a process may take beside the photo's pixels
_RETRY_S = 5
_TRIES = 3  # a stop of all processes may find one at work and others waiting

_photos: PhotoScorer  # of a process of the pool


class _StoppedError(Exception):
    """A process was told to end from outside, as systemd tells all of a service at once.

    The photo had no part in it, and the server finishes what it has accepted.
    """


class IsolatedScorer:
    """Scores uploads like a PhotoScorer, each in one of a few processes."""

    def __init__(self, settings: Settings, processes: int) -> None:
        """Say how; the processes start with the first photo, after the server has forked."""
        self._settings, self._processes = settings, processes
        self._lock = threading.Lock()
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        spawn = multiprocessing.get_context("spawn")
        return ProcessPool(
            self._processes, initializer=_begin, initargs=(self._settings,), context=spawn
        )

    def score(self, upload: Upload, *, detect: bool, factors: bool, crop: bool) -> list[Row]:
        """Return the rows of one photo.

        Raises:
            PhotoProblemError: if its process took too long or died.
            ProblemError: 503 if none can be started.
            ConfigError, MissingExtraError: as `PhotoScorer.score`.
        """
        wish = {"detect": detect, "factors": factors, "crop": crop}
        for _ in range(_TRIES):
            pool = self._pool
            try:
                return self._score_in(pool, upload, wish)
            except _StoppedError:
                continue
            except BrokenProcessPool:  # one died while it had nothing to do, and the pool with it
                self._replace(pool)
        raise busy(_RETRY_S, "no process can be started to score in; ask again")

    def _score_in(self, pool: ProcessPool, upload: Upload, wish: dict[str, Any]) -> list[Row]:
        seconds = self._settings.timeout_s
        try:
            work = pool.schedule(_score, args=[upload], kwargs=wish, timeout=seconds)
        except RuntimeError as error:  # pebble's word for a pool that is broken, or being replaced
            raise BrokenProcessPool from error
        try:
            return work.result()
        except TimeoutError as error:
            why = f"the photo took longer than {seconds:g} s to score; send a smaller one"
            raise PhotoProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, why) from error
        except ProcessExpired as error:
            if error.exitcode == -signal.SIGTERM:
                raise _StoppedError from error
            why = "the process that read the photo died; save it anew, or send a smaller one"
            raise PhotoProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, why) from error

    def _replace(self, broken: ProcessPool) -> None:
        with self._lock:
            if self._pool is broken:
                self._pool = self._new_pool()
                _end(broken)

    def close(self) -> None:
        """End the processes; the application may be started once more."""
        self._replace(self._pool)


def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _begin(settings: Settings) -> None:
    """Load the model, and allow a photo the memory that `max_pixels` of it may take."""
    global _photos
    # pebble's own handler is Python's and would wait for a decoder to come back.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _photos = PhotoScorer(settings)
    _photos.warm_up()  # what libraries take once is no photo's
    if sys.platform == "linux":
        _limit_memory(settings.max_pixels * BYTES_PER_PIXEL + _MARGIN)


def _limit_memory(more: int) -> None:
    """Let this process take so many bytes of addresses more than it has, and no more."""
    import resource  # Windows has none

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + more
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _score(upload: Upload, *, detect: bool, factors: bool, crop: bool) -> list[Row]:
    return _photos.score(upload, detect=detect, factors=factors, crop=crop)
