"""Photos scored in processes of their own: one that takes too long or too much ends only itself.

In:   Settings; Uploads.
Out:  their rows; a ProblemError for the photo whose process was killed or died.

A thread cannot be stopped; a process can. pebble kills it, and starts another in its place.
"""

import multiprocessing
import sys
from http import HTTPStatus
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from mspt.inference.scorer import BYTES_PER_PIXEL
from mspt.serve.photos import PhotoScorer, Row
from mspt.serve.problems import ProblemError
from mspt.serve.settings import Settings
from mspt.serve.upload import Upload

_MARGIN = 256 * 2**20  # bytes that a process may take beside the photo's pixels

_photos: PhotoScorer  # of a process of the pool


class IsolatedScorer:
    """Scores uploads like a PhotoScorer, each in one of a few processes."""

    def __init__(self, settings: Settings, processes: int) -> None:
        """Say how; the processes start with the first photo, behind a fork of the server's."""
        self._timeout_s = settings.timeout_s
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(processes, initializer=_begin, initargs=(settings,), context=spawn)

    def score(self, upload: Upload, *, detect: bool, factors: bool, crop: bool) -> list[Row]:
        """Return the rows of one photo.

        Raises:
            ProblemError: 422 if its process took too long or died.
            ConfigError, MissingExtraError: as `PhotoScorer.score`.
        """
        wish = {"detect": detect, "factors": factors, "crop": crop}
        work = self._pool.schedule(_score, args=[upload], kwargs=wish, timeout=self._timeout_s)
        try:
            return work.result()
        except TimeoutError as error:
            why = f"the photo took longer than {self._timeout_s:g} s to score; send a smaller one"
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, why) from error
        except ProcessExpired as error:
            why = "the process that read the photo died; save it anew, or send a smaller one"
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, why) from error

    def close(self) -> None:
        """End the processes."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def _begin(settings: Settings) -> None:
    """Load the model, and allow a photo the memory that `max_pixels` of it may take."""
    global _photos
    _photos = PhotoScorer(settings)
    if sys.platform == "linux":
        import resource  # Windows has none

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        held = pages * resource.getpagesize()
        most = held + settings.max_pixels * BYTES_PER_PIXEL + _MARGIN
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _score(upload: Upload, *, detect: bool, factors: bool, crop: bool) -> list[Row]:
    return _photos.score(upload, detect=detect, factors=factors, crop=crop)
