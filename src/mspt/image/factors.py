"""Why a score is low: cheap measured factors beside it.    crop, preprocess -> [factors]

In:   `square`, the crop that is scored, at its native size, and `prepared`, the same as the
      network sees it; both uint8 (side, side, 3).
Out:  Factors, and reasons as stable codes and in plain words (`explain`).
Not here: the score. Factors explain it by other means; they never change it.

What is seen at the network's size (sharpness, noise, brightness, contrast) is measured on
`prepared`, since enlarging softens, and reducing sharpens and averages noise away. JPEG's grid of
8 px exists at native size only, so blockiness is measured on `square`.
How each behaves on real faces stands in docs/factors.md.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mspt.arrays import RGB
from mspt.image.crop import crop_centre_square
from mspt.image.decode import check_size
from mspt.results import Factors

Gray = npt.NDArray[np.floating]  # luma 0..255, (height, width); float32

_DECIMALS = 4  # of a factor: beyond them float32 says nothing
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in JPEG
_BLOCK_PX = 8  # JPEG's, along both axes
_BLOCK_WINDOW_PX = 1024  # of the native square; more adds time, not certainty
_NOISE_CELL_PX = 16
_NOISE_QUANTILE = 0.25  # the smoothest quarter of cells is the one with least texture
_CLIPPED = (8, 247)  # cells darker or brighter have lost their noise to clipping
_LIGHT_CELL_PX = 8  # for brightness and contrast: noise is averaged away
_STEP_RATIO = 1.83  # of slopes at a step between two even areas, the steepest edge there is
_LEAST_EDGES = 1e-3  # sum of slopes to the 4th power: far below one edge of one grey value
SMALL_SHARE = 0.5  # of the network's input: a face enlarged more than twice looks soft
BLOCKS_SHOW = 2  # times the network's input: in larger faces the blocks are reduced out of sight
_ROUNDING = 0.1  # grey values: steps that rounding alone leaves

_CAST_POWER = 5  # Minkowski norm of edges: strong ones count, as the source has it
_CAST_LEAST = 250  # brightest value that has not clipped
_LIGHT_FIELDS = 4  # along both sides: where the light of the picture is compared
_LEAST_LIGHT = 4.0  # grey values added before a ratio: black against black is no light from a side


class Reason(NamedTuple):
    """Why a score may be low."""

    code: str  # stable, one word; empty where nothing single was found
    words: str


class Cause(NamedTuple):
    """A factor that gives a reason where it is among the worst."""

    factor: str
    is_low_bad: bool
    share: float  # worst share of the reference set that gives the reason
    reason: Reason


# Shares were chosen by eye where a tenth is not what one sees (docs/factors.md).
CAUSES = (
    Cause("sharpness", True, 0.20, Reason("blurred", "blurred")),
    Cause("noise", False, 0.10, Reason("noisy", "noisy")),
    Cause("blockiness", False, 0.10, Reason("blocky", "compressed: 8-px blocks show")),
    Cause("brightness", True, 0.03, Reason("dark", "too dark")),
    Cause("brightness", False, 0.10, Reason("bright", "too bright")),
    Cause("contrast", True, 0.10, Reason("flat", "flat contrast")),
    Cause("colour_cast", False, 0.10, Reason("colour_cast", "colour cast")),
    Cause("uneven_light", False, 0.05, Reason("uneven_light", "light from one side")),
)
SMALL = "small"
NO_SINGLE_CAUSE = Reason("", "no single cause was measured")
GOOD, POOR = 0.8, 0.4  # scores from which on only extreme causes count; below which one is expected
EXTREME = 0.8  # of the way from a cause's share to the worst of the reference set


def measure_factors(square: RGB, prepared: RGB) -> Factors:
    """Measure all factors of one face.

    Args:
        square: the crop that is scored at native size, uint8 (side, side, 3).
        prepared: the same resized to the network's input, uint8 (side, side, 3).

    Raises:
        TypeError: if one of them is not a square of RGB uint8.
        ImageError: if one of them is smaller or larger than images that can be scored.
    """
    _check_square("square", square)
    _check_square("prepared", prepared)
    luma = luma_of(prepared)
    window_px = min(square.shape[0], _BLOCK_WINDOW_PX)
    native = luma_of(crop_centre_square(square, window_px))
    return Factors(
        sharpness=round(measure_sharpness(luma), _DECIMALS),
        noise=round(measure_noise(luma), _DECIMALS),
        blockiness=round(measure_blockiness(native), _DECIMALS),
        brightness=round(measure_brightness(luma), _DECIMALS),
        contrast=round(measure_contrast(luma), _DECIMALS),
        colour_cast=round(measure_colour_cast(prepared), _DECIMALS),
        uneven_light=round(measure_uneven_light(luma), _DECIMALS),
        face_px=square.shape[0],
    )


def luma_of(rgb: RGB) -> Gray:
    """Return the luma 0..255 of an image, float32 (height, width)."""
    luma: Gray = rgb.astype(np.float32) @ _LUMA
    return luma


def measure_sharpness(luma: Gray) -> float:
    """Return how steep the edges are, whatever their strength: 0 smooth, 1 an ideal step.

    Formula: the gradient g after light smoothing over the gradient h after strong smoothing (sigma
    0.7 and 3.2 px), by least squares over all pixels with weight |h|^2, along the direction in
    which that ratio is lowest; less 1, over what an ideal step gives. Halos may pass 1.
    A ratio ignores contrast and light, noise hardly meets the strong edges that |h|^2 picks, and
    the direction makes motion blur count although the edges along it stay sharp.
    Source: Zhuo & Sim, "Defocus map estimation from a single image", Pattern Recognition 44 (2011);
    ours: one ratio for all pixels instead of one per edge pixel, the weight, and the direction.
    """
    fine = _smooth(luma, 1)
    rows, columns = ((side - 1) // 2 * 2 + 1 for side in fine.shape)
    fine = fine[:rows, :columns]  # odd sides: every other pixel has two neighbours
    coarse = _smooth(_smooth(fine[1:-1:2, 1:-1:2], 1), 2)
    # Slopes per px at the same pixels: every other one, less the margin that smoothing took.
    h = (coarse[1:-1, 2:] - coarse[1:-1, :-2]) / 4, (coarse[2:, 1:-1] - coarse[:-2, 1:-1]) / 4
    g_x = (fine[1:-1:2, 2::2] - fine[1:-1:2, :-2:2]) / 2
    g_y = (fine[2::2, 1:-1:2] - fine[:-2:2, 1:-1:2]) / 2
    g = g_x[4:-4, 4:-4], g_y[4:-4, 4:-4]
    ratio = _lowest_ratio(g, h)
    return max(0.0, (ratio - 1) / (_STEP_RATIO - 1))


def _smooth(luma: Gray, gap_px: int) -> Gray:
    """Smooth by 1 2 1 with gaps, along both axes; the result is 2 gaps smaller."""
    one, two = gap_px, 2 * gap_px
    rows = (luma[:-two] + luma[two:]) / 4 + luma[one:-one] / 2
    smooth: Gray = (rows[:, :-two] + rows[:, two:]) / 4 + rows[:, one:-one] / 2
    return smooth


def _lowest_ratio(g: tuple[Gray, Gray], h: tuple[Gray, Gray]) -> float:
    """Return the least-squares ratio of g over h along the direction where it is lowest.

    Directions in which the picture has next to no edges do not count; without any edge it is 1.
    """
    weight = h[0] ** 2 + h[1] ** 2
    weighted = [weight * part for part in h]
    # Plain sums, not BLAS products: those of several threads add in another order.
    h_h = np.array([[(a * b).sum() for b in h] for a in weighted], dtype=np.float64)
    h_g = np.array([[(a * b).sum() for b in g] for a in weighted], dtype=np.float64)
    strengths, directions = np.linalg.eigh(h_h)
    if strengths[-1] < _LEAST_EDGES:
        return 1.0
    kept = strengths > 0.01 * strengths[-1]
    unit = directions[:, kept] / np.sqrt(strengths[kept])
    return float(np.linalg.eigvalsh(unit.T @ (h_g + h_g.T) @ unit / 2)[0])


def measure_noise(luma: Gray) -> float:
    """Return the noise's standard deviation in grey values, 0..255; 1 is clean, 10 is grainy.

    Formula: sqrt(pi / 2) / 6 times the mean absolute response to the mask 1 -2 1, -2 4 -2, 1 -2 1,
    per cell of 16 px; the quarter of cells with least texture gives the value. Clipped cells do not
    count. The same at half size, and the greater of both: noise that was enlarged is coarse.
    Source: Immerkaer, "Fast noise variance estimation", CVIU 64 (1996); cells and sizes are ours.
    """
    return max(_noise_of(luma, _NOISE_CELL_PX), _noise_of(_half(luma), _NOISE_CELL_PX // 2))


def _half(luma: Gray) -> Gray:
    """Return the means of 2 x 2 px."""
    rows, columns = (side // 2 * 2 for side in luma.shape)
    pairs = luma[:rows:2, :columns] + luma[1:rows:2, :columns]
    half: Gray = (pairs[:, ::2] + pairs[:, 1::2]) / 4
    return half


def _noise_of(luma: Gray, cell_px: int) -> float:
    along = luma[:, :-2] - 2 * luma[:, 1:-1] + luma[:, 2:]
    response = np.abs(along[:-2] - 2 * along[1:-1] + along[2:])
    light = _cell_means(luma[1:-1, 1:-1], cell_px)
    darkest, brightest = _CLIPPED
    cells = _cell_means(response, cell_px)[(light > darkest) & (light < brightest)]
    if not cells.size:
        return 0.0
    return float(np.sqrt(np.pi / 2) / 6 * np.quantile(cells, _NOISE_QUANTILE))


def _cell_means(values: Gray, cell_px: int) -> Gray:
    """Return the means of square cells; what is left over at the right and below is dropped."""
    rows, columns = (side // cell_px for side in values.shape)
    whole = values[: rows * cell_px, : columns * cell_px]
    bands = whole.reshape(rows, cell_px, -1).sum(axis=1)  # one axis, then the other: 5 x faster
    means: Gray = bands.reshape(rows, columns, cell_px).sum(axis=2) / cell_px**2
    return means


def measure_blockiness(luma: Gray) -> float:
    """Return how far steps at borders of 8-px blocks exceed their neighbours, 0..8; 0: no grid.

    Formula: the mean absolute step between two columns, less the mean of the steps beside it,
    averaged per phase 0..7; the highest phase less their median, over the mean of all steps. The
    same for rows; the mean of both. A crop or a turn moves the phase, so it is searched.
    Source: the ratio of steps at block borders to those within, as in Wang, Sheikh & Bovik,
    "No-reference perceptual quality assessment of JPEG compressed images", ICIP 2002; the search
    and the comparison with the steps beside are ours.
    """
    return (_grid_excess(luma) + _grid_excess(luma.T)) / 2


def _grid_excess(luma: Gray) -> float:
    steps = np.abs(np.diff(luma, axis=1)).mean(axis=0)
    excess = steps[1:-1] - (steps[:-2] + steps[2:]) / 2
    whole = excess.size // _BLOCK_PX * _BLOCK_PX
    phases = excess[:whole].reshape(-1, _BLOCK_PX).mean(axis=0)
    return float((phases.max() - np.median(phases)) / (steps.mean() + _ROUNDING))


def measure_brightness(luma: Gray) -> float:
    """Return how bright the bright parts are, 0..1; about 0.8 is well exposed.

    Formula: the mean of the face's highlights (90th percentile of luma in the middle half) and the
    picture's (95th percentile of all), in cells of 8 px. Highlights, since the mean luma tells a
    dark skin or a black coat from underexposure no better than a white wall from overexposure.
    Source: ours.
    """
    margin = luma.shape[0] // 4
    face = np.percentile(_cell_means(luma[margin:-margin, margin:-margin], _LIGHT_CELL_PX), 90)
    whole = np.percentile(_cell_means(luma, _LIGHT_CELL_PX), 95)
    return float((face + whole) / 2 / 255)


def measure_contrast(luma: Gray) -> float:
    """Return (high - low) / (high + low), 0..1, of the 99th and 1st percentile of luma.

    Luma is averaged in cells of 8 px first, so that noise is not contrast. As a ratio it does not
    fall when all light fades alike: a dark photo is not called flat as well.
    Source: Michelson (1927); the percentiles of skimage.exposure.is_low_contrast.
    """
    low, high = np.percentile(_cell_means(luma, _LIGHT_CELL_PX), [1, 99])
    return float((high - low) / (high + low)) if high > 0 else 0.0


def measure_colour_cast(rgb: RGB) -> float:
    """Return how far the light is from white, degrees, 0..55; below 6 is usual, 12 is plain to see.

    Formula: per channel the Minkowski norm (power 5) of the gradients of the picture at half size;
    the angle between these three numbers and gray. Clipped pixels do not count. Edges, since a
    large coloured wall is no cast, but edges between all colours turn coloured together under one.
    Source: van de Weijer, Gevers & Gijsenij, "Edge-based color constancy", TIP 16 (2007).
    """
    half = np.stack([_half(rgb[..., c].astype(np.float32)) for c in range(3)], axis=-1)
    smooth = np.stack([_smooth(half[..., c], 1) for c in range(3)], axis=-1)
    across = smooth[1:-1, 2:] - smooth[1:-1, :-2]
    down = smooth[2:, 1:-1] - smooth[:-2, 1:-1]
    slopes = np.sqrt(across**2 + down**2) / 255
    slopes[smooth[1:-1, 1:-1].max(axis=2) > _CAST_LEAST] = 0
    sums = (slopes**_CAST_POWER).sum(axis=(0, 1), dtype=np.float64) ** (1 / _CAST_POWER)
    if not sums.any():
        return 0.0
    cosine = sums.sum() / np.sqrt(3) / np.sqrt((sums**2).sum())
    return float(np.degrees(np.arccos(min(1.0, cosine))))


def measure_uneven_light(luma: Gray) -> float:
    """Return how much brighter one side of the picture is than the other, in stops; 0 is even.

    Formula: highlights (90th percentile of cells of 8 px) of 4 x 4 fields, log2 of their light; the
    mean of the left half against the right, of the upper against the lower; the greater. Content
    varies more than light: the usual is .2 to 1.5, and only strong slopes stand out.
    Source: ours.
    """
    cells = _cell_means(luma, _LIGHT_CELL_PX) if min(luma.shape) >= 64 else luma
    light = 2.2 * np.log2((cells + _LEAST_LIGHT) / 255)  # of linear light, nearly
    rows = [np.array_split(band, _LIGHT_FIELDS, 1) for band in np.array_split(light, _LIGHT_FIELDS)]
    fields = np.array([[np.percentile(field, 90) for field in row] for row in rows])
    half = _LIGHT_FIELDS // 2
    sides = fields[:, :half].mean() - fields[:, half:].mean()
    heights = fields[:half].mean() - fields[half:].mean()
    return float(max(abs(sides), abs(heights)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorReference:
    """How the factors spread over a documented set of images, seen at one input side."""

    description: str
    side_px: int  # of the network's input
    quantiles: Mapping[str, tuple[float, ...]]  # per factor, at 0, 1, ..., 100 %
    good: Mapping[str, tuple[float, float]]  # 2nd and 98th percentile of its good photos

    def share_below(self, name: str, value: float) -> float:
        """Return which share of the set has a lower factor, 0..1."""
        quantiles = self.quantiles[name]
        return float(np.interp(value, quantiles, np.linspace(0, 1, len(quantiles))))


@cache
def load_reference(side_px: int) -> FactorReference:
    """Return the stored reference for a network's input side: the nearest side measured."""
    text = resources.files("mspt.image").joinpath("factor_reference.json").read_text("utf-8")
    stored = json.loads(text)
    nearest = min(stored["sides"], key=lambda side: abs(int(side) - side_px))
    at_side = stored["sides"][nearest]
    return FactorReference(
        description=stored["description"],
        side_px=side_px,
        quantiles={name: tuple(values) for name, values in at_side["quantiles"].items()},
        good={name: tuple(values) for name, values in at_side["good"].items()},
    )


