"""From an upload to its rows; in the server's own process, or in one that may be killed.

In:   Settings; Uploads, and what is asked of each.
Out:  rows as the command line writes them.
"""

import base64
import io
import os
from contextlib import suppress
from typing import Any

from PIL import Image

from mspt.arrays import RGB
from mspt.errors import ConfigError, ImageError, MissingExtraError, ModelError
from mspt.image.crop import crop_square
from mspt.inference.faces import DETECTOR_VARIABLE, FaceSearch, find_detector
from mspt.inference.scorer import Scorer
from mspt.parallel import keep_freed_memory
from mspt.results import QualityScore
from mspt.serve.settings import Settings
from mspt.serve.upload import Upload

_KEPT = 64 * 2**20  # bytes at the end of each thread's heap
CROP_PX = 640  # longest side of a square that is sent back
Row = dict[str, Any]


class PhotoScorer:
    """A model ready to score uploads, with and without factors."""

    def __init__(self, settings: Settings) -> None:
        """Load the model.

        Raises:
            ConfigError, ModelError: as `Scorer`.
        """
        keep_freed_memory(_KEPT)  # for the next photo: this process does nothing else
        self.model = Scorer(
            settings.model,
            backend=settings.backend,
            detector=settings.detector,
            trust_detector=settings.trust_detector,
            max_pixels=settings.max_pixels,
        )
        self._scorers = {False: self.model, True: self.model.with_factors()}
        self._faces = FaceSearch(max_faces=settings.max_faces)
        if settings.detector:
            self.model.score_photos([], faces=self._faces)  # a bad file shows now
        elif os.environ.get(DETECTOR_VARIABLE):
            find_detector(trusted=settings.trust_detector)

    def score(self, upload: Upload, *, detect: bool, factors: bool, crop: bool) -> list[Row]:
        """Return the rows of one photo.

        Raises:
            ConfigError, MissingExtraError: if faces are wanted and there is nothing to find them
                with.
        """
        scorer = self._scorers[factors]
        # Decoded once, for the scores and for the squares that are sent back.
        photo: bytes | RGB = upload.data
        if crop:
            try:
                photo = scorer.decode(upload.data)
            except (ImageError, MemoryError):
                crop = False  # the row says why
        faces = self._faces if detect else None
        results = scorer.score_or_explain(photo, faces)
        rows = [result.to_dict() | {"path": upload.name} for result in results]
        if crop and not isinstance(photo, bytes):
            _add_squares(rows, results, photo)
        return rows

    def warm_up(self) -> None:
        """Score a small picture in every way: libraries load and take their memory with it."""
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64)).save(buffer, "JPEG")
        for detect in (False, True):
            with suppress(ConfigError, MissingExtraError, ModelError):  # nothing finds faces here
                self.score(Upload("", buffer.getvalue()), detect=detect, factors=True, crop=True)


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
