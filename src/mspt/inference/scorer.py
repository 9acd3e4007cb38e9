"""Scoring: the one path from a photo to a QualityScore. Read this file first.

decode -> crop -> preprocess -> session -> QualityScore

In:   paths, encoded bytes, PIL images or RGB arrays.
Out:  QualityScore, in input order; from `score_many`, bad images are results too.

Determinism: each image is prepared and scored alone, so that batch, workers and neighbours cannot
change its score.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np

from mspt.errors import ImageError
from mspt.image.crop import RGB
from mspt.image.decode import check_size, decode_rgb, read_rgb, rgb_of_pil
from mspt.image.preprocess import prepare_rgb
from mspt.inference.models import DEFAULT_MODEL, ModelInfo, find_model
from mspt.inference.session import Backend, Session
from mspt.parallel import map_in_order, usable_cores
from mspt.results import QualityScore

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

ImageLike = Union[str, os.PathLike[str], bytes, "PilImage", RGB]

_DECIMALS = 6  # of a score: beyond them float32 says nothing


class Scorer:
    """A model ready to score."""

    def __init__(self, model: str | Path = DEFAULT_MODEL, *, backend: Backend = "auto") -> None:
        """Load an embedded model by name, or a model file.

        Args:
            model: name or path.
            backend: what computes: `auto` (onnxruntime), `onnxruntime` or `openvino`.

        Raises:
            ModelError: if there is no such model, or the file must not be used.
            ConfigError: if there is no such backend.
            MissingExtraError: if the backend is not installed.
        """
        self._session = Session(find_model(model), backend)

    @property
    def info(self) -> ModelInfo:
        """What the model file says of itself."""
        return self._session.info

    @property
    def label(self) -> str:
        """How rows name the model: `base@1`, or `base@1+bf16` where it computes in bf16."""
        return self._session.label

    def score(self, image: ImageLike) -> QualityScore:
        """Score one image.

        Args:
            image: path, encoded bytes, PIL image, or RGB uint8 array (height, width, 3).

        Raises:
            ImageError: if it cannot be decoded, is too small or too large.
            TypeError: if it is none of the above.
        """
        try:
            return self._score(image)
        except ImageError as error:
            where = f"{name_of(image)}: " if name_of(image) else ""
            raise type(error)(f"{where}{error}") from error

    def _score(self, image: ImageLike) -> QualityScore:
        rgb = to_rgb(image)
        score = round(self._session.score_rgb(prepare_rgb(rgb, self.info.spec)), _DECIMALS)
        height, width = rgb.shape[:2]
        return QualityScore(
            path=name_of(image),
            score=score,
            percentile=self.info.reference.percentile(score),
            width=width,
            height=height,
            model=self.label,
        )

    def score_many(
        self, images: Iterable[ImageLike], *, workers: int | None = None
    ) -> Iterator[QualityScore]:
        """Score images in parallel and yield the results in input order.

        An image that cannot be scored yields a result with its `status` and `error`. The input
        may be endless: only a bounded number of images is held at a time.

        Args:
            images: as for `score`.
            workers: threads; default: the number of cores this process may use.

        Raises:
            TypeError: at once, if handed a single path or file instead of several images.
        """
        if isinstance(images, str | bytes | os.PathLike):
            raise TypeError("score_many takes several images; for a single one there is score")
        return map_in_order(self._score_or_explain, images, workers=workers or usable_cores())

    def _score_or_explain(self, image: ImageLike) -> QualityScore:
        try:
            return self._score(image)
        except ImageError as error:
            return QualityScore.failed(name_of(image), error, self.label)


def name_of(image: ImageLike) -> str:
    """Return the path as given, or nothing for images in memory."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else ""


def to_rgb(image: ImageLike) -> RGB:
    """Return any accepted image as upright RGB, uint8 (height, width, 3).

    Raises:
        ImageError: if it cannot be decoded, is too small or too large.
        TypeError: if it is no image.
    """
    if isinstance(image, str | os.PathLike):
        return read_rgb(Path(image))
    if isinstance(image, bytes | bytearray | memoryview):
        return decode_rgb(bytes(image))
    if not isinstance(image, np.ndarray):
        from PIL.Image import Image as PilImage

        if not isinstance(image, PilImage):
            raise TypeError(f"{type(image).__name__} is no path, bytes, PIL image or RGB array")
        return rgb_of_pil(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise TypeError(
            f"array of {image.dtype} {image.shape} must be RGB uint8 of shape (height, width, 3); "
            "PIL's Image.fromarray takes other forms"
        )
    check_size(image.shape[1], image.shape[0])
    return image


def load(model: str | Path = DEFAULT_MODEL, *, backend: Backend = "auto") -> Scorer:
    """Load a model: `mspt.load()`, `mspt.load("base")`, `mspt.load("model.onnx")`."""
    return Scorer(model, backend=backend)
