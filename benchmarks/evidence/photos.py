"""Do models rank photos as graders do? Photos as people took them, and undamaged portraits.

    python -m benchmarks.evidence.photos FACES.csv [--model base ...] [--split test]

In:   the CSV of photos (file, set, split, identity); labels/grades/faces.csv.
Out:  SRCC of each model's scores with the mean grade, and of one pass of graders with the mean of
      the others; 95 % intervals by bootstrap over people.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.evidence.tables import say
from labels.grade import FACES, read_grades

from mspt.evaluation.evaluate import estimate
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


def read_rows(listed: Path, split: str, passes: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return the graded photos of a split."""
    with listed.open(encoding="utf-8", newline="") as file:
        return [r for r in csv.DictReader(file) if r["split"] == split and r["file"] in passes]


def passes_of_photos() -> dict[str, list[float]]:
    """Return what each pass of graders said of a photo, by its file, in the order of passes."""
    found: dict[str, list[float]] = {}
    for grade in sorted(read_grades(FACES), key=lambda grade: grade.grader):
        found.setdefault(grade.file, []).append(grade.value)
    return found


def agreement(a: Vector, b: Vector, rows: Sequence[Row]) -> str:
    """Return the SRCC of two values of each photo."""
    return say(estimate(lambda i: srcc(a[i], b[i]), [row["identity"] for row in rows], RESAMPLES))


def main() -> None:
    """Score and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos_csv", type=Path)
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    passes = passes_of_photos()
    rows = read_rows(options.photos_csv, options.split, passes)
    grades = np.array([passes[row["file"]] for row in rows])
    values = {ONE_PASS: grades[:, 0]}
    paths = [options.photos_csv.parent / row["file"] for row in rows]
    for model in options.models or ["base", "fast"]:
        scores = [result.score for result in Scorer(model).score_many(paths)]
        values[model] = np.array(scores, dtype=float)
    kept = {
        name: np.array([row["set"] in sets for row in rows]).nonzero()[0]
        for name, sets in SETS.items()
    }
    titles = [f"{name} ({len(places)})" for name, places in kept.items()]
    print(f"| SRCC with graders, {options.split} | {' | '.join(titles)} |")
    print("|---" * (1 + len(kept)) + "|")
    for name, value in values.items():
        truth = grades[:, 1 if name == ONE_PASS else 0 :].mean(axis=1)
        cells = [agreement(value[p], truth[p], [rows[i] for i in p]) for p in kept.values()]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