def explain(
    factors: Factors, reference: FactorReference, score: float, own_px: int | None = None
) -> tuple[Reason, ...]:
    """Say what is unusually bad, the most extreme first; often nothing.

    A factor is a reason when it lies among the worst of the reference set and is worse than in 98
    of 100 good photos of that set; under a good score only when it is extreme. A poor score without
    a reason gets `NO_SINGLE_CAUSE`.

    Args:
        factors: of the face.
        reference: at the network's input side.
        score: 0..1.
        own_px: shorter side of the detected face; None where the whole photo was scored.
    """
    found = [_small_face(factors.face_px, reference.side_px, own_px)]
    for cause in CAUSES:
        value = getattr(factors, cause.factor)
        if cause.factor == "blockiness" and factors.face_px > BLOCKS_SHOW * reference.side_px:
            continue
        lowest, highest = reference.good[cause.factor]
        below = reference.share_below(cause.factor, value)
        worse = below if cause.is_low_bad else 1 - below
        if (value < lowest) if cause.is_low_bad else (value > highest):
            found.append((1 - worse / cause.share, cause.reason))
    found.sort(key=lambda reason: -reason[0])
    least = EXTREME if score >= GOOD else 0
    reasons = tuple(reason for extremity, reason in found if extremity > least)
    return reasons or ((NO_SINGLE_CAUSE,) if score < POOR else ())


def _small_face(square_px: int, side_px: int, own_px: int | None) -> tuple[float, Reason]:
    """Return how extreme a small native size is, above 0 below half the network's input."""
    face = f"small face: {own_px} px, its square" if own_px else "small photo:"
    reason = Reason(SMALL, f"{face} {square_px} px enlarged to {side_px}")
    return 1 - square_px / (SMALL_SHARE * side_px), reason


def _check_square(name: str, rgb: RGB) -> None:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.shape[0] != rgb.shape[1]:
        raise TypeError(
            f"{name}: array of {rgb.dtype} {rgb.shape} must be RGB uint8 of shape (side, side, 3); "
            "crop_centre_square cuts one"
        )
    check_size(rgb.shape[1], rgb.shape[0])
