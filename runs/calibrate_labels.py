"""Compute how metrics become a loss from a synthesised pool; write the constants into the package.

    python runs/calibrate_labels.py data/first-light-train

Run again only when degradations or metrics change: the constants are part of the score's meaning.
What eyes see of a loss (`sight`) stays as it is stored; `benchmarks/damage_grades.py fit` comes
next. Then run `mspt synthesize` again on each data set: it keeps the images and renews the labels.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from mspt.evaluation.metrics import srcc
from mspt.synthesis.mos import Calibration, store_calibration, stored_calibration
from mspt.synthesis.reference_metrics import DISTANCES
from mspt.synthesis.synthesize import PRISTINE, read_records


def main(pool_dir: Path) -> None:
    """Fit, report how each metric agrees with the loss, and write."""
    records = [r for r in read_records(pool_dir) if r["source"] != PRISTINE]
    distances = [record["distances"] for record in records]
    pool = f"{len(records)} degraded training faces of {pool_dir.name}"
    calibration = replace(Calibration.fit(distances, pool), sight=stored_calibration().sight)
    loss = np.array([calibration.loss(d) for d in distances])
    print(f"{pool}: loss mean {loss.mean():.3f}, sd {loss.std():.3f}")
    print("deciles:", np.percentile(loss, range(0, 101, 10)).round(2).tolist())
    for name in DISTANCES:
        values = np.array([d[name] for d in distances])
        print(f"SRCC of {name:12} with the loss: {srcc(values, loss):.3f}")
    store_calibration(calibration)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
