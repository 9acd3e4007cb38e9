"""Do the labels agree with eyes? Severity ladders, the spread of the scale, and sheets to look at.

    python -m labels.validate FACES.csv data/portraits-train out/labels --where split=train ...

In:   the CSV of pristine photos, and a set that `mspt synthesize` made of them.
Out:  a table per kind (Kendall's tau between severity and label over ladders, label at severity 0,
      .5 and 1), the label's spread, each metric's agreement with it; and in OUT twelve sheets
      `equal-mos-NN.jpg`, each with one image per kind, all of nearly the same label.
Look at the sheets: where an image is clearly better or worse than its neighbours, the label is off.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mspt.cli.options import read_conditions
from mspt.evaluation.manifest import Entry, read_manifest
from mspt.evaluation.metrics import krcc, srcc
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.parallel import usable_cores
from mspt.synthesis.contact_sheet import write_contact_sheet
from mspt.synthesis.degradations import SINGLE
from mspt.synthesis.journal import read_records
from mspt.synthesis.mixtures import MIXED
from mspt.synthesis.mos import stored_calibration
from mspt.synthesis.phone_faults import PHONE
from mspt.synthesis.pixel_ops import resize_to_side
from mspt.synthesis.reference_metrics import DISTANCES, measure_distances, prepare_worker
from mspt.synthesis.synthesize import PRISTINE, Photo, kinds_of, read_photos

FRAME_PX, MIN_SIDE_PX = 640, 640  # no reference is enlarged here
SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
# Other mixtures draw anew by severity.
KINDS = SINGLE | PHONE | {"photo_filter": MIXED["photo_filter"]}
SHEETS, SHEET_MOS, SHEET_WIDTH = 12, 0.5, 0.04


def measure_ladders(photo: Photo, seed: int) -> dict[str, list[float]]:
    """Return each kind's labels over the severities, of one photo."""
    reference = resize_to_side(crop_centre_square(read_rgb(photo.path)), FRAME_PX)
    calibration = stored_calibration()
    return {
        kind: [
            calibration.mos(
                measure_distances(reference, degrade(reference, s, np.random.default_rng(seed))),
                kind,
            )
            for s in SEVERITIES
        ]
        for kind, degrade in KINDS.items()
    }


def print_ladders(photos: Sequence[Photo]) -> None:
    """Print the table of kinds."""
    spawn = get_context("spawn")
    with ProcessPoolExecutor(usable_cores(), spawn, initializer=prepare_worker) as pool:
        ladders = list(pool.map(measure_ladders, photos, range(len(photos))))
    print(f"ladders of {len(photos)} photos, {len(SEVERITIES)} severities")
    print("| kind | Kendall, mean | lowest | mos at 0 | at .5 | at 1 |\n|---|---|---|---|---|---|")
    falling = -np.array(SEVERITIES)
    for kind in KINDS:
        mos = np.array([ladder[kind] for ladder in ladders])
        tau = np.array([krcc(falling, row) for row in mos])
        first, _, middle, _, last = mos.mean(axis=0)
        print(
            f"| {kind} | {np.nanmean(tau):.3f} | {np.nanmin(tau):.2f} "
            f"| {first:.2f} | {middle:.2f} | {last:.2f} |"
        )


def print_spread(data_dir: Path) -> None:
    """Print how labels spread, and how far each single metric agrees with them."""
    records = [r for r in read_records(data_dir) if r["source"] != PRISTINE]
    calibration = stored_calibration()
    mos = np.array([calibration.mos(r["distances"], *kinds_of(r)) for r in records])
    deciles = " ".join(f"{v:.2f}" for v in np.percentile(mos, range(10, 100, 10)))
    print(f"{len(mos)} labels: mean {mos.mean():.3f}, sd {mos.std():.3f}, deciles {deciles}")
    for name in DISTANCES:
        values = np.array([r["distances"][name] for r in records])
        print(f"SRCC of -{name:12} with the label: {srcc(-values, mos):.3f}")


def write_sheets(entries: Sequence[Entry], out_dir: Path) -> None:
    """Write the sheets of equal labels, every kind once in each where there are enough."""
    out_dir.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    near = [e for e in entries if e.degradation and abs(e.mos - SHEET_MOS) < SHEET_WIDTH]
    by_kind: dict[str, list[Entry]] = {}
    for index in rng.permutation(len(near)):
        by_kind.setdefault(near[index].degradation, []).append(near[index])
    for number in range(SHEETS):
        chosen = [by_kind[k][number] for k in sorted(by_kind) if number < len(by_kind[k])]
        if not chosen:
            break
        sheet = out_dir / f"equal-mos-{number + 1:02d}.jpg"
        write_contact_sheet(chosen, sheet, thumb_px=280, columns=6)


def main() -> None:
    """Measure, print, and write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE")
    parser.add_argument("--ladders", type=int, default=8, help="photos to make ladders of")
    options = parser.parse_args()
    photos = read_photos(options.photos, read_conditions(options.where))
    large = [p for p in photos if min(read_rgb(p.path).shape[:2]) >= MIN_SIDE_PX]
    print_spread(options.data)
    write_sheets(read_manifest(options.data / "manifest.csv"), options.out)
    if options.ladders:
        print_ladders(large[:: max(1, len(large) // options.ladders)][: options.ladders])


if __name__ == "__main__":
    main()
