"""QualityScore: what scoring one face yields. The one row and JSON form of CLI, API and files.

In:   numbers from the scorer, or an error.
Out:  `to_dict`, whose keys are COLUMNS in that order, and FACTOR_COLUMNS if factors were measured.
"""

from dataclasses import asdict, dataclass, fields
from typing import Literal

from mspt.errors import ImageError, Status

Band = Literal["bad", "poor", "fair", "good", "excellent"]
Cell = str | int | float | None
ColumnType = Literal["str", "int", "float"]

# The five grades of ITU-R BT.500's absolute category rating, each a fifth of the scale.
BANDS: tuple[Band, ...] = ("bad", "poor", "fair", "good", "excellent")

# What a row holds, in this order; new columns come at the end only. All but `band` and the box are
# fields of QualityScore, the box is FaceBox.
_TYPE_OF_COLUMN: dict[str, ColumnType] = {
    "path": "str",
    "face": "int",
    "n_faces": "int",
    "score": "float",
    "percentile": "float",
    "band": "str",
    "status": "str",
    "error": "str",
    "x1": "float",
    "y1": "float",
    "x2": "float",
    "y2": "float",
    "det_score": "float",
    "width": "int",
    "height": "int",
    "model": "str",
}
COLUMNS = tuple(_TYPE_OF_COLUMN)

# What follows where factors were measured: the fields of Factors, reasons and their codes.
_TYPE_OF_FACTOR: dict[str, ColumnType] = {
    "sharpness": "float",
    "noise": "float",
    "blockiness": "float",
    "brightness": "float",
    "contrast": "float",
    "face_px": "int",
    "reasons": "str",
    "colour_cast": "float",
    "uneven_light": "float",
    "reason_codes": "str",
}
FACTOR_COLUMNS = tuple(_TYPE_OF_FACTOR)
REASON_SEPARATOR, CODE_SEPARATOR = "; ", " "


def type_of_column(name: str) -> ColumnType:
    """Return what a column holds where it is not empty."""
    return (_TYPE_OF_COLUMN | _TYPE_OF_FACTOR)[name]


def band_of(score: float) -> Band:
    """Return the grade of a score in 0..1."""
    return BANDS[min(len(BANDS) - 1, int(score * len(BANDS)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceBox:
    """A detected face in px of the upright image."""

    x1: float
    y1: float
    x2: float
    y2: float
    det_score: float  # the detector's confidence, 0..1
    # Eyes, nose, corners of the mouth, (x, y) each; the right one of the person first
    landmarks: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """What is measured of a face without a model; image/factors.py has each number's formula."""

    sharpness: float  # about 0..1, higher is sharper
    noise: float  # standard deviation in grey values 0..255
    blockiness: float  # 0..8, 0 without a grid
    brightness: float  # 0..1
    contrast: float  # 0..1
    colour_cast: float  # degrees from gray, 0..55
    uneven_light: float  # stops between two sides of the picture
    face_px: int  # side of the native square


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityScore:
    """How good one face photo looks, or why that cannot be said."""

    path: str  # as given; empty for bytes and arrays
    score: float | None  # 0..1, higher looks better; None unless status is ok
    percentile: float | None  # 0..100 within the model's reference distribution
    status: Status = "ok"
    error: str = ""
    box: FaceBox | None = None  # None when the whole photo was scored
    square: tuple[int, int, int, int] | None = None  # x1, y1, x2, y2 of what was scored
    face: int | None = None  # index of the face in the photo, largest first
    n_faces: int | None = None
    width: int | None = None  # px of the upright photo
    height: int | None = None
    model: str  # name@version
    factors: Factors | None = None  # None unless they were asked for
    reasons: tuple[str, ...] = ()  # why the score may be low, the most extreme first; with factors
    reason_codes: tuple[str, ...] = ()  # the same as stable codes (docs/factors.md)

    @classmethod
    def failed(cls, path: str, error: ImageError, model: str) -> "QualityScore":
        """Return the row of an image that cannot be scored."""
        return cls(
            path=path,
            score=None,
            percentile=None,
            status=error.status,
            error=" ".join(str(error).splitlines()).strip(),  # a row is a line
            model=model,
        )

    @property
    def band(self) -> Band | None:
        """Return the grade in words, from the score alone."""
        return None if self.score is None else band_of(self.score)

    def to_dict(self) -> dict[str, Cell]:
        """Return the row; absent values are None. Factors, if any, follow the COLUMNS."""
        row: dict[str, Cell] = {name: getattr(self, name, None) for name in COLUMNS}
        if self.box is not None:
            row |= {name: getattr(self.box, name) for name in ("x1", "y1", "x2", "y2", "det_score")}
        if self.factors is not None:
            row |= asdict(self.factors)
            row["reasons"] = REASON_SEPARATOR.join(self.reasons)
            row["reason_codes"] = CODE_SEPARATOR.join(self.reason_codes)
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored(QualityScore):
    """A result that has a score: what `Scorer.score` returns."""

    score: float
    percentile: float

    @classmethod
    def of(
        cls,
        about: QualityScore,
        score: float,
        percentile: float,
        square: tuple[int, int, int, int],
    ) -> "Scored":
        """Return what is known of an image, with its score."""
        known = {field.name: getattr(about, field.name) for field in fields(about)}
        return cls(**known | {"score": score, "percentile": percentile, "square": square})
