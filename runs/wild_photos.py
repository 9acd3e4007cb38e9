"""List the wild faces that may be trained on, for pseudo-labels.

    python runs/wild_photos.py FACES.csv data/wild/photos.csv

In:   a CSV of photos with the columns file, set, usage, split (MODEL_CARD.md).
Out:  a manifest without mos, which `mspt label` fills: permissive, wild, of the split train.
"""

import csv
import os
import sys
from pathlib import Path

WANTED = {"set": "wild", "usage": "permissive", "split": "train"}


def main(faces: Path, out: Path) -> None:
    """Write the list."""
    with faces.open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if all(r[k] == v for k, v in WANTED.items())]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "mos", "source", "split", "identity"))
        for row in rows:
            path = os.path.relpath(faces.parent / row["file"], out.parent)
            writer.writerow((Path(path).as_posix(), "", "wild", "train", row["identity"]))
    print(f"{len(rows)} photos: {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
