"""Measure how the factors spread over a synthesised set; write their quantiles into the package.

    python -m benchmarks.studies.factor_reference data/val/graded.csv

Run again when a factor's formula changes: `explain` compares with these quantiles. Photos as people
took them that graders called good say what is no reason.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from itertools import compress
from pathlib import Path

import numpy as np

from mspt.evaluation.manifest import Entry, read_manifest
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.image.factors import measure_factors
from mspt.image.preprocess import prepare_rgb
from mspt.results import Factors
from mspt.spec import square_spec

TARGET = Path(__file__).parents[2] / "src/mspt/image/factor_reference.json"
SIDES = (384, 640)  # px of the operating points: a smaller input looks sharper and less noisy
NAMES = [field.name for field in fields(Factors) if field.name != "face_px"]
DECIMALS = 4
GOOD_MOS = 0.8
GOOD_RANGE = (2, 98)  # percentiles of good photos: beyond them a value is unusual among them
REPORTED = (2, 5, 10, 20, 50, 80, 90, 95, 98)


def describe(entries: Sequence[Entry]) -> str:
    """Say what the set is made of."""
    sources = Counter(entry.source for entry in entries)
    parts = ", ".join(f"{count} {source}" for source, count in sources.most_common())
    people = len({entry.group for entry in entries})
    return f"{len(entries)} images of {people} people made by mspt synthesize: {parts}"


def measure(entry: Entry) -> list[Factors]:
    """Return the factors of one image at each input side."""
    square = crop_centre_square(read_rgb(entry.path))
    return [measure_factors(square, prepare_rgb(square, square_spec(side))) for side in SIDES]


def percentiles_of(measured: Sequence[Factors], percents: Sequence[int]) -> dict[str, list[float]]:
    """Return each factor's percentiles."""
    return {
        name: np.percentile([getattr(factors, name) for factors in measured], percents)
        .round(DECIMALS)
        .tolist()
        for name in NAMES
    }


def main(manifest: Path) -> None:
    """Measure, report the ends of each factor, and write."""
    entries = read_manifest(manifest)
    measured = [measure(entry) for entry in entries]
    is_good = [entry.is_undamaged and entry.mos >= GOOD_MOS for entry in entries]
    sides = {}
    for number, side in enumerate(SIDES):
        at_side = [factors[number] for factors in measured]
        best = list(compress(at_side, is_good))
        sides[str(side)] = {
            "quantiles": percentiles_of(at_side, range(101)),
            "good": percentiles_of(best, GOOD_RANGE),
        }
        for name, quantiles in sides[str(side)]["quantiles"].items():
            worst = ", ".join(f"{percent} % {quantiles[percent]}" for percent in REPORTED)
            low, high = sides[str(side)]["good"][name]
            print(f"{side} px, {name}: {worst}; of {sum(is_good)} good photos {low} to {high}")
    reference = {"description": describe(entries), "sides": sides}
    TARGET.write_text(json.dumps(reference) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
