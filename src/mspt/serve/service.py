"""What the routes of one process share: the scorers, the queue, the figures, the token.

In:   Settings; Uploads.
Out:  rows as the command line writes them.
"""

import base64
import hmac
import io
from http import HTTPStatus
from typing import Any

from fastapi import Request
from PIL import Image

from mspt.arrays import RGB
from mspt.errors import ConfigError, DecodeError, ImageError, MissingExtraError
from mspt.image.crop import crop_square
from mspt.inference.scorer import FaceSearch, Scorer
from mspt.parallel import usable_cores
from mspt.results import QualityScore
from mspt.serve.metrics import Metrics
from mspt.serve.problems import ProblemError
from mspt.serve.queue import Queue
from mspt.serve.settings import Settings, token
from mspt.serve.upload import Upload

CROP_PX = 640  # longest side of a square that is sent back
Row = dict[str, Any]


class Service:
    """What the routes share: scorers, the queue and the figures."""

    def __init__(self, settings: Settings) -> None:
        """Load the model, so that a server that cannot score does not start.

        Raises:
            ConfigError, ModelError: as `Scorer`.
        """
        self.settings, self.metrics, self.token = settings, Metrics(), token()
        self.model = Scorer(
            settings.model,
            backend=settings.backend,
            detector=settings.detector,
            trust_detector=settings.trust_detector,
            max_pixels=settings.max_pixels,
        )
        self._scorers = {False: self.model, True: self.model.with_factors()}
        self.queue = Queue(
            settings.threads or usable_cores(), settings.max_waiting, settings.max_per_client
        )

    def score(self, upload: Upload, *, detect: bool, factors: bool, crop: bool) -> list[Row]:
        """Return the rows of one photo; on a thread.

        Raises:
            ProblemError: 422 if faces are wanted and this server has nothing to find them with.
        """
        scorer = self._scorers[factors]
        faces = FaceSearch(max_faces=self.settings.max_faces) if detect else None
        # Decoded once, for the scores and for the squares that are sent back.
        photo: bytes | RGB = upload.data
        if crop:
            try:
                photo = scorer.decode(upload.data)
            except ImageError:
                crop = False  # the row says why
        try:
            (results,) = scorer.score_photos([photo], workers=1, faces=faces)
        except (ConfigError, MissingExtraError) as error:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        rows = [result.to_dict() | {"path": upload.name} for result in results]
        if crop and not isinstance(photo, bytes):
            _add_squares(rows, results, photo)
        for row in rows:
            self.metrics.photos.labels(row["status"]).inc()
        return rows

    def failed_row(self, upload: Upload, why: str) -> Row:
        """Return the row of a photo that was not scored in time."""
        self.metrics.photos.labels("unreadable").inc()
        failed = QualityScore.failed(upload.name, DecodeError(why), self.model.label)
        return failed.to_dict()

    def is_allowed(self, request: Request) -> bool:
        """Tell whether a request shows the token, in a time that says nothing of it."""
        shown = request.headers.get("authorization", "").encode()
        return not self.token or hmac.compare_digest(shown, f"Bearer {self.token}".encode())


def _add_squares(rows: list[Row], results: list[QualityScore], rgb: RGB) -> None:
    """Add to each row the square that was scored, as base64 of a JPEG."""
    for row, result in zip(rows, results, strict=True):
        if result.square:
            picture = Image.fromarray(crop_square(rgb, result.square))
            picture.thumbnail((CROP_PX, CROP_PX), Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=90)
            row |= {
                "square": list(result.square),
                "crop": base64.b64encode(buffer.getvalue()).decode(),
            }
