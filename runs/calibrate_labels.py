"""Compute the constants of the fused label from a synthesised pool; write them into the package.

    python runs/calibrate_labels.py data/first-light-train

Run again only when degradations or metrics change: the constants are part of the score's meaning.
Afterwards run `mspt synthesize` again on each data set: it keeps the images and renews the labels.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mspt.evaluation.metrics import srcc
from mspt.synthesis.labels import Calibration
from mspt.synthesis.reference_metrics import DISTANCES
from mspt.synthesis.synthesize import PRISTINE, kinds_of, read_records

TARGET = Path(__file__).parents[1] / "src/mspt/synthesis/calibration.json"


def main(pool_dir: Path) -> None:
    """Fit, report how each metric agrees with the fused label, and write."""
    records = [r for r in read_records(pool_dir) if r["source"] != PRISTINE]
    distances = [record["distances"] for record in records]
    pool = f"{len(records)} degraded training faces of {pool_dir.name}"
    calibration = Calibration.fit(distances, pool)
    mos = np.array([calibration.mos(r["distances"], *kinds_of(r)) for r in records])
    print(f"{pool}: mos mean {mos.mean():.3f}, sd {mos.std():.3f}")
    print("deciles:", np.percentile(mos, range(0, 101, 10)).round(2).tolist())
    for name in DISTANCES:
        values = np.array([d[name] for d in distances])
        print(f"SRCC of -{name:12} with the fused label: {srcc(-values, mos):.3f}")
    TARGET.write_text(json.dumps(asdict(calibration), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
