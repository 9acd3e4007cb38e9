"""The constants of a label: how metrics become a loss, and how much of a loss eyes see.

    python -m labels.calibrate loss data/POOL
    python -m labels.calibrate visible data/POOL

`loss`:    Mean and spread of each metric over a pool of degraded training faces.
`visible`: Two constants per kind of degradation (`VisibleLoss`), by least squares on the grades of
           the pool's degraded images in labels/grades/damaged.csv.
Both write src/mspt/synthesis/calibration.json. Run again only when degradations, metrics or grades
change: the constants are part of a score's meaning. Then run `mspt synthesize` again on each set:
it keeps the images and renews the labels.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from labels.apply import label_of_grade, photo_of, quality_of_photos
from labels.grade import DAMAGED, UNDAMAGED, level, mean_grades, read_grades
from scipy.optimize import minimize

from mspt.evaluation.manifest import read_manifest
from mspt.evaluation.metrics import Vector, srcc
from mspt.synthesis.mos import Calibration, VisibleLoss, store_calibration, stored_calibration
from mspt.synthesis.reference_metrics import DISTANCES
from mspt.synthesis.synthesize import kinds_of, read_records

PRIOR = 0.15  # draws kinds with few grades to the others; .03 and .5 fit unseen people no better


def fit_loss(pool_dir: Path) -> Calibration:
    """Return the constants of a pool, and print how each metric agrees with the loss."""
    records = [r for r in read_records(pool_dir) if r["degradation"]]
    distances = [record["distances"] for record in records]
    pool = f"{len(records)} degraded training faces of {pool_dir.name}"
    calibration = replace(Calibration.fit(distances, pool), sight=stored_calibration().sight)
    loss = np.array([calibration.loss(d) for d in distances])
    print(f"{pool}: loss mean {loss.mean():.3f}, sd {loss.std():.3f}")
    print("deciles:", np.percentile(loss, range(0, 101, 10)).round(2).tolist())
    for name in DISTANCES:
        values = np.array([d[name] for d in distances])
        print(f"SRCC of {name:12} with the loss: {srcc(values, loss):.3f}")
    return calibration


def fit_visible(pool_dir: Path, set_name: str) -> dict[str, VisibleLoss]:
    """Return how much of each kind's loss eyes see, by the grades of a set's degraded images.

    Raises:
        SystemExit: if a kind of degradation was not graded.
    """
    graded = level(read_grades(DAMAGED), set_name)
    records = [r for r in read_records(pool_dir) if r["degradation"]]
    shown = [r for r in records if Path(r["path"]).name in graded]
    kinds = [kinds_of(record) for record in shown]
    if missing := {k for r in records for k in kinds_of(r)} - {k for row in kinds for k in row}:
        raise SystemExit(f"{DAMAGED}: no grade of {', '.join(sorted(missing))} in {pool_dir}")
    mean = mean_grades(g for g in read_grades(UNDAMAGED) if g.set_name == set_name)
    quality = quality_of_photos(read_manifest(pool_dir / "manifest.csv"), mean)
    calibration = stored_calibration()
    names = [Path(record["path"]).name for record in shown]
    return fit_constants(
        np.array([calibration.loss(record["distances"]) for record in shown]),
        kinds,
        np.array([quality[photo_of(name)] for name in names]),
        np.array([label_of_grade(float(np.mean(graded[name]))) for name in names]),
    )


def fit_constants(
    losses: Vector, kinds: Sequence[Sequence[str]], own: Vector, labels: Vector
) -> dict[str, VisibleLoss]:
    """Return for each kind what is seen of a loss, so that own x (1 - seen) comes near the labels.

    Kinds of a chain weigh alike. By least squares on factors and powers (logarithms), each drawn
    to the mean of all kinds.
    """
    names = sorted({kind for row in kinds for kind in row})
    share = np.zeros((len(kinds), len(names)))
    for row, of in zip(share, kinds, strict=True):
        for kind in of:
            row[names.index(kind)] += 1 / len(of)
    losses = np.clip(losses, 1e-3, 1)

    def cost(values: Vector) -> float:
        factor, power = np.split(values, 2)
        seen = np.exp(share @ factor) * losses ** np.exp(share @ power)
        spread = np.sum((factor - factor.mean()) ** 2) + np.sum((power - power.mean()) ** 2)
        return float(np.sum((own * (1 - seen) - labels) ** 2) + PRIOR * spread)

    found = minimize(cost, np.zeros(2 * len(names)), method="L-BFGS-B", options={"maxiter": 500})
    if not found.success:
        raise SystemExit(f"no fit: {found.message}")
    factor, power = np.split(np.exp(found.x), 2)
    return {
        name: VisibleLoss(round(float(f), 2), round(float(p), 2))
        for name, f, p in zip(names, factor, power, strict=True)
    }


def print_visible(visible: Mapping[str, VisibleLoss]) -> None:
    """Print the constants, the most forgiving kind first."""
    for kind, (factor, power) in sorted(visible.items(), key=lambda item: item[1]):
        print(f"{kind:18} {factor:.2f} x loss ** {power:.2f}")


def main() -> None:
    """Read the arguments, fit and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("loss", "visible"))
    parser.add_argument("pool", type=Path)
    parser.add_argument("--graded-as", help="name of the set in the grades; default: the folder's")
    options = parser.parse_args()
    if options.what == "loss":
        store_calibration(fit_loss(options.pool))
        return
    visible = fit_visible(options.pool, options.graded_as or options.pool.resolve().name)
    store_calibration(replace(stored_calibration(), sight=visible))
    print_visible(visible)


if __name__ == "__main__":
    main()
