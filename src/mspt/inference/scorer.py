"""Scoring: the one path from a photo to a QualityScore. Read this file first.

decode -> [faces] -> crop -> preprocess -> session -> QualityScore

In:   paths, encoded bytes, PIL images or RGB arrays.
Out:  QualityScore, in input order; from `score_many`, bad images are results too.

Determinism: each image is prepared and scored alone, so that batch, workers and neighbours cannot
change its score.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from mspt.arrays import RGB
from mspt.errors import ConfigError, ImageError, ImageTooLargeError
from mspt.image.crop import Square, crop_square, face_square
from mspt.image.decode import Reserve, check_size
from mspt.image.factors import explain, load_reference, measure_factors
from mspt.image.preprocess import resize_to_input, scored_square
from mspt.inference.faces import FaceDetector, FaceSearch, find_detector
from mspt.inference.images import ImageLike, name_of, pixels_held, refuse_single, to_rgb
from mspt.inference.models import DEFAULT_MODEL, ModelInfo, embedded_models, find_model
from mspt.inference.session import Backend, open_session
from mspt.limits import MAX_BYTES, MAX_PIXELS
from mspt.parallel import Budget, freed_memory_kept, map_in_order, usable_cores, usable_memory
from mspt.results import FaceBox, QualityScore, Scored

_DECIMALS = 6  # of a score: beyond them float32 says nothing
BYTES_PER_PIXEL = 24  # that a photo takes at its peak, measured: WebP 24, JPEG 2000 19, PNG 16
_MEMORY_SHARE = 0.5  # of what the process may use, for decoded photos


class Scorer:
    """A model ready to score."""

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        backend: Backend = "auto",
        detector: str | Path | None = None,
        trust_detector: bool = False,
        factors: bool = False,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Load an embedded model by name, or a model file, which scores three pictures first.

        Args:
            model: name or path.
            backend: what computes: `onnxruntime`, `openvino`, or `auto`, the faster of both here
                whose scores agree (inference/session.py).
            detector: a YuNet file for finding faces; default: $MSPT_DETECTOR or the fetched one.
            trust_detector: take it even if it is not a known file.
            factors: measure also why a score may be low: `factors` and `reasons` of every result.
            max_pixels: of a file; larger ones are `too_large`. Never above the default.
            max_bytes: of a file, likewise.

        Raises:
            ModelError: if there is no such model, or the file must not be used.
            ConfigError, MissingExtraError: if there is no such backend, or it is not installed.
        """
        _check_limit("max_pixels", max_pixels, MAX_PIXELS)
        _check_limit("max_bytes", max_bytes, MAX_BYTES)
        self._max_pixels, self._max_bytes = max_pixels, max_bytes
        path = find_model(model)
        self._session = open_session(path, backend)
        is_embedded = path in embedded_models().values()
        if not is_embedded:
            self._session.score_probe()  # a file that computes no scores is refused before a photo
        self._detector_file = None if detector is None else Path(detector).absolute()
        self._factor_reference = load_reference(self.info.spec.crop_side) if factors else None
        self._pixels = pixel_budget()
        name = model if is_embedded else path.absolute()
        self._trusts_detector = trust_detector
        self._arguments: dict[str, Any] = {
            "model": name,
            "backend": self._session.backend,
            "detector": self._detector_file,
            "trust_detector": trust_detector,
            "factors": factors,
            "max_pixels": max_pixels,
            "max_bytes": max_bytes,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was made of; another process loads the same model on the same backend."""
        return partial(Scorer, **self._arguments), ()

    def with_factors(self) -> "Scorer":
        """Return a scorer that measures factors, too; both share the session and the memory."""
        other: Scorer = object.__new__(Scorer)
        other.__dict__.update(self.__dict__)
        other._factor_reference = load_reference(self.info.spec.crop_side)
        other._arguments = self._arguments | {"factors": True}
        return other

    def __repr__(self) -> str:
        """Name the model, what it sees and what computes."""
        return (
            f"Scorer({self.label!r}, {self.info.spec.crop_side} px, {self._session.backend} "
            f"{self._session.precision})"
        )

    @property
    def info(self) -> ModelInfo:
        """What the model file says of itself."""
        return self._session.info

    @property
    def has_factors(self) -> bool:
        """Whether results have factors and reasons."""
        return self._factor_reference is not None

    @property
    def label(self) -> str:
        """How rows name the model: `base@1`, or `base@1+bf16` where it computes in bf16."""
        return self._session.label

    def fingerprint(self, *, faces: bool) -> dict[str, object]:
        """Return what rows depend on beside the photos: files by SHA-256, and limits.

        Raises:
            ConfigError: if faces are wanted and there is no detector.
        """
        made = self._arguments
        found: dict[str, object] = {"model file": _sha256(find_model(made["model"]))}
        if faces:
            found["detector"] = _sha256(
                find_detector(self._detector_file, trusted=self._trusts_detector)
            )
        return found | {name: made[name] for name in ("max_pixels", "max_bytes")}

    @cached_property
    def _detector(self) -> FaceDetector:
        return FaceDetector(find_detector(self._detector_file, trusted=self._trusts_detector))

    def decode(self, image: ImageLike) -> RGB:
        """Return the upright pixels that are scored, uint8 (height, width, 3).

        Raises:
            ImageError: as `score`.
        """
        with self._decoding() as reserve:
            return to_rgb(image, reserve, self._max_bytes)

    def score(self, image: ImageLike) -> Scored:
        """Score one image as a whole: its centred square.

        Args:
            image: path, encoded bytes, binary file, PIL image, or RGB uint8 array (height, width,
                3).

        Raises:
            ImageError: if it cannot be decoded, is too small or too large, or is none of the above
                (NotAnImageError, which is a TypeError, too).
        """
        try:
            return self._score_whole(image)
        except ImageError as error:
            raise _located(error, image) from error

    def score_faces(
        self, image: ImageLike, *, max_faces: int | None = None, min_face_px: int = 0
    ) -> list[QualityScore]:
        """Find the faces of an image and score each, the largest first.

        The square around a face is cut out by the rule of `image.crop.crop_face_square`, with the
        margin that the model's InputSpec names.

        Args:
            image: as for `score`.
            max_faces: score only so many, the largest; default: all.
            min_face_px: leave out faces whose box has a shorter side.

        Returns:
            One result per face. Without any face, one result with the status `no_face`; a face
            too small to be scored is a result with the status `too_small`.

        Raises:
            ImageError: if the image cannot be decoded, is too small or too large.
            ConfigError: if there is no detector file, saying how to get it.
            MissingExtraError: if OpenCV is not installed.
        """
        try:
            return self._score_faces(
                image, FaceSearch(max_faces=max_faces, min_face_px=min_face_px)
            )
        except ImageError as error:
            raise _located(error, image) from error

    def score_many(
        self,
        images: Iterable[ImageLike],
        *,
        workers: int | None = None,
        faces: FaceSearch | None = None,
    ) -> Iterator[QualityScore]:
        """Score images in parallel and yield the results in input order.

        An image that cannot be scored yields a result with its `status` and `error`. The input
        may be endless: only a bounded number of images is held at a time.

        Args:
            images: as for `score`.
            workers: threads; default: the number of cores this process may use.
            faces: score the faces of each image, as `score_faces` does, instead of the whole.

        Raises:
            TypeError: at once, if handed a single image or nothing to iterate over, or anything
                else as `faces`.
            ConfigError: at once, if `workers` is below 1, or faces are wanted and there is no
                detector.
            MissingExtraError: at once, if faces are wanted and OpenCV is not installed.
        """
        return _flatten(self.score_photos(images, workers=workers, faces=faces))

    def score_photos(
        self,
        images: Iterable[ImageLike],
        *,
        workers: int | None = None,
        faces: FaceSearch | None = None,
    ) -> Iterator[list[QualityScore]]:
        """Score images as `score_many` does; yield the results of each image together."""
        refuse_single(images)
        if workers is not None and workers < 1:
            raise ConfigError(f"workers {workers} must be at least 1; None: as many as cores")
        if faces:
            if not isinstance(faces, FaceSearch):
                raise TypeError(f"faces takes mspt.FaceSearch(), not {faces!r}")
            self._detector  # noqa: B018 - loaded now, so that its absence is known at once
        return self._score_in_order(images, workers or usable_cores(), faces)

    def _score_in_order(
        self, images: Iterable[ImageLike], workers: int, faces: FaceSearch | None
    ) -> Iterator[list[QualityScore]]:
        score = partial(self.score_or_explain, faces=faces)
        with freed_memory_kept():
            yield from map_in_order(
                score, images, workers=workers, weigh=pixels_held, most=self._pixels.limit
            )

    def score_or_explain(
        self, image: ImageLike, faces: FaceSearch | None = None
    ) -> list[QualityScore]:
        """Return the results of one image as `score_photos` yields them, whatever it is."""
        try:
            return self._score_faces(image, faces) if faces else [self._score_whole(image)]
        except ImageError as error:
            return [QualityScore.failed(name_of(image), error, self.label)]
        except MemoryError:
            lack = ImageTooLargeError("there was not enough memory to score it")
            return [QualityScore.failed(name_of(image), lack, self.label)]

    @contextmanager
    def _decoding(self) -> Iterator[Reserve]:
        """Give a function that waits until so many pixels may be decoded, or refuses them."""
        with self._pixels.share() as take:

            def reserve(pixels: int) -> None:
                if pixels > self._max_pixels:
                    raise ImageTooLargeError(
                        f"{pixels} pixels are more than the {self._max_pixels} allowed here"
                    )
                take(pixels)

            yield reserve

    def _score_whole(self, image: ImageLike) -> Scored:
        with self._decoding() as reserve:
            rgb = to_rgb(image, reserve, self._max_bytes)
            square = scored_square(rgb, self.info.spec)
            return self._score_square(rgb, square, self._describe(image, rgb))

    def _score_faces(self, image: ImageLike, wanted: FaceSearch) -> list[QualityScore]:
        with self._decoding() as reserve:
            return self._score_faces_of(image, to_rgb(image, reserve, self._max_bytes), wanted)

    def _score_faces_of(self, image: ImageLike, rgb: RGB, wanted: FaceSearch) -> list[QualityScore]:
        photo = self._describe(image, rgb)
        boxes = [
            box
            for box in self._detector.find(rgb)
            if min(box.x2 - box.x1, box.y2 - box.y1) >= wanted.min_face_px
        ]
        if not boxes:
            return [replace(photo, status="no_face", n_faces=0, error=wanted.none_words())]
        return [
            self._score_face(rgb, box, replace(photo, face=number, n_faces=len(boxes), box=box))
            for number, box in enumerate(boxes[: wanted.max_faces])
        ]

    def _score_face(self, rgb: RGB, box: FaceBox, face: QualityScore) -> QualityScore:
        square = face_square(rgb, box, self.info.spec.face_margin)
        try:
            check_size(square[2] - square[0], square[3] - square[1])
        except ImageError as error:
            return replace(face, status=error.status, error=f"the face's square is {error}")
        return self._score_square(rgb, square, face)

    def _describe(self, image: ImageLike, rgb: RGB) -> QualityScore:
        """Return what is known of an image before its score is."""
        height, width = rgb.shape[:2]
        return QualityScore(
            path=name_of(image),
            score=None,
            percentile=None,
            width=width,
            height=height,
            model=self.label,
        )

    def _score_square(self, rgb: RGB, square: Square, about: QualityScore) -> Scored:
        cut = crop_square(rgb, square)
        prepared = resize_to_input(cut, self.info.spec)
        score = round(self._session.score_rgb(prepared), _DECIMALS)
        result = Scored.of(about, score, self.info.reference.percentile(score), square)
        if self._factor_reference is None:
            return result
        factors = measure_factors(cut, prepared)
        box = about.box
        own_px = round(min(box.x2 - box.x1, box.y2 - box.y1)) if box else None
        found = explain(factors, self._factor_reference, score, own_px)
        return replace(
            result,
            factors=factors,
            reasons=tuple(reason.words for reason in found),
            reason_codes=tuple(reason.code for reason in found if reason.code),
        )


def _flatten(photos: Iterator[list[QualityScore]]) -> Iterator[QualityScore]:
    """Yield one result after another; unlike itertools.chain, it can be closed early."""
    for results in photos:
        yield from results


def _located(error: ImageError, image: ImageLike) -> ImageError:
    """Return the error with the image's name before it."""
    name = name_of(image)
    return type(error)(f"{name}: {error}" if name else str(error))


def _sha256(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def _check_limit(name: str, value: int, most: int) -> None:
    if not 0 < value <= most:
        raise ConfigError(f"{name} {value} must lie in 1..{most}")


def pixel_budget() -> Budget:
    """Return how many pixels may be decoded at once: as memory allows, but any single photo."""
    memory = usable_memory()
    return Budget(max(MAX_PIXELS, int((memory or 0) * _MEMORY_SHARE / BYTES_PER_PIXEL)))


def load(
    model: str | Path = DEFAULT_MODEL,
    *,
    backend: Backend = "auto",
    detector: str | Path | None = None,
    trust_detector: bool = False,
    factors: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> Scorer:
    """Load a model: `mspt.load()`, `mspt.load("base")`, `mspt.load("model.onnx")`."""
    return Scorer(
        model,
        backend=backend,
        detector=detector,
        trust_detector=trust_detector,
        factors=factors,
        max_pixels=max_pixels,
        max_bytes=max_bytes,
    )
