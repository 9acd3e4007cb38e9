"""Agreement between scores and `mos`: SRCC, PLCC, KRCC, RMSE, and bootstrap intervals.

In:   one-dimensional arrays of equal length, at least 3 values.
Out:  floats; NaN where a correlation is undefined (a constant side).
numpy alone, so that evaluating needs no SciPy; the tests check every value against SciPy's.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

MIN_IMAGES = 3  # fewer say nothing about a correlation
MIN_FIT_IMAGES = 10  # fewer make no fit of four parameters


def rank(values: Vector) -> Vector:
    """Return ranks from 1, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    ranks: Vector = mean_rank[inverse]
    return ranks


def plcc(score: Vector, mos: Vector) -> float:
    """Return Pearson's linear correlation, without a logistic fit; NaN if a side is constant."""
    _check_pair(score, mos)
    if np.ptp(score) == 0 or np.ptp(mos) == 0:  # the mean of equal numbers may differ from them
        return float("nan")
    x, y = score - score.mean(), mos - mos.mean()
    scale = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / scale) if scale > 0 else float("nan")


def srcc(score: Vector, mos: Vector) -> float:
    """Return Spearman's rank correlation, ties by mean rank."""
    _check_pair(score, mos)
    return plcc(rank(score), rank(mos))


def krcc(score: Vector, mos: Vector) -> float:
    """Return Kendall's tau-b, in O(n log n)."""
    _check_pair(score, mos)
    n = len(score)
    order = np.lexsort((mos, score))
    discordant = _inversions(rank(mos[order]))
    pairs = n * (n - 1) / 2
    ties_score, ties_mos = _tied_pairs(score), _tied_pairs(mos)
    ties_both = _tied_pairs(np.stack([score, mos], axis=1))
    concordant = pairs - ties_score - ties_mos + ties_both - discordant
    scale = np.sqrt((pairs - ties_score) * (pairs - ties_mos))
    return float((concordant - discordant) / scale) if scale > 0 else float("nan")


def rmse(score: Vector, mos: Vector) -> float:
    """Return the root of the mean squared error."""
    _check_pair(score, mos)
    return float(np.sqrt(((score - mos) ** 2).mean()))


def _tied_pairs(values: Vector) -> float:
    _, counts = np.unique(values, axis=0, return_counts=True)
    return float((counts * (counts - 1) / 2).sum())


def _inversions(ranks: Vector) -> int:
    """Count pairs i < j with ranks[i] > ranks[j], one bit of the ranks at a time.

    Two ranks are compared by their highest differing bit, so the pairs that share all higher bits
    (a stable group) are counted at that bit.
    """
    _, dense = np.unique(ranks, return_inverse=True)
    total = 0
    for bit in range(int(dense.max()).bit_length()):
        group = np.argsort(dense >> (bit + 1), kind="stable")
        members = dense[group] >> (bit + 1)
        ones = (dense[group] >> bit) & 1
        before = np.cumsum(ones) - ones
        group_start = np.searchsorted(members, members)
        total += int(((before - before[group_start]) * (1 - ones)).sum())
    return total


def fit_logistic(score: Vector, mos: Vector) -> Callable[[Vector], Vector]:
    """Fit VQEG's 4-parameter logistic from scores to mos; return the mapping.

    (b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2, started at (max y, min y, mean x, sd x / 4) and
    fitted by Levenberg-Marquardt.
    """
    _check_pair(score, mos)
    start = np.array([mos.max(), mos.min(), score.mean(), max(float(score.std()) / 4, 1e-6)])
    b = _levenberg_marquardt(score, mos, start)
    return lambda x: _logistic(x, b)


def _logistic(x: Vector, b: Vector) -> Vector:
    exponent = np.clip(-(x - b[2]) / max(abs(b[3]), 1e-9), -60, 60)
    mapped: Vector = (b[0] - b[1]) / (1 + np.exp(exponent)) + b[1]
    return mapped


def _logistic_jacobian(x: Vector, b: Vector) -> Vector:
    """Return the derivatives by b1..b4, (N, 4)."""
    width = max(abs(b[3]), 1e-9)
    gate = 1 / (1 + np.exp(np.clip(-(x - b[2]) / width, -60, 60)))
    slope = (b[0] - b[1]) * gate * (1 - gate)
    return np.stack(
        [gate, 1 - gate, -slope / width, -slope * (x - b[2]) / width**2 * np.sign(b[3])], axis=1
    )


def _levenberg_marquardt(x: Vector, y: Vector, b: Vector) -> Vector:
    damping, error = 1e-3, float(((y - _logistic(x, b)) ** 2).sum())
    for _ in range(200):
        jacobian = _logistic_jacobian(x, b)
        normal = jacobian.T @ jacobian
        gradient = jacobian.T @ (y - _logistic(x, b))
        step = np.linalg.lstsq(normal + damping * np.eye(4), gradient, rcond=None)[0]
        trial_error = float(((y - _logistic(x, b + step)) ** 2).sum())
        if trial_error < error:
            converged = error - trial_error < 1e-12 * max(error, 1e-12)
            b, error, damping = b + step, trial_error, damping / 3
            if converged:
                break
        else:
            damping *= 4
            if damping > 1e12:
                break
    return b


def bootstrap_interval(
    statistic: Callable[[npt.NDArray[np.intp]], float],
    groups: Sequence[Hashable],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic, resampling whole groups.

    Args:
        statistic: takes the indices of the images drawn (with repeats) and returns a number.
        groups: what each image belongs to (its identity): images of one face are not independent.
        resamples: how many bootstrap draws.
        seed: of the draws.
    """
    names = {name: position for position, name in enumerate(dict.fromkeys(groups))}
    owner = np.array([names[name] for name in groups])
    members = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = rng.integers(len(members), size=len(members))
        values.append(statistic(np.concatenate([members[i] for i in drawn])))
    defined = np.array(values)[~np.isnan(values)]
    if not len(defined):  # the statistic exists in no resample
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _check_pair(score: Vector, mos: Vector) -> None:
    if score.shape != mos.shape or score.ndim != 1 or len(score) < MIN_IMAGES:
        raise ValueError(
            f"scores {score.shape} and mos {mos.shape} must be of one shape (N,), N >= {MIN_IMAGES}"
        )
