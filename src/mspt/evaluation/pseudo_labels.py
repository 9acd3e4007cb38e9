"""Pseudo-labels: what models say of unlabelled images, brought to the scale of known labels.

In:   entries, some with a mos and some without (NaN); one Scorer or several.
Out:  the entries with a mos each; known ones are kept.

As the VQualA 2025 winner did: a 4-parameter logistic from scores to mos, fitted on the labelled
images, is applied to the others. Several models are mapped one by one, then averaged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mspt.errors import DataError
from mspt.evaluation.manifest import Entry
from mspt.evaluation.metrics import MIN_FIT_IMAGES, Vector, fit_logistic, plcc, srcc
from mspt.inference.scorer import Scorer

PSEUDO, LABELLED = "pseudo", "labelled"  # sources of rows that name none


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """The labelled entries, and how far to trust them."""

    entries: Sequence[Entry]  # in input order, without the failed ones
    failed: Sequence[tuple[Entry, str]]  # images that cannot be scored, and why
    labelled: int  # images with a known mos
    srcc: float  # of the averaged labels with the known mos; NaN without known ones
    plcc: float  # likewise; in-sample, so optimistic


def label_entries(entries: Sequence[Entry], scorers: Sequence[Scorer]) -> Labelling:
    """Give every entry without a mos one.

    Raises:
        DataError: if no image needs a label or can be scored, or too few known labels make no
            fit.
    """
    _check_known(np.array([entry.mos for entry in entries]))
    failures, columns = {}, []
    for scorer in scorers:
        column = []
        for entry, result in zip(entries, scorer.score_many(e.path for e in entries), strict=True):
            if result.score is None:
                failures[str(entry.path)] = result.error or result.status
            column.append(math.nan if result.score is None else result.score)
        columns.append(np.array(column))
    usable = np.array([str(entry.path) not in failures for entry in entries])
    kept = [entry for entry, good in zip(entries, usable, strict=True) if good]
    mos = np.array([entry.mos for entry in kept])
    known = ~np.isnan(mos)
    if not kept:
        path, reason = next(iter(failures.items()))
        raise DataError(f"none of {len(entries)} images can be scored; {path}: {reason}")
    _check_left(entries, mos)
    mapped = np.mean([_map(column[usable], mos, known) for column in columns], axis=0)
    agreement = (
        (srcc(mapped[known], mos[known]), plcc(mapped[known], mos[known]))
        if known.any()
        else (math.nan, math.nan)
    )
    return Labelling(
        entries=[_labelled(e, label) for e, label in zip(kept, mapped, strict=True)],
        failed=[(e, failures[str(e.path)]) for e in entries if str(e.path) in failures],
        labelled=int(known.sum()),
        srcc=agreement[0],
        plcc=agreement[1],
    )


def _check_known(mos: Vector) -> None:
    count = int((~np.isnan(mos)).sum())
    if count == len(mos):
        raise DataError(f"all {count} images have a mos already; there is nothing to label")
    if 0 < count < MIN_FIT_IMAGES:
        raise DataError(
            f"{count} images have a mos, but the fit needs {MIN_FIT_IMAGES}; label more, or none "
            "at all to keep the models' own scale"
        )


def _check_left(entries: Sequence[Entry], mos: Vector) -> None:
    """Check what is left of the entries, by its `mos`: some images may have failed."""
    had_labels = not all(math.isnan(entry.mos) for entry in entries)
    if had_labels and np.isnan(mos).all():
        raise DataError(
            "none of the images that have a mos can be scored, so new labels would be on another "
            "scale; repair them, or take them off the list"
        )
    if not np.isnan(mos).any():
        raise DataError("none of the images that lack a mos can be scored; repair them")
    _check_known(mos)


def _map(score: Vector, mos: Vector, known: npt.NDArray[np.bool_]) -> Vector:
    """Bring scores to the scale of the known labels; as they are where there are none."""
    if not known.any():
        return score
    mapped: Vector = np.clip(fit_logistic(score[known], mos[known])(score), 0, 1)
    return mapped


def _labelled(entry: Entry, label: float) -> Entry:
    if not math.isnan(entry.mos):
        return replace(entry, source=entry.source or LABELLED)
    return replace(entry, mos=round(float(label), 4), source=entry.source or PSEUDO)
