"""Labels of a set of `mspt synthesize` on one scale, whatever photo an image was made of.

    python -m labels.apply data/real-train

In:   a set, whose manifest says what damage left of each photo; labels/grades/.
Out:  DATA/graded.csv, a manifest of the same images. The label of a photo as it is follows from its
      grades; that of a damaged version counts the photo's own faults and the damage together;
      where the version itself was graded, the label is the mean of that and its grade.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from labels.grade import DAMAGED, DAMAGED_REAL, FACES, level, mean_grades, read_grades
from scipy.optimize import brentq

from mspt.evaluation.manifest import Entry, read_manifest, write_manifest
from mspt.evaluation.metrics import Vector
from mspt.synthesis.synthesize import photo_name

AS_IT_IS = "_00.png"  # how the names of photos without damage end
# Losses add up as powers: 1 would be their sum, much more the larger one alone. With the grades of
# 805 damaged real photos 2 agrees at SRCC .91, 2.5 and 3 at .92, but leave grain next to no loss on
# soft photos (docs/log).
TOGETHER = 2.0
# Which label has the standing among labels that a grade has among grades: read off the quantiles of
# both on 1,280 training images, by hand and rounded.
LABEL_OF_GRADE = (
    (0, 0.02), (10, 0.07), (25, 0.13), (40, 0.26), (55, 0.47), (70, 0.69), (80, 0.84), (90, 0.96),
    (100, 1.0),
)  # fmt: skip


def label_of_grade(grade: float) -> float:
    """Return the label that stands where the grade does."""
    return float(np.interp(grade, *zip(*LABEL_OF_GRADE, strict=True)))


def photo_of(image: str) -> str:
    """Return the name of the photo that an image of a set was made from, by the image's name."""
    return image.rpartition("_")[0]


def grades_of_photos() -> dict[str, float]:
    """Return the mean grade, 0..100, of every graded photo, by the photo's name in sets."""
    return mean_grades(replace(g, file=photo_name(g.file)) for g in read_grades(FACES))


def grades_of_images(set_name: str) -> dict[str, float]:
    """Return the mean grade, 0..100, of every graded image of a set, by the image's name.

    Graders who see much damage are milder with photos as they are. Where some of those were graded
    among the others, a power brings the deal to the scale of `grades_of_photos`.
    """
    levelled = level(read_grades(DAMAGED), set_name) | level(read_grades(DAMAGED_REAL), set_name)
    found = {name: float(np.clip(np.mean(of), 0, 100)) for name, of in levelled.items()}
    photos = grades_of_photos()
    alike = [(g, photos[photo_of(name)]) for name, g in found.items() if name.endswith(AS_IT_IS)]
    if not alike:
        return found
    here, there = np.array(alike).T / 100
    power = brentq(lambda p: np.mean(here**p) - np.mean(there), 0.2, 5)
    return {name: 100 * (grade / 100) ** power for name, grade in found.items()}


def add_losses(own: Vector, seen: Vector) -> Vector:
    """Return what a photo's own faults and the damage done to it take together, 0..1; (N,) each.

    Neither adds to nothing of the other; beside large faults, small damage hardly counts.
    """
    total: Vector = np.minimum(1, (own**TOGETHER + seen**TOGETHER) ** (1 / TOGETHER))
    return total


def count_faults(entries: Sequence[Entry], grades: Mapping[str, float]) -> list[Entry]:
    """Return all entries, their labels counting the photos' own faults beside the damage.

    Args:
        entries: of a set, their `mos` what damage left.
        grades: of the photos, 0..100, by the photo's name.

    Raises:
        SystemExit: if a photo was not graded.
    """
    photos = [photo_of(entry.path.name) for entry in entries]
    if missing := [e.path for e, photo in zip(entries, photos, strict=True) if photo not in grades]:
        raise SystemExit(f"{missing[0]}: no grade of its photo in {FACES}; have it graded first")
    own = np.array([1 - label_of_grade(grades[photo]) for photo in photos])
    seen = np.array([1 - entry.mos for entry in entries])
    labels = 1 - add_losses(own, seen)
    return [replace(e, mos=round(float(m), 4)) for e, m in zip(entries, labels, strict=True)]


def blend(entries: Sequence[Entry], grades: Mapping[str, float]) -> list[Entry]:
    """Return all entries, labels of graded damaged images being the mean of label and grade."""

    def mos(entry: Entry) -> float:
        grade = grades.get(entry.path.name)
        if grade is None or entry.is_undamaged:
            return entry.mos
        return round((entry.mos + label_of_grade(grade)) / 2, 4)

    return [replace(entry, mos=mos(entry)) for entry in entries]


def main() -> None:
    """Read the arguments and write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    out = (data := parser.parse_args().data) / "graded.csv"
    counted = count_faults(read_manifest(data / "manifest.csv"), grades_of_photos())
    labelled = blend(counted, grades_of_images(data.resolve().name))
    write_manifest(out, labelled)
    print(f"{len(labelled)} images: {out}")


if __name__ == "__main__":
    main()
