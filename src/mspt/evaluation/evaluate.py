"""How well a model's scores agree with `mos` on a manifest, with 95 % intervals.

In:   entries of a manifest and a Scorer.
Out:  Evaluation: SRCC, PLCC, KRCC, RMSE over all images and per part; and, where the manifest
      names identities and degradations, whether scores put pairs in the right order.

Intervals are bootstrapped over identities: images of one face are not independent.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mspt.errors import DataError
from mspt.evaluation.manifest import Entry, check_present, find_doubles, refuse_images
from mspt.evaluation.metrics import (
    MIN_FIT_IMAGES,
    MIN_IMAGES,
    Vector,
    bootstrap_interval,
    fit_logistic,
    krcc,
    plcc,
    rmse,
    srcc,
)
from mspt.inference.faces import FaceSearch
from mspt.inference.scorer import Scorer

_MIN_IDENTITIES = 5  # fewer make no interval

Key = TypeVar("Key", bound=Hashable)
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval; NaN where either is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How scores and mos agree on a set of images."""

    images: int
    identities: int
    srcc: Estimate
    plcc: Estimate  # raw
    plcc_fitted: Estimate  # after the 4-parameter logistic, fitted once on this set
    krcc: Estimate
    rmse: Estimate  # raw
    rmse_fitted: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Share of pairs that the scores put in the order that is known to be right."""

    pairs: int
    right: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that `mspt evaluate` reports."""

    model: str
    overall: Agreement
    by_source: dict[str, Agreement]
    by_degradation: dict[str, Agreement]
    pristine_above_degraded: Order | None
    severity_order: Order | None


def evaluate(entries: Sequence[Entry], scorer: Scorer, *, resamples: int = 1000) -> Evaluation:
    """Score all entries and compare with their mos.

    Raises:
        DataError: if an image cannot be scored, or fewer than three are listed.
    """
    score = score_entries(entries, scorer)
    return evaluate_scores(entries, score, model=scorer.label, resamples=resamples)


def score_entries(
    entries: Sequence[Entry], scorer: Scorer, *, largest_face: bool = False
) -> Vector:
    """Return the scores, (N,); every entry counts, so a bad image is an error.

    Args:
        entries: (N,) images.
        scorer: what scores them.
        largest_face: score each photo's largest face, not the photo.

    Raises:
        DataError: naming the images that cannot be scored, or one that is listed twice.
    """
    if twice := find_doubles(entries):
        earlier, later = (entries[place].path for place in twice[0])
        raise DataError(
            f"{len(twice)} images are listed twice, such as {earlier} and {later}; give each one "
            "row, with the mean of its mos"
        )
    check_present(entries)
    scores, problems = list[float | None](), list[str]()
    faces = FaceSearch(max_faces=1) if largest_face else None
    for result in scorer.score_many((entry.path for entry in entries), faces=faces):
        scores.append(result.score)
        if result.score is None:
            problems.append(f"{result.path}: {result.error}")
    refuse_images(problems, len(entries))
    return np.array(scores, dtype=np.float64)


def evaluate_scores(
    entries: Sequence[Entry], score: Vector, *, model: str, resamples: int = 1000
) -> Evaluation:
    """Compare given scores with the entries' mos.

    Raises:
        DataError: if fewer than three images are listed.
    """
    if len(entries) < MIN_IMAGES:
        raise DataError(f"{len(entries)} images are too few; correlations need {MIN_IMAGES}")

    def agreement(part: Indices) -> Agreement:
        return _agree([entries[i] for i in part], score[part], resamples)

    mos = np.array([entry.mos for entry in entries])
    return Evaluation(
        model=model,
        overall=agreement(np.arange(len(entries))),
        by_source=_per_part(agreement, [e.source for e in entries], mos),
        by_degradation=_per_part(agreement, [e.degradation for e in entries], mos),
        pristine_above_degraded=_order(_pristine_pairs(entries), entries, score, resamples),
        severity_order=_order(_severity_pairs(entries), entries, score, resamples),
    )


