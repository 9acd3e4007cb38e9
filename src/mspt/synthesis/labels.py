"""Labels without people: eight full-reference distances fused into one `mos` in 0..1.

Each distance is put on a log scale, standardised by constants of a fixed pool of degraded faces,
squashed by a logistic and averaged (rank aggregation in the spirit of BLISS, CVPR 2014); a line
maps the result so that the pristine reference itself is exactly 1 and the pool's 0.2 percentile 0.

The constants are part of the score's meaning: computed once by runs/calibrate_labels.py, stored
in calibration.json, never per run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import fmean
from typing import Self

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
_LOW_PERCENTILE = 0.2  # of the pool: what mos 0 stands for

# Corrections by eye (runs/validate_labels.py): full-reference metrics punish crispness, even light
# and haze on a whole photo, and what is lost at its edge, more than people would. The loss that
# they see is multiplied by these; where several kinds come in a row, by the mean of theirs.
LENIENCY = {
    "oversharpening": 0.65,
    "haze": 0.75,
    "mixed_light": 0.5,
    "damaged_jpeg": 0.75,
    "photo_filter": 0.75,
}

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The constants that turn distances into `mos`."""

    mu: Mapping[str, float]  # median of each log distance over the pool
    sigma: Mapping[str, float]  # half its 16..84 percentile range
    fused_low: float  # fused value that becomes mos 0
    fused_reference: float  # fused value of reference against itself: becomes mos 1
    pool: str  # what the pool was

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

    def mos(self, distances: Mapping[str, float], *kinds: str) -> float:
        """Return `mos` in 0..1, four decimals, of an image degraded by one kind or several."""
        fused = float(self.fuse([distances])[0])
        mos = (fused - self.fused_low) / (self.fused_reference - self.fused_low)
        mos = min(1.0, max(0.0, mos))
        leniency = fmean(LENIENCY.get(kind, 1.0) for kind in kinds)
        return round(1 - leniency * (1 - mos), 4)


def _log_distances(distances: Sequence[Mapping[str, float]]) -> Matrix:
    """Return ln(distance + epsilon), (N, metrics)."""
    raw = np.array([[image[name] for name in DISTANCES] for image in distances])
    logs: Matrix = np.log(np.maximum(raw, 0) + np.array([EPSILON[name] for name in DISTANCES]))
    return logs


@cache
def stored_calibration() -> Calibration:
    """Read the constants that ship with the package."""
    text = resources.files("mspt.synthesis").joinpath("calibration.json").read_text("utf-8")
    return Calibration(**json.loads(text))
