"""Labels without people: eight full-reference distances become one `mos` in 0..1.

Each distance is put on a log scale, standardised by constants of a fixed pool of degraded faces,
squashed by a logistic and averaged (rank aggregation in the spirit of BLISS, CVPR 2014); a line
maps the result to a loss: 0 for the pristine reference itself, 1 at the pool's 0.2 percentile.
Metrics punish haze, colour filters and one-sided light more than eyes do, blocks and blur less: two
constants per kind of damage say what eyes see of a loss (`VisibleLoss`), and `mos` is 1 minus that.

The constants are part of the score's meaning: computed once by labels/calibrate.py from a
pool of degraded faces and from blind grades, stored in calibration.json, never per run.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from statistics import geometric_mean
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from mspt.synthesis.reference_metrics import DISTANCES

# Added before the logarithm: about where each distance stops being visible (the fused
# label hardly depends on them).
EPSILON = {
    "vsi": 0.002,
    "mdsi": 0.1,
    "haarpsi": 0.03,
    "srsim": 0.003,
    "dss": 0.02,
    "vif_256": 0.05,
    "gmsd": 0.005,
    "ms_gmsd_256": 0.005,
}
_SLOPE = 1.3  # of the logistic, per standard deviation
_LOW_PERCENTILE = 0.2  # of the pool: where all is lost

_STORED = Path(__file__).with_name("calibration.json")

Matrix = npt.NDArray[np.float64]


class VisibleLoss(NamedTuple):
    """How much eyes see of a loss that the metrics find: factor x loss ** power."""

    factor: float
    power: float

    def seen(self, loss: float) -> float:
        """Return what is lost to the eye, 0..1."""
        return min(1.0, float(self.factor * loss**self.power))

    @classmethod
    def mean(cls, sights: Iterable[Self]) -> Self:
        """Return the geometric mean: of damage by several kinds in a row."""
        factors, powers = zip(*sights, strict=True)
        return cls(geometric_mean(factors), geometric_mean(powers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The constants that turn distances into `mos`."""

    mu: Mapping[str, float]  # median of each log distance over the pool
    sigma: Mapping[str, float]  # half its 16..84 percentile range
    fused_low: float  # fused value of loss 1
    fused_reference: float  # fused value of reference against itself: loss 0
    pool: str  # what the pool was
    sight: Mapping[str, VisibleLoss] = field(default_factory=dict)  # by the kind of damage

    @classmethod
    def fit(cls, distances: Sequence[Mapping[str, float]], pool: str) -> Self:
        """Compute the constants from the distances of a pool of degraded images."""
        logs = _log_distances(distances)
        low, middle, high = np.percentile(logs, [16, 50, 84], axis=0)
        mu = dict(zip(DISTANCES, middle.round(4).tolist(), strict=True))
        sigma = dict(zip(DISTANCES, ((high - low) / 2).round(4).tolist(), strict=True))
        draft = cls(mu=mu, sigma=sigma, fused_low=0, fused_reference=1, pool=pool)
        reference = draft.fuse([dict.fromkeys(DISTANCES, 0.0)])[0]
        lowest = np.percentile(draft.fuse(distances), _LOW_PERCENTILE)
        return cls(
            mu=mu,
            sigma=sigma,
            fused_low=round(float(lowest), 4),
            fused_reference=round(float(reference), 4),
            pool=pool,
        )

    def fuse(self, distances: Sequence[Mapping[str, float]]) -> Matrix:
        """Return the fused value of each image, (N,), larger is better."""
        mu = np.array([self.mu[name] for name in DISTANCES])
        sigma = np.array([self.sigma[name] for name in DISTANCES])
        z = (_log_distances(distances) - mu) / sigma
        fused: Matrix = np.mean(1 / (1 + np.exp(_SLOPE * z)), axis=1)
        return fused

    def loss(self, distances: Mapping[str, float]) -> float:
        """Return what the metrics find lost, 0..1."""
        fused = float(self.fuse([distances])[0])
        loss = (self.fused_reference - fused) / (self.fused_reference - self.fused_low)
        return min(1.0, max(0.0, loss))

    def mos(self, distances: Mapping[str, float], *kinds: str) -> float:
        """Return `mos` in 0..1, four decimals, of an image degraded by one kind or several.

        A kind without grades is seen as the mean of all kinds is.
        """
        return round(1 - self._sight(kinds).seen(self.loss(distances)), 4)

    def _sight(self, kinds: Sequence[str]) -> VisibleLoss:
        if not self.sight:
            return VisibleLoss(1.0, 1.0)
        unknown = VisibleLoss.mean(self.sight.values())
        return VisibleLoss.mean(self.sight.get(kind, unknown) for kind in kinds)


def _log_distances(distances: Sequence[Mapping[str, float]]) -> Matrix:
    """Return ln(distance + epsilon), (N, metrics)."""
    raw = np.array([[image[name] for name in DISTANCES] for image in distances])
    logs: Matrix = np.log(np.maximum(raw, 0) + np.array([EPSILON[name] for name in DISTANCES]))
    return logs


@cache
def stored_calibration() -> Calibration:
    """Read the constants that ship with the package."""
    stored = json.loads(_STORED.read_text("utf-8"))
    sight = {kind: VisibleLoss(*pair) for kind, pair in stored.pop("sight").items()}
    return Calibration(**stored, sight=sight)


def store_calibration(calibration: Calibration) -> Path:
    """Write constants into the package, for the scripts that compute them; return where."""
    _STORED.write_text(json.dumps(asdict(calibration), indent=2) + "\n", "utf-8")
    stored_calibration.cache_clear()
    return _STORED
