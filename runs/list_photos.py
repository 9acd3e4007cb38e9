"""List photos as a manifest without mos: wild ones for pseudo-labels, real ones for blind eyes.

    python runs/list_photos.py FACES.csv data/wild/photos.csv \
        --where set=wild --where usage=permissive --where split=train

In:   a CSV of photos with the columns file, set, usage, split, identity (MODEL_CARD.md).
Out:  a manifest whose mos `mspt label` fills; its source is the set.
"""

import argparse
import csv
import os
from collections.abc import Mapping
from pathlib import Path

from mspt.apps.options import read_conditions


def write_list(faces: Path, out: Path, wanted: Mapping[str, str]) -> int:
    """Write the list; return how many photos it has."""
    with faces.open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if all(r[k] == v for k, v in wanted.items())]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "mos", "source", "split", "identity"))
        for row in rows:
            path = Path(os.path.relpath(faces.parent / row["file"], out.parent)).as_posix()
            writer.writerow((path, "", row["set"], row["split"], row["identity"]))
    return len(rows)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE")
    options = parser.parse_args()
    count = write_list(options.faces, options.out, read_conditions(options.where))
    print(f"{count} photos: {options.out}")


if __name__ == "__main__":
    main()
