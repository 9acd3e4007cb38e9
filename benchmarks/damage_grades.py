"""How bad does damage look? Damaged images, graded by blind eyes, set what the labels say of it.

    python benchmarks/damage_grades.py make out/one data/release-train-4 --images 1280 --viewers 8
    python benchmarks/damage_grades.py collect out/one
    python benchmarks/damage_grades.py fit data/release-train-4 --deal one
    python benchmarks/damage_grades.py label data/release-train-4 [--real data/real-train]
    python benchmarks/damage_grades.py count data/release-val ... [--model base-6=FILE.onnx ...]

`make`:    Deals damaged images of the sets, drawn at random, to viewers: OUT/v1/s001.png and on,
           two on a sheet at 640 px, numbered; OUT/key-v1.csv, which nobody who grades should open,
           says what they are. Each viewer writes OUT/grades-v1.csv (`photo,grade`), from 0 to 100
           as for blind_grades.py.
`collect`: Adds them to benchmarks/grades/damaged.csv: `set,file,viewer,grade`; viewer `one-v1` is
           the first of the deal in OUT/one.
`fit`:     How much eyes see of each kind of damage (`VisibleLoss` of src/mspt/synthesis/mos.py), by
           least squares on a set's grades of one deal; written into calibration.json. Then run
           `mspt synthesize` again on each set: it keeps the images and renews the labels.
`label`:   Writes DATA/blended.csv: labels that count the photos' own faults, as blind_grades.py
           makes them, and where an image was graded the mean of that and its grade; and for photos
           as people took them REAL/graded.csv: what their grades alone say.
`count`:   SRCC of the grades with labels, models (`base` and `base-6`: and by how much the one is
           above the other, paired), and among viewers where an image was dealt twice.

Viewers use the scale each in their own way; within a deal all get images by chance, so their grades
are brought to the same mean and standard deviation before anything else. The two deals that were
collected: `one`, training images, and `two`, which checks it: 400 images of `val`, 400 of `test`,
240 of the outside set and 240 of `one` once more.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from blind_grades import (
    GRADES,
    Graded,
    count_faults,
    draw_sheet,
    grades_file,
    mean_grades,
    mos_of,
    photo_of,
    quality_of_photos,
    read_csv,
    read_grades,
    read_viewer,
    score_models,
    successors,
    write_csv,
)
from scipy.optimize import minimize

from mspt.evaluation.manifest import Entry, read_manifest, write_manifest
from mspt.evaluation.metrics import Vector
from mspt.synthesis.mos import VisibleLoss, store_calibration, stored_calibration
from mspt.synthesis.synthesize import PRISTINE, kinds_of, read_records

DAMAGED_GRADES = GRADES / "damaged.csv"
SHEET_PX, SHEET_COLUMNS = 640, 2
LEVEL_MEAN, LEVEL_SD = 59.46, 20.83  # of all 1,280 grades of deal `one`
# Which label has the standing among labels that a grade has among grades: read off the quantiles of
# both in deal `one`, by hand and rounded (labels as they were before any `VisibleLoss`), so that
# new labels keep the meaning that scores had.
LABEL_OF_GRADE = (
    (0, 0.02), (10, 0.07), (25, 0.13), (40, 0.26), (55, 0.47), (70, 0.69), (80, 0.84), (90, 0.96),
    (100, 1.0),
)  # fmt: skip
PRIOR = 0.15  # draws kinds with few grades to the others; .03 and .5 fit unseen people no better

LevelGrades = Mapping[str, Sequence[float]]  # levelled grades of an image, by the file's name


def deal(entries: Sequence[Entry], images: int, viewers: int, seed: int, out_dir: Path) -> None:
    """Write sheets of damaged images, drawn at random, and their keys, for so many viewers."""
    damaged = [e for e in entries if e.source != PRISTINE]
    if not viewers <= images <= len(damaged):
        raise SystemExit(
            f"{images} images for {viewers} viewers: deal at least one each, and at most the "
            f"{len(damaged)} damaged ones there are"
        )
    drawn = np.random.default_rng(seed).permutation(len(damaged))[:images]
    each = -(-len(drawn) // viewers)
    for number in range(viewers):
        hand = [damaged[i] for i in drawn[number * each : (number + 1) * each]]
        name = f"v{number + 1}"
        key = [(i, e.path.parents[1].name, e.path.name) for i, e in enumerate(hand, 1)]
        if (out_dir / f"key-{name}.csv").exists():
            raise SystemExit(f"{out_dir}: holds a deal already; name another folder")
        write_csv(out_dir / f"key-{name}.csv", ("photo", "set", "file"), key)
        (out_dir / name).mkdir(parents=True)
        for start in range(0, len(hand), SHEET_COLUMNS):
            sheet = draw_sheet(
                hand[start : start + SHEET_COLUMNS], start + 1, SHEET_COLUMNS, SHEET_PX
            )
            sheet.save(out_dir / name / f"s{start // SHEET_COLUMNS + 1:03d}.png", compress_level=1)


def collect(out_dir: Path, grades: Path) -> int:
    """Add what all viewers of a deal wrote to the list of grades; return how many there are.

    Raises:
        SystemExit: if a viewer left an image out, wrote something else than 0 to 100 or the same of
            every image, or if the deal was collected before.
    """
    rows = [tuple(row.values()) for row in read_csv(grades)] if grades.exists() else []
    before = {viewer for _, _, viewer, _ in rows}
    if not (keys := sorted(out_dir.glob("key-*.csv"))):
        raise SystemExit(f"{out_dir}: holds no deal, that is no key-v1.csv; see `make`")
    for key in keys:
        name = key.stem.removeprefix("key-")
        hand = read_csv(key)
        answers = out_dir / f"grades-{name}.csv"
        given = read_viewer(answers, [row["photo"] for row in hand])
        viewer = f"{out_dir.name}-{name}"
        if viewer in before:
            raise SystemExit(f"{grades}: has grades of {viewer} already; name each deal anew")
        if len(set(map(float, given))) == 1:
            raise SystemExit(f"{answers}: all grades are {given[0]}, which says nothing")
        rows += [
            (row["set"], row["file"], viewer, grade) for row, grade in zip(hand, given, strict=True)
        ]
    write_csv(grades, ("set", "file", "viewer", "grade"), rows)
    return len(rows)


def level(rows: Sequence[Mapping[str, str]]) -> list[float]:
    """Return grades as if all viewers used the scale alike."""
    given = np.array([float(row["grade"]) for row in rows])
    viewer = np.array([row["viewer"] for row in rows])
    levelled = given.copy()
    for name in set(viewer):
        own = given[viewer == name]
        levelled[viewer == name] = (own - own.mean()) / own.std() * LEVEL_SD + LEVEL_MEAN
    return levelled.tolist()


def read_damaged(grades: Path, data: Path, deal_name: str = "") -> LevelGrades:
    """Return the levelled grades of each image of a set that has some, of one deal or of all."""
    rows = read_csv(grades)
    found: dict[str, list[float]] = {}
    for row, grade in zip(rows, level(rows), strict=True):
        is_dealt = not deal_name or row["viewer"].rpartition("-")[0] == deal_name
        if is_dealt and row["set"] == data.resolve().name:
            found.setdefault(row["file"], []).append(grade)
    return found


def label_of_grade(grade: float) -> float:
    """Return the label that stands where the grade does."""
    return float(np.interp(grade, *zip(*LABEL_OF_GRADE, strict=True)))


def fit_sight(
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


def fit(data: Path, grades: Path, deal_name: str) -> dict[str, VisibleLoss]:
    """Return what eyes see of each kind of damage, by a set's grades of one deal.

    Raises:
        SystemExit: if a kind of damage was not graded.
    """
    graded = read_damaged(grades, data, deal_name)
    records = [r for r in read_records(data) if r["source"] != PRISTINE]
    shown = [r for r in records if Path(r["path"]).name in graded]
    kinds = [kinds_of(record) for record in shown]
    if missing := {k for r in records for k in kinds_of(r)} - {k for row in kinds for k in row}:
        raise SystemExit(
            f"{grades}: deal {deal_name!r} has no grade of {', '.join(sorted(missing))} in {data}"
        )
    quality = quality_of_photos(
        read_manifest(data / "manifest.csv"), read_grades(grades_file(data))
    )
    calibration = stored_calibration()
    names = [Path(record["path"]).name for record in shown]
    return fit_sight(
        np.array([calibration.loss(record["distances"]) for record in shown]),
        kinds,
        np.array([quality[photo_of(name)] for name in names]),
        np.array([label_of_grade(float(np.mean(graded[name]))) for name in names]),
    )


def blend(entries: Sequence[Entry], graded: LevelGrades) -> list[Entry]:
    """Return all entries, labels of graded images being the mean of label and grade."""

    def mos(entry: Entry) -> float:
        if not (grades := graded.get(entry.path.name)):
            return entry.mos
        return round((entry.mos + label_of_grade(float(np.mean(grades)))) / 2, 4)

    return [replace(entry, mos=mos(entry)) for entry in entries]


def label_real(entries: Sequence[Entry], grades: Path) -> list[Entry]:
    """Return photos as people took them, labelled by their grades.

    Raises:
        SystemExit: if one was not graded.
    """
    mean = mean_grades(read_grades(grades))
    if missing := [e.path for e in entries if e.path.name not in mean]:
        raise SystemExit(f"{missing[0]}: no grade of it in {grades}")
    return [replace(e, mos=round(label_of_grade(mean[e.path.name]), 4)) for e in entries]


def compare_damaged(
    entries: Sequence[Entry],
    graded: LevelGrades,
    scores: Mapping[str, Vector],
    counted: Sequence[Entry],
) -> Iterator[str]:
    """Yield SRCC of the grades with labels and with scores of all entries.

    `counted` are the entries with labels that count the photos' own faults, if there are such.
    """
    rows = [i for i, e in enumerate(entries) if e.path.name in graded]
    values = {"grade": np.array([np.mean(graded[entries[i].path.name]) for i in rows])}
    values["label of damage alone"] = mos_of(entries)[rows]
    if counted is not entries:
        values["label with the photo's faults"] = mos_of(counted)[rows]
    values |= {name: score[rows] for name, score in scores.items()}
    whole = Graded([entries[i] for i in rows], values)
    yield f"| {len(rows)} damaged images: SRCC of the grade with | |"
    yield "|---|---|"
    for name in list(values)[1:]:
        yield f"| {name} | {whole.agreement('grade', name)} |"
    for model, rival in successors(scores):
        yield f"| {model} over {rival} | {whole.gain('grade', model, rival)} |"
    if twice := [i for i in range(len(rows)) if len(graded[entries[rows[i]].path.name]) > 1]:
        pairs = np.array([graded[entries[rows[i]].path.name][:2] for i in twice])
        both = Graded([entries[rows[i]] for i in twice], {"a": pairs[:, 0], "b": pairs[:, 1]})
        yield f"| another viewer's grade ({len(twice)} images) | {both.agreement('a', 'b')} |"


def read_counted(data: Path, entries: Sequence[Entry]) -> list[Entry]:
    """Return a set's entries, the photos' own faults counted."""
    return count_faults(entries, read_grades(grades_file(data)))


def main() -> None:
    """Make, collect, fit, label or count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make, gather = commands.add_parser("make"), commands.add_parser("collect")
    fitting, label, count = (commands.add_parser(name) for name in ("fit", "label", "count"))
    for command in (make, gather):
        command.add_argument("out", type=Path)
    for command in (make, count):
        command.add_argument("data", type=Path, nargs="+")
    for command in (fitting, label):
        command.add_argument("data", type=Path)
    make.add_argument("--images", type=int, required=True)
    make.add_argument("--viewers", type=int, required=True)
    make.add_argument("--seed", type=int, default=0)
    fitting.add_argument("--deal", required=True, metavar="NAME")
    label.add_argument("--real", type=Path, metavar="SET", help="of runs/list_photos.py")
    count.add_argument("--model", action="append", default=[], metavar="NAME=FILE.onnx")
    options = parser.parse_args()
    if options.command == "make":
        entries = [e for data in options.data for e in read_manifest(data / "manifest.csv")]
        deal(entries, options.images, options.viewers, options.seed, options.out)
    elif options.command == "collect":
        print(f"{collect(options.out, DAMAGED_GRADES)} grades: {DAMAGED_GRADES}")
    elif options.command == "fit":
        write_sight(fit(options.data, DAMAGED_GRADES, options.deal))
    elif options.command == "label":
        write_labels(options.data, options.real)
    else:
        print_counts(options.data, options.model)


def write_sight(sight: Mapping[str, VisibleLoss]) -> None:
    """Put the constants into the package, and print them, the most forgiving first."""
    store_calibration(replace(stored_calibration(), sight=dict(sight)))
    for kind, (factor, power) in sorted(sight.items(), key=lambda item: item[1]):
        print(f"{kind:18} {factor:.2f} x loss ** {power:.2f}")


def write_labels(data: Path, real: Path | None) -> None:
    """Write blended.csv of a set, and of the photos as people took them."""
    counted = read_counted(data, read_manifest(data / "manifest.csv"))
    write_manifest(data / "blended.csv", blend(counted, read_damaged(DAMAGED_GRADES, data)))
    if real:
        photos = read_manifest(real / "manifest.csv", labels="optional")
        write_manifest(real / "graded.csv", label_real(photos, grades_file(real)))


def print_counts(sets: Sequence[Path], models: Sequence[str]) -> None:
    """Print the tables of several sets."""
    for data in sets:
        entries = read_manifest(data / "manifest.csv")
        scores = score_models(entries, models)
        print(f"\n{data.name}\n")
        graded = read_damaged(DAMAGED_GRADES, data)
        for line in compare_damaged(entries, graded, scores, read_counted(data, entries)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
