"""Do graders and models agree with people? On photos whose quality many people have rated.

    MSPT_DETECTOR=yunet.onnx python -m benchmarks.evidence.people LABELS.csv --set clive_faces

In:   a CSV with the columns file and mos; labels/grades/faces.csv, where the photos of the set were
      graded blind among others.
Out:  SRCC of the mos with the graders, alone and together, and with the embedded models: on the
      whole photo's centred square, and on the largest face. Intervals: 95 %, bootstrap over photos.

What graders reach is a bound for whatever is trained on their grades. The photos are a test set:
nothing is trained on them or tuned to them.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.evidence.photos import Values
from benchmarks.evidence.tables import number, say, table
from labels.grade import GRADES, level, read_grades

import mspt
from mspt.evaluation.evaluate import estimate
from mspt.evaluation.metrics import Vector, srcc
from mspt.inference.faces import FaceSearch

FACES = GRADES / "faces.csv"
RESAMPLES = 2000
_PERFECT = 0.9995  # rank agreement, but for rounding


def agreement(a: Vector, b: Vector) -> str:
    """Return the SRCC of two values of each photo, where both are known."""
    known = np.flatnonzero(~np.isnan(a) & ~np.isnan(b))
    a, b = a[known], b[known]
    return say(estimate(lambda i: srcc(a[i], b[i]), list(map(str, known)), RESAMPLES))


def graders_of(files: Sequence[str], set_name: str) -> dict[str, Vector]:
    """Return what each grading of the set says of each photo; every grading saw all of it."""
    levelled = level(read_grades(FACES), set_name)
    gradings = np.array([levelled[file] for file in files])
    alone = {f"grading {n}": column for n, column in enumerate(gradings.T, 1)}
    return alone | {"all gradings": gradings.mean(axis=1)}


def models_of(paths: Sequence[Path]) -> dict[str, Vector]:
    """Return the scores of the embedded models; NaN where no face was found."""
    found = {}
    for name in ("base", "fast"):
        scorer = mspt.load(name, backend="onnxruntime")
        whole = [result.score for result in scorer.score_many(paths)]
        faces = scorer.score_photos(paths, faces=FaceSearch(max_faces=1))
        largest = [results[0].score for results in faces]
        found[f"`{name}`, whole"] = np.array(whole, dtype=float)
        found[f"`{name}`, largest face"] = np.array(largest, dtype=float)
    return found


def read_rated(labels: Path) -> tuple[list[dict[str, str]], Vector]:
    """Return the rows of photos that people rated, and what they said, (N,)."""
    with labels.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, np.array([float(row["mos"]) for row in rows])


def people_table(labels: Path, set_name: str) -> Iterator[str]:
    """Yield SRCC of the people's mos and of the graders with graders and models."""
    rows, mos = read_rated(labels)
    files = [row["file"] for row in rows]
    graders = graders_of(files, set_name)["all gradings"]
    models = models_of([labels.parent / file for file in files])
    yield from table(
        ["SRCC with", "photos", "people", "all gradings"],
        [
            [name, str(int(np.sum(~np.isnan(v)))), agreement(mos, v), agreement(graders, v)]
            for name, v in models.items()
        ]
        + [["all gradings", str(len(mos)), agreement(mos, graders), ""]],
    )


def damaged_table(labels: Path, values_of: Mapping[str, Values]) -> Iterator[str]:
    """Yield SRCC of the people's mos with each of `values_of`, for all images and by damage.

    Kinds that the first two put in perfect order are left out.
    """
    rows, mos = read_rated(labels)
    kind = np.array([row["distortion"] for row in rows])
    values = [of([labels.parent / row["file"] for row in rows]) for of in values_of.values()]
    everything = [number(srcc(mos, value)) for value in values]  # of one person: no interval
    of_kind = {
        name: [srcc(mos[kind == name], value[kind == name]) for value in values]
        for name, count in sorted(Counter(kind.tolist()).items())
        if count > 2
    }
    yield from table(
        ["SRCC with people", "images", *values_of],
        [["all", str(len(rows)), *everything]]
        + [
            [name, str(np.sum(kind == name)), *map(number, found)]
            for name, found in of_kind.items()
            if min(found[:2]) < _PERFECT
        ],
    )


def main() -> None:
    """Read, score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("--set", required=True, help="name of the photos' set in the grades")
    options = parser.parse_args()
    for line in people_table(options.labels, options.set):
        print(line, flush=True)


if __name__ == "__main__":
    main()