def _per_part(
    agreement: Callable[[Indices], Agreement], labels: Sequence[str], mos: Vector
) -> dict[str, Agreement]:
    """Evaluate each named part in which mos varies; a single part would repeat the whole."""
    parts = {name: np.flatnonzero(np.array(labels) == name) for name in sorted(set(labels))}
    if len(parts) == 1:
        return {}
    return {
        name: agreement(part)
        for name, part in parts.items()
        if name and len(part) >= MIN_IMAGES and len(np.unique(mos[part])) > 1
    }


def _agree(entries: Sequence[Entry], score: Vector, resamples: int) -> Agreement:
    mos = np.array([entry.mos for entry in entries])
    groups = [entry.group for entry in entries]
    enough = len(entries) >= MIN_FIT_IMAGES
    fitted = fit_logistic(score, mos)(score) if enough else np.full(len(entries), np.nan)

    def of(metric: Callable[[Vector, Vector], float], x: Vector) -> Estimate:
        return estimate(lambda i: metric(x[i], mos[i]), groups, resamples)

    return Agreement(
        images=len(entries),
        identities=len(set(groups)),
        srcc=of(srcc, score),
        plcc=of(plcc, score),
        plcc_fitted=of(plcc, fitted),
        krcc=of(krcc, score),
        rmse=of(rmse, score),
        rmse_fitted=of(rmse, fitted),
    )


def estimate(
    statistic: Callable[[Indices], float], groups: Sequence[Hashable], resamples: int
) -> Estimate:
    """Return a statistic of the images with its interval, resampling whole groups."""
    low = high = float("nan")
    if len(set(groups)) >= _MIN_IDENTITIES:
        low, high = bootstrap_interval(statistic, groups, resamples=resamples)
    return Estimate(value=statistic(np.arange(len(groups))), low=low, high=high)


Pair = tuple[int, int]  # indices of the image that should score higher, and of the lower


def _order(
    pairs: Iterable[Pair], entries: Sequence[Entry], score: Vector, resamples: int
) -> Order | None:
    better_worse = np.array(list(pairs), dtype=np.intp).reshape(-1, 2)
    if not len(better_worse):
        return None
    right = score[better_worse[:, 0]] > score[better_worse[:, 1]]
    groups = [entries[better].group for better in better_worse[:, 0]]
    share = estimate(lambda i: float(right[i].mean()), groups, resamples)
    return Order(pairs=len(right), right=share)


def _pristine_pairs(entries: Sequence[Entry]) -> Iterator[Pair]:
    """Pair each undamaged image with the damaged ones of its identity whose mos is no better."""
    for identity, members in _indices_by(entries, lambda entry: entry.identity).items():
        if not identity:
            continue
        pristine = [i for i in members if entries[i].is_undamaged]
        if len(pristine) == 1:  # with several photos of a face, whose version is it?
            (best,) = pristine
            damaged = (i for i in members if entries[i].degradation)
            yield from ((best, i) for i in damaged if entries[i].mos <= entries[best].mos)


def _severity_pairs(entries: Sequence[Entry]) -> Iterator[Pair]:
    """Pair images of one identity and degradation whose severities differ."""
    graded = _indices_by(entries, lambda e: (e.identity, e.degradation, e.source))
    originals = Counter(entry.identity for entry in entries if not entry.degradation)
    for (identity, degradation, source), members in graded.items():
        if not (identity and degradation) or originals[identity] > 1:
            continue  # with several photos of a face, whose versions are they?
        if degradation == source:
            continue  # a mixture: another seed is another damage
        for i, j in combinations(members, 2):
            first, second = entries[i].severity, entries[j].severity
            if first is not None and second is not None and first != second:
                yield (i, j) if first < second else (j, i)


def _indices_by(entries: Sequence[Entry], key: Callable[[Entry], Key]) -> dict[Key, list[int]]:
    found: dict[Key, list[int]] = {}
    for index, entry in enumerate(entries):
        found.setdefault(key(entry), []).append(index)
    return found
