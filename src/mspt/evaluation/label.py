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

from mspt.errors import ManifestError
from mspt.evaluation.manifest import Entry
from mspt.evaluation.metrics import Vector, fit_logistic, plcc, srcc
from mspt.inference.scorer import Scorer

MIN_LABELLED = 10  # fewer make no fit of four parameters
PSEUDO = "pseudo"  # source of rows that name none


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
        ManifestError: if no image is left to label, or too few known labels make no fit.
    """
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
    if known.all():
        raise ManifestError("every image that can be scored has a mos already; nothing to label")
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


def _map(score: Vector, mos: Vector, known: npt.NDArray[np.bool_]) -> Vector:
    """Bring scores to the scale of the known labels; as they are where there are none."""
    count = int(known.sum())
    if count == 0:
        return score
    if count < MIN_LABELLED:
        raise ManifestError(
            f"{count} images have a mos, but the fit needs {MIN_LABELLED}; label more, or none at "
            "all to keep the models' own scale"
        )
    mapped: Vector = np.clip(fit_logistic(score[known], mos[known])(score), 0, 1)
    return mapped


def _labelled(entry: Entry, label: float) -> Entry:
    if not math.isnan(entry.mos):
        return entry
    return replace(entry, mos=round(float(label), 4), source=entry.source or PSEUDO)
