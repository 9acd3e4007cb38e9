"""How graders, labels and models agree on images that were graded blind.

In:   entries, grades of labels/grades, scores of the same entries by model.
Out:  lines of Markdown tables; SRCC with 95 % intervals by bootstrap over people.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from benchmarks.evidence.tables import say
from labels.apply import count_faults, photo_of
from labels.grade import Grade, mean_grades

from mspt.evaluation.evaluate import Indices, estimate
from mspt.evaluation.manifest import Entry
from mspt.evaluation.metrics import Vector, srcc
from mspt.synthesis.synthesize import PRISTINE

UNDAMAGED, DEGRADED = "undamaged", "degraded"
RESAMPLES = 1000


@dataclass(frozen=True)
class Graded:
    """Photos and a value of each, by the name of the grader, the label or the model."""

    entries: Sequence[Entry]
    values: Mapping[str, Vector]

    def parts(self) -> dict[str, "Graded"]:
        """Return undamaged and degraded photos apart; photos without labels by source."""
        names = [
            UNDAMAGED
            if e.source == PRISTINE or (e.is_undamaged and not math.isnan(e.mos))
            else e.source
            if math.isnan(e.mos)
            else DEGRADED
            for e in self.entries
        ]
        rows = {name: np.flatnonzero(np.array(names) == name) for name in dict.fromkeys(names)}
        return {name: self._part(rows[name]) for name in sorted(rows, reverse=True)}

    def _part(self, rows: Indices) -> "Graded":
        return Graded([self.entries[i] for i in rows], {n: v[rows] for n, v in self.values.items()})

    def agreement(self, first: str, second: str) -> str:
        """Return the SRCC of two values; "" if one of them is always the same."""
        a, b = self.values[first], self.values[second]
        if np.ptp(a) == 0 or np.ptp(b) == 0:  # what is constant correlates with nothing
            return ""
        groups = [e.group for e in self.entries]
        return say(estimate(lambda i: srcc(a[i], b[i]), groups, RESAMPLES))


def by_grader(grades: Sequence[Grade]) -> dict[str, dict[str, float]]:
    """Return what each grader said, by the file's name."""
    found: dict[str, dict[str, float]] = {}
    for grade in grades:
        found.setdefault(grade.grader, {})[grade.file] = grade.value
    return found


def compare_undamaged(
    entries: Sequence[Entry], grades: Sequence[Grade], scores: Mapping[str, Vector]
) -> Iterator[str]:
    """Yield how graders, labels and models agree; every grader graded every photo."""
    mean = mean_grades(grades)
    rows = [i for i, e in enumerate(entries) if e.path.name in mean]
    shown = [entries[i] for i in rows]
    graders = {g: np.array([of[e.path.name] for e in shown]) for g, of in by_grader(grades).items()}
    others = {model: score[rows] for model, score in scores.items()}
    has_labels = not any(math.isnan(e.mos) for e in shown)
    if has_labels:
        own = {photo_of(image): grade for image, grade in mean.items()}
        labels = {"label": entries, "label with the photo's faults": count_faults(entries, own)}
        others = {name: _mos_of(e)[rows] for name, e in labels.items()} | others
    means = {"mean grade": np.array([mean[e.path.name] for e in shown])}
    whole = Graded(shown, graders | means | others)
    parts = whole.parts() if has_labels else {"all": whole} | whole.parts()
    titles = " | ".join(f"{name} ({len(part.entries)})" for name, part in parts.items())
    yield f"| SRCC with graders | {titles} |"
    yield "|---" * (len(parts) + 1) + "|"
    for first, second in [*combinations(graders, 2), *(("mean grade", name) for name in others)]:
        cells = [
            "" if name == UNDAMAGED and second.startswith("label") else p.agreement(first, second)
            for name, p in parts.items()
        ]
        yield f"| {first}, {second} | {' | '.join(cells)} |"


def compare_degraded(
    entries: Sequence[Entry],
    levelled: Mapping[str, Sequence[float]],
    scores: Mapping[str, Vector],
    counted: Sequence[Entry],
) -> Iterator[str]:
    """Yield SRCC of the grades of degraded images with labels and with scores.

    Args:
        entries: all of a set.
        levelled: grades by the file's name, as labels.grade.level gives them.
        scores: of all entries, by model.
        counted: the entries with labels that count the photos' own faults.
    """
    rows = [i for i, e in enumerate(entries) if e.path.name in levelled]
    grades = [levelled[entries[i].path.name] for i in rows]
    values = {"grade": np.array([np.mean(of) for of in grades])}
    values["label of degradation alone"] = _mos_of(entries)[rows]
    values["label with the photo's faults"] = _mos_of(counted)[rows]
    values |= {name: score[rows] for name, score in scores.items()}
    whole = Graded([entries[i] for i in rows], values)
    yield f"| {len(rows)} degraded images: SRCC with graders of | |"
    yield "|---|---|"
    for name in list(values)[1:]:
        yield f"| {name} | {whole.agreement('grade', name)} |"
    if twice := [i for i, of in enumerate(grades) if len(of) > 1]:
        pairs = np.array([grades[i][:2] for i in twice])
        both = Graded([entries[rows[i]] for i in twice], {"a": pairs[:, 0], "b": pairs[:, 1]})
        yield f"| another grader's grade ({len(twice)} images) | {both.agreement('a', 'b')} |"


def _mos_of(entries: Sequence[Entry]) -> Vector:
    return np.array([entry.mos for entry in entries])
