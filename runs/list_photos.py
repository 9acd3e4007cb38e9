"""List photos as a manifest without mos: wild ones for pseudo-labels, real ones for blind eyes.

    python runs/list_photos.py FACES.csv data/wild/photos.csv \
        --where set=wild --where usage=permissive --where split=train

In:   a CSV of photos with the columns file, set, usage, split, identity (MODEL_CARD.md).
Out:  a manifest whose mos `mspt label` or benchmarks/blind_grades.py fills.
"""

import argparse
import csv
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from mspt.cli.options import read_conditions
from mspt.synthesis.synthesize import read_records


def write_list(
    faces: Path, out: Path, wanted: Mapping[str, str], without: Collection[str], source: str
) -> int:
    """Write the list, without the photos of some names; return how many there are."""
    with faces.open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if all(r[k] == v for k, v in wanted.items())]
    rows = [row for row in rows if Path(row["file"]).stem not in without]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "mos", "source", "split", "identity"))
        for row in rows:
            path = Path(os.path.relpath(faces.parent / row["file"], out.parent)).as_posix()
            writer.writerow((path, "", source or row["set"], row["split"], row["identity"]))
    return len(rows)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE")
    parser.add_argument(
        "--without", type=Path, metavar="SET", help="leave out what `mspt synthesize` damaged there"
    )
    parser.add_argument("--source", default="", help="what the manifest calls it; default: the set")
    options = parser.parse_args()
    wanted = read_conditions(options.where)
    made = read_records(options.without) if options.without else []
    damaged = {Path(record["path"]).stem.rsplit("_", 2)[0] for record in made}  # NAME_HASH_NUMBER
    count = write_list(options.faces, options.out, wanted, damaged, options.source)
    print(f"{count} photos: {options.out}")


if __name__ == "__main__":
    main()
