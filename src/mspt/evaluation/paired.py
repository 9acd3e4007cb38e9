"""Two predictions of the same images: which agrees better with mos, and is that sure?

In:   two ScoredSets of the same images.
Out:  Comparison: SRCC and PLCC of both, and their difference with a 95 % interval, by a paired
      bootstrap: each resample draws identities once and evaluates both predictions on them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mspt.errors import DataError
from mspt.evaluation.evaluate import Estimate, Indices, estimate
from mspt.evaluation.manifest import Entry
from mspt.evaluation.metrics import MIN_IMAGES, Vector, plcc, srcc
from mspt.evaluation.predictions import Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One metric of two predictions."""

    first: float
    second: float
    gain: Estimate  # second minus first

    @property
    def is_sure(self) -> bool:
        """Tell whether the interval leaves out zero."""
        return self.gain.low > 0 or self.gain.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How two predictions of the same images differ."""

    images: int
    identities: int
    srcc: Difference
    plcc: Difference  # raw


def compare_scores(first: Predictions, second: Predictions, *, resamples: int = 1000) -> Comparison:
    """Compare two predictions of the same images, given in any order.

    Raises:
        DataError: if the images or their mos differ, naming one, or are fewer than three.
    """
    if [_key(e) for e in first.entries] != [_key(e) for e in second.entries]:
        first, second = _in_order(first), _in_order(second)
    check_same_images(first, second)
    mos = first.mos
    groups = [entry.group for entry in first.entries]

    def difference(metric: Callable[[Vector, Vector], float]) -> Difference:
        def gain(part: Indices) -> float:
            return metric(second.score[part], mos[part]) - metric(first.score[part], mos[part])

        return Difference(
            first=metric(first.score, mos),
            second=metric(second.score, mos),
            gain=estimate(gain, groups, resamples),
        )

    return Comparison(
        images=len(mos), identities=len(set(groups)), srcc=difference(srcc), plcc=difference(plcc)
    )


Key = tuple[str, str, float, str]


def _key(entry: Entry) -> Key:
    """Return what tells an image apart wherever its folder lies."""
    return entry.path.name, entry.identity, entry.mos, entry.source


def _in_order(scored: Predictions) -> Predictions:
    """Sort by key; images that share one keep the order in which they are listed."""
    order = sorted(range(len(scored.entries)), key=lambda i: _key(scored.entries[i]))
    return Predictions([scored.entries[i] for i in order], scored.score[np.array(order, dtype=int)])


def check_same_images(first: Predictions, second: Predictions) -> None:
    """Refuse to pair predictions of other images, or in another order.

    Raises:
        DataError: naming an image that only one has.
    """
    if len(first.entries) < MIN_IMAGES:
        raise DataError(f"{len(first.entries)} images are too few to compare")
    mine, theirs = ([_key(e) for e in scored.entries] for scored in (first, second))
    if mine != theirs:
        name, identity, mos, source = (sorted(set(mine) ^ set(theirs)) or mine)[0]
        raise DataError(
            f"the two runs were not evaluated on the same images ({len(mine)} and {len(theirs)}); "
            f"only one has {name} with mos {mos:g}, identity {identity!r} and source {source!r}. "
            "Score both on one set first"
        )
