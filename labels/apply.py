"""Labels of a set of `mspt synthesize` that count what graders saw; labels of photos as they are.

    python -m labels.apply data/release-train
    python -m labels.apply data/real --photos FACES.csv --where split=train --where usage=permissive

In:   a set, whose manifest says what degradation took from each photo; labels/grades/.
Out:  DATA/graded.csv, a manifest of the same images. The label of a degraded image is multiplied by
      what the photo's own faults leave of it; where the image itself was graded, the label is the
      mean of that and its grade.
      With --photos: a manifest of photos as people took them, labelled by their grades alone.
"""

import argparse
import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from labels.grade import DAMAGED, UNDAMAGED, level, mean_grades, read_grades

from mspt.cli.options import read_conditions
from mspt.evaluation.manifest import Entry, read_manifest, write_manifest

FAULTLESS = 90.0  # grade of a photo whose faults only close inspection finds
MASKING = 0.5  # power: beside damage a photo's own faults count less (docs/log)
# Which label has the standing among labels that a grade has among grades: read off the quantiles of
# both on 1,280 training images, by hand and rounded.
LABEL_OF_GRADE = (
    (0, 0.02), (10, 0.07), (25, 0.13), (40, 0.26), (55, 0.47), (70, 0.69), (80, 0.84), (90, 0.96),
    (100, 1.0),
)  # fmt: skip


def label_of_grade(grade: float) -> float:
    """Return the label that stands where the grade does."""
    return float(np.interp(grade, *zip(*LABEL_OF_GRADE, strict=True)))


def photo_of(name: str) -> str:
    """Return which photo an image was made from: its name up to the version's number."""
    return name.rpartition("_")[0]


def quality_of_photos(entries: Sequence[Entry], mean: Mapping[str, float]) -> dict[str, float]:
    """Return what each photo's own faults leave of its labels, 0..1.

    Args:
        entries: of a set, the undamaged photos among them.
        mean: grade, 0..100, of each undamaged photo by its file's name.

    Raises:
        SystemExit: if a photo was not graded.
    """
    undamaged = {photo_of(e.path.name): e.path.name for e in entries if e.is_undamaged}
    if missing := [e.path for e in entries if undamaged.get(photo_of(e.path.name)) not in mean]:
        raise SystemExit(f"{missing[0]}: no grade of it undamaged; are these the set's grades?")
    return {p: min(1.0, mean[name] / FAULTLESS) ** MASKING for p, name in undamaged.items()}


def count_faults(entries: Sequence[Entry], mean: Mapping[str, float]) -> list[Entry]:
    """Return all entries, each label multiplied by what its photo's own faults leave.

    Raises:
        SystemExit: if a photo was not graded.
    """
    quality = quality_of_photos(entries, mean)
    return [replace(e, mos=round(e.mos * quality[photo_of(e.path.name)], 4)) for e in entries]


def blend(entries: Sequence[Entry], graded: Mapping[str, Sequence[float]]) -> list[Entry]:
    """Return all entries, labels of graded images being the mean of label and grade."""

    def mos(entry: Entry) -> float:
        if not (grades := graded.get(entry.path.name)):
            return entry.mos
        return round((entry.mos + label_of_grade(float(np.mean(grades)))) / 2, 4)

    return [replace(entry, mos=mos(entry)) for entry in entries]


def label_real(rows: Sequence[Mapping[str, str]], folder: Path, out: Path) -> list[Entry]:
    """Return photos as people took them, labelled by their grades alone.

    Raises:
        SystemExit: if none of them was graded.
    """
    mean = mean_grades(g for g in read_grades(UNDAMAGED) if g.set_name.startswith("real"))
    entries = [
        Entry(
            path=Path(os.path.relpath(folder / row["file"], out)),
            mos=round(label_of_grade(mean[name]), 4),
            source="real",
            split=row["split"],
            identity=row["identity"],
        )
        for row in rows
        if (name := Path(row["file"]).name) in mean
    ]
    if not entries:
        raise SystemExit(f"{UNDAMAGED}: none of {len(rows)} photos was graded")
    return [replace(entry, path=out / entry.path) for entry in entries]


def main() -> None:
    """Read the arguments and write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--of", help="set whose photos' grades count; default: the folder's name")
    parser.add_argument("--photos", type=Path, help="CSV of photos to label as they are")
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE")
    options = parser.parse_args()
    out = options.data / "graded.csv"
    options.data.mkdir(parents=True, exist_ok=True)
    if options.photos:
        wanted = read_conditions(options.where)
        with options.photos.open(encoding="utf-8", newline="") as file:
            rows = [r for r in csv.DictReader(file) if wanted.items() <= r.items()]
        labelled = label_real(rows, options.photos.parent, options.data)
    else:
        name = options.of or options.data.resolve().name
        entries = read_manifest(options.data / "manifest.csv")
        mean = mean_grades(g for g in read_grades(UNDAMAGED) if g.set_name == name)
        counted = count_faults(entries, mean)
        labelled = blend(counted, level(read_grades(DAMAGED), options.data.resolve().name))
    write_manifest(out, labelled)
    print(f"{len(labelled)} images: {out}")


if __name__ == "__main__":
    main()
