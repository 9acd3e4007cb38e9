"""The constants of a label: how metrics become a loss, and how much of a loss eyes see.

    python -m labels.calibrate loss data/POOL
    python -m labels.calibrate visible data/POOL

`loss`:    Mean and spread of each metric over a pool of degraded training faces.
`visible`: Two constants per kind of degradation (`VisibleLoss`), by least squares on the grades of
           the pool's degraded images in labels/grades. Kinds that were not graded keep
           theirs.
Both write src/mspt/synthesis/calibration.json. Run again only when degradations, metrics or grades
change: the constants are part of a score's meaning. Then run `mspt synthesize` again on each set:
it keeps the images and renews the labels.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from labels.apply import (
    add_losses,
    grades_of_images,
    grades_of_photos,
    label_of_grade,
    photo_of,
)
from labels.grade import GRADES
from scipy.optimize import least_squares

from mspt.evaluation.metrics import Vector, srcc
from mspt.synthesis.journal import read_records
from mspt.synthesis.mos import Calibration, VisibleLoss, store_calibration, stored_calibration
from mspt.synthesis.reference_metrics import DISTANCES
from mspt.synthesis.synthesize import kinds_of

PRIOR = 0.15  # draws kinds with few grades to what held before; .03 and .5 are no better


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
        SystemExit: if none of them was graded.
    """
    graded = grades_of_images(set_name)
    records = [r for r in read_records(pool_dir) if r["degradation"]]
    shown = [r for r in records if Path(r["path"]).name in graded]
    if not shown:
        raise SystemExit(f"{GRADES}: no grade of an image in {pool_dir}, as the set {set_name}")
    calibration, photos = stored_calibration(), grades_of_photos()
    names = [Path(record["path"]).name for record in shown]
    return fit_constants(
        np.array([calibration.loss(record["distances"]) for record in shown]),
        [kinds_of(record) for record in shown],
        np.array([1 - label_of_grade(photos[photo_of(name)]) for name in names]),
        np.array([label_of_grade(graded[name]) for name in names]),
        calibration.sight,
    )


def fit_constants(
    losses: Vector,
    kinds: Sequence[Sequence[str]],
    own: Vector,
    labels: Vector,
    before: Mapping[str, VisibleLoss],
) -> dict[str, VisibleLoss]:
    """Return for each kind what is seen of a loss, so that labels come near the graded ones.

    By least squares on factors and powers (logarithms), each drawn to what held before; new kinds
    to the mean of those, or to seeing what the metrics find. Kinds of a chain weigh alike.

    Args:
        losses: that the metrics find, (N,), 0..1.
        kinds: of damage, of each image.
        own: loss by the photo's own faults, (N,), 0..1.
        labels: by the images' grades, (N,), 0..1.
        before: what held.
    """
    names = sorted({kind for row in kinds for kind in row} | before.keys())
    share = np.zeros((len(kinds), len(names)))
    for row, of in zip(share, kinds, strict=True):
        for kind in of:
            row[names.index(kind)] += 1 / len(of)
    losses = np.clip(losses, 1e-3, 1)
    unknown = VisibleLoss.mean(before.values()) if before else VisibleLoss(1.0, 1.0)
    start = np.log([before.get(name, unknown) for name in names]).T.ravel()

    def errors(values: Vector) -> Vector:
        factor, power = np.split(values, 2)
        seen = np.minimum(1, np.exp(share @ factor) * losses ** np.exp(share @ power))
        label = 1 - add_losses(own, seen)
        return np.concatenate([label - labels, np.sqrt(PRIOR) * (values - start)])

    found = least_squares(errors, start)
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
