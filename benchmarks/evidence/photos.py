"""Do models rank photos as graders do? Photos as people took them, and undamaged portraits.

    python -m benchmarks.evidence.photos FACES.csv [--model base ...] [--split test]

In:   the CSV of photos (file, set, split, identity); labels/grades/faces.csv and others.csv.
Out:  SRCC of each model's scores with the mean grade, and of one pass of graders with the mean of
      the others; 95 % intervals by bootstrap over people.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.evidence.options import read_options
from benchmarks.evidence.tables import say, table
from labels.grade import FACES, OTHERS, read_grades

from mspt.evaluation.evaluate import Estimate, estimate
from mspt.evaluation.metrics import Vector, srcc
from mspt.inference.scorer import Scorer

RESAMPLES = 2000
SETS: dict[str, tuple[str, ...]] = {
    "photos as people took them": ("wild",),
    "undamaged portraits": ("pristine",),
}
SETS["both"] = ("wild", "pristine")
ONE_PASS = "a pass of graders, with the others"

Row = Mapping[str, str]
Values = Callable[[Sequence[Path]], Vector]  # scores of files, (N,)


def scores_by(model: str) -> Values:
    """Return what scores files by a model, in fp32 as every machine does."""
    scorer = Scorer(model, backend="onnxruntime")
    return lambda paths: np.array([r.score for r in scorer.score_many(paths)], dtype=float)


def read_rows(listed: Path, split: str, passes: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return the graded photos of a split."""
    with listed.open(encoding="utf-8", newline="") as file:
        return [r for r in csv.DictReader(file) if r["split"] == split and r["file"] in passes]


def passes_of_photos() -> dict[str, list[float]]:
    """Return what each pass of graders said of a photo, by its file, in the order of passes."""
    found: dict[str, list[float]] = {}
    given = read_grades(FACES) + read_grades(OTHERS)
    for grade in sorted(given, key=lambda grade: grade.grader):
        found.setdefault(grade.file, []).append(grade.value)
    return found


def agreement(a: Vector, b: Vector, rows: Sequence[Row]) -> Estimate:
    """Return the SRCC of two values of each photo."""
    return estimate(lambda i: srcc(a[i], b[i]), [row["identity"] for row in rows], RESAMPLES)


@dataclass(frozen=True)
class Found:
    """SRCC with graders, by who gave the values, by set; and how many photos a set has."""

    srcc: Mapping[str, Mapping[str, Estimate]]
    counts: Mapping[str, int]


def measure(photos_csv: Path, split: str, values_of: Mapping[str, Values]) -> Found:
    """Measure how each of `values_of`, given paths, agrees with the mean grade."""
    passes = passes_of_photos()
    rows = read_rows(photos_csv, split, passes)
    grades = np.array([passes[row["file"]] for row in rows])
    paths = [photos_csv.parent / row["file"] for row in rows]
    values = {ONE_PASS: grades[:, 0]} | {name: of(paths) for name, of in values_of.items()}
    places = {
        name: np.array([row["set"] in sets for row in rows]).nonzero()[0]
        for name, sets in SETS.items()
    }
    found = {}
    for name, value in values.items():
        truth = grades[:, 1 if name == ONE_PASS else 0 :].mean(axis=1)
        found[name] = {
            kind: agreement(value[p], truth[p], [rows[i] for i in p]) for kind, p in places.items()
        }
    return Found(found, {name: len(p) for name, p in places.items()})


def photos_table(found: Found) -> Iterator[str]:
    """Yield the table."""
    titles = [f"{name} ({count})" for name, count in found.counts.items()]
    rows = ([name, *map(say, of.values())] for name, of in found.srcc.items())
    yield from table(["SRCC with graders", *titles], rows)


def main() -> None:
    """Score and print the table."""
    options = read_options(__doc__)
    values = {model: scores_by(model) for model in options.models}
    for line in photos_table(measure(options.photos_csv, options.split, values)):
        print(line)


if __name__ == "__main__":
    main()
