"""What the routes of one process share: what scores, the queue, the figures, the token.

In:   Settings; Uploads.
Out:  rows as the command line writes them.
"""

import hmac
import os
from functools import partial
from http import HTTPStatus

from fastapi import Request

from mspt.errors import ConfigError, DecodeError, MissingExtraError, ModelError
from mspt.parallel import usable_cores
from mspt.results import QualityScore
from mspt.serve.isolate import IsolatedScorer
from mspt.serve.metrics import Metrics
from mspt.serve.photos import PhotoScorer, Row
from mspt.serve.problems import PhotoProblemError, ProblemError
from mspt.serve.queue import Queue
from mspt.serve.settings import Settings, token
from mspt.serve.upload import Upload

_START_S = 60  # within which a process loads the model on a busy machine


class Service:
    """What the routes share: scorers, the queue and the figures."""

    def __init__(self, settings: Settings) -> None:
        """Load the model, so that a server that cannot score does not start.

        Raises:
            ConfigError, ModelError: as `Scorer`.
        """
        self.settings, self.metrics, self.token = settings, Metrics(), token()
        threads = settings.threads or usable_cores()
        photos = PhotoScorer(settings)
        self.model = photos.model
        self._isolated = IsolatedScorer(settings, threads) if settings.isolate else None
        self._score = (self._isolated or photos).score
        # A process that was killed is started anew first, and its own timeout does not count that.
        self.patience_s = settings.timeout_s + (_START_S if settings.isolate else 0)
        self.queue = Queue(threads, settings.max_waiting, settings.max_per_client)

    async def score_in_turn(
        self, request: Request, upload: Upload, detect: bool, factors: bool, crop: bool
    ) -> list[Row]:
        """Return the rows of one photo of a request, and count them.

        Raises:
            ProblemError: 422 if faces are wanted and this server has nothing to find them with.
            PhotoProblemError: 422 if the photo takes too long, or its process died.
            ClientDisconnect: if nobody waits any more.
        """
        work = partial(self._score_now, upload, detect=detect, factors=factors, crop=crop)
        try:
            rows = await self.queue.run(work, self.patience_s, request.is_disconnected)
        except PhotoProblemError:
            self.metrics.photos.labels("unreadable").inc()
            raise
        for row in rows:
            self.metrics.photos.labels(row["status"]).inc()
        return rows

    def _score_now(self, upload: Upload, *, detect: bool, factors: bool, crop: bool) -> list[Row]:
        """Return the rows of one photo; on a thread."""
        try:
            return self._score(upload, detect=detect, factors=factors, crop=crop)
        except (ConfigError, MissingExtraError, ModelError) as error:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error

    def failed_row(self, upload: Upload, why: str) -> Row:
        """Return the row of a photo that was not scored in time."""
        failed = QualityScore.failed(upload.name, DecodeError(why), self.model.label)
        return failed.to_dict()

    def is_allowed(self, request: Request) -> bool:
        """Tell whether a request shows the token, in a time that says nothing of it."""
        shown = request.headers.get("authorization", "").encode("latin-1")  # the bytes that came
        return not self.token or hmac.compare_digest(shown, os.fsencode(f"Bearer {self.token}"))

    def close(self) -> None:
        """End threads and processes when their work is done."""
        self.queue.close()
        if self._isolated:
            self._isolated.close()
