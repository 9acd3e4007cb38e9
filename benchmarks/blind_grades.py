"""The labels miss that an undamaged photo has faults of its own: photos to be graded blindly.

    python benchmarks/blind_grades.py make data/release-val out/grades
    python benchmarks/blind_grades.py collect data/release-val out/grades ann.csv bob.csv
    python benchmarks/blind_grades.py count data/release-val [--model base-6=FILE.onnx ...]
    python benchmarks/blind_grades.py label data/release-val [--grades FILE]

A label of `mspt synthesize` says what damage took from a photo; the photo before it always has 1.
Photos without labels, as people took them (runs/list_photos.py), can be graded and counted, too.
`make`:    Draws all undamaged photos of a set, and some damaged versions, in drawn order. Writes
           `grades-NN.png`, the key `key.csv`, which nobody who grades should open, and
           `grades.csv`, of which every viewer fills in a copy: 100 for a flawless portrait, 90 for
           faults to be found on close inspection only, 75 for plain but mild ones, 50 poor, 25
           bad, 0 useless. What counts is the photo (sharpness, noise, exposure, colour, light,
           compression, too much editing), not the face, the pose or what is behind it; that a
           photo is gray is no fault. With `--again` the photos are those graded before, for more
           viewers.
`collect`: Writes benchmarks/grades/release-val.csv, by the name of the set, all viewers' grades
           beside each other, a row per image: `file`, and a column for each viewer. With `--again`
           new viewers' columns come after those that are there.
`count`:   How viewers, labels and models agree (SRCC) on undamaged and on damaged photos, and how
           models agree with all labels of the set, as they are and as `label` writes them; where
           both `base` and a `base-6` are counted, by how much the one is above the other, paired.
           Intervals: 95 %, bootstrap over people.
`label`:   Writes DATA/graded.csv, a manifest in which every label is multiplied by what the photo's
           own faults leave: the root of the mean grade of it undamaged over 90, at most 1. The
           root, since faults show less beside damage (EXPERIMENTS.md).
"""

import argparse
import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
from evidence_tables import say
from PIL import Image, ImageDraw

import mspt
from mspt.evaluation.evaluate import Estimate, Indices, estimate, score_entries
from mspt.evaluation.manifest import Entry, read_manifest, write_manifest
from mspt.evaluation.metrics import Vector, srcc
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.synthesis.pixel_ops import resize_square
from mspt.synthesis.synthesize import PRISTINE

DAMAGED_MOS = (0.4, 0.95)  # of damaged versions: as good as undamaged photos may look
FAULTLESS = 90.0  # grade of a photo whose faults only close inspection finds
MASKING = 0.5  # power: beside damage a photo's own faults count less; as fitted in EXPERIMENTS.md
GRADES = Path(__file__).parent / "grades"
COLUMNS, ROWS, THUMB_PX, CAPTION_PX = 3, 2, 512, 24
UNDAMAGED, DAMAGED = "undamaged", "damaged"

Grades = Mapping[str, Mapping[str, float]]  # of each viewer, 0..100 by the image's name


def draw_photos(entries: Sequence[Entry], seed: int, damaged_every: int = 1) -> list[Entry]:
    """Return all undamaged photos and a damaged version of each n-th person, shuffled.

    Photos without mos, as people took them, are all drawn.
    """
    rng = np.random.default_rng(seed)
    versions: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.source != PRISTINE and DAMAGED_MOS[0] <= entry.mos <= DAMAGED_MOS[1]:
            versions.setdefault(entry.group, []).append(entry)
    drawn = [e for e in entries if _is_undamaged(e)]
    drawn += [
        those[rng.integers(len(those))]
        for number, those in enumerate(versions.values())
        if number % damaged_every == 0
    ]
    return [drawn[i] for i in rng.permutation(len(drawn))]


def photos_again(entries: Sequence[Entry], grades: Grades, seed: int) -> list[Entry]:
    """Return the photos that were graded before, shuffled.

    Raises:
        SystemExit: if the set lacks one.
    """
    before = sorted(next(iter(grades.values())))
    by_name = {entry.path.name: entry for entry in entries}
    if missing := [name for name in before if name not in by_name]:
        raise SystemExit(f"{missing[0]}: graded before, but not in this set; is it the same one?")
    return [by_name[before[i]] for i in np.random.default_rng(seed).permutation(len(before))]


def write_photos(photos: Sequence[Entry], out_dir: Path) -> None:
    """Write the sheets, the key, and the list to be filled in; never over a key in use."""
    if (out_dir / "key.csv").exists():
        raise SystemExit(f"{out_dir / 'key.csv'}: exists, and grades may go by it; name another")
    out_dir.mkdir(parents=True, exist_ok=True)
    per_sheet = COLUMNS * ROWS
    for start in range(0, len(photos), per_sheet):
        sheet = draw_sheet(photos[start : start + per_sheet], start + 1)
        sheet.save(out_dir / f"grades-{start // per_sheet + 1:02d}.png")
    names = [(number, photo.path.name) for number, photo in enumerate(photos, 1)]
    write_csv(out_dir / "key.csv", ("photo", "file"), names)
    write_csv(out_dir / "grades.csv", ("photo", "grade"), [(n, "") for n, _ in names])


def draw_sheet(
    photos: Sequence[Entry], first: int, columns: int = COLUMNS, px: int = THUMB_PX
) -> Image.Image:
    """Return photos side by side, numbered from `first` on."""
    cell_height = px + CAPTION_PX
    sheet = Image.new("RGB", (columns * px, -(-len(photos) // columns) * cell_height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, photo in enumerate(photos):
        row, column = divmod(index, columns)
        left, top = column * px, row * cell_height
        draw.text((left, top), f"photo {first + index}", fill="black", font_size=18)
        thumb = Image.fromarray(resize_square(crop_centre_square(read_rgb(photo.path)), px))
        sheet.paste(thumb, (left, top + CAPTION_PX))
    return sheet


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a list for or from viewers, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of such a list."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def collect_grades(
    out_dir: Path, viewers: Sequence[Path], grades: Path, *, again: bool = False
) -> None:
    """Write the grades of several viewers beside each other, in the order of the files' names.

    Args:
        out_dir: of `write_photos`.
        viewers: a file by each.
        grades: the file to write.
        again: keep what earlier viewers said of the same photos.

    Raises:
        SystemExit: if a viewer left a photo out or wrote something else than 0 to 100, if two have
            one name, or if earlier grades would be lost or are of other photos.
    """
    if grades.exists() != again:
        what = "holds grades; --again adds viewers to them" if grades.exists() else "is not there"
        raise SystemExit(f"{grades}: {what}")
    rows = {row["file"]: row for row in read_csv(grades)} if again else {}
    names = [name for name in next(iter(rows.values()), {}) if name != "file"]
    names += [path.stem for path in viewers]
    if len(set(names)) < len(names):
        raise SystemExit(f"{', '.join(names)}: name each file by its viewer")
    key = read_csv(out_dir / "key.csv")
    if again and {row["file"] for row in key} != set(rows):
        raise SystemExit(f"{out_dir / 'key.csv'} and {grades} are of different photos")
    for viewer in viewers:
        given = read_viewer(viewer, [row["photo"] for row in key])
        for row, grade in zip(key, given, strict=True):
            rows.setdefault(row["file"], {"file": row["file"]})[viewer.stem] = grade
    table = [(file, *(row[name] for name in names)) for file, row in sorted(rows.items())]
    write_csv(grades, ("file", *names), table)


def read_viewer(path: Path, photos: Sequence[str]) -> list[str]:
    """Return what a viewer wrote of each photo.

    Raises:
        SystemExit: if there is nothing, or no number from 0 to 100.
    """
    if not path.exists():
        raise SystemExit(f"{path}: is not there; every viewer writes one")
    given = {row["photo"]: row["grade"].strip() for row in read_csv(path)}
    for photo in photos:
        text = given.get(photo, "")
        if not text.replace(".", "", 1).isdigit() or float(text) > 100:
            raise SystemExit(f"{path}: photo {photo} has grade {text!r}; write 0 to 100")
    return [given[photo] for photo in photos]


def read_grades(path: Path) -> Grades:
    """Return what `collect_grades` wrote."""
    rows = read_csv(path)
    return {v: {row["file"]: float(row[v]) for row in rows} for v in rows[0] if v != "file"}


def grades_file(data: Path) -> Path:
    """Return where the grades of a set's photos are kept."""
    return GRADES / f"{data.resolve().name}.csv"


def mean_grades(grades: Grades) -> dict[str, float]:
    """Return the mean grade of each image."""
    first = next(iter(grades.values()))
    return {name: float(np.mean([of[name] for of in grades.values()])) for name in first}


def count_faults(entries: Sequence[Entry], grades: Grades) -> list[Entry]:
    """Return all entries, each label multiplied by what its photo's own faults leave.

    Raises:
        SystemExit: if a photo was not graded.
    """
    quality = quality_of_photos(entries, grades)
    return [replace(e, mos=round(e.mos * quality[photo_of(e.path.name)], 4)) for e in entries]


def quality_of_photos(entries: Sequence[Entry], grades: Grades) -> dict[str, float]:
    """Return what each photo's own faults leave of its labels, 0..1.

    Raises:
        SystemExit: if a photo was not graded.
    """
    mean = mean_grades(grades)
    undamaged = {photo_of(e.path.name): e.path.name for e in entries if _is_undamaged(e)}
    if missing := [e.path for e in entries if undamaged.get(photo_of(e.path.name)) not in mean]:
        raise SystemExit(f"{missing[0]}: no grade of it undamaged; are these the set's grades?")
    return {p: min(1.0, mean[name] / FAULTLESS) ** MASKING for p, name in undamaged.items()}


def find_grades(data: Path, entries: Sequence[Entry]) -> Grades | None:
    """Return the grades of a set if all its undamaged photos have some."""
    if not (path := grades_file(data)).exists():
        return None
    grades = read_grades(path)
    graded = next(iter(grades.values()))
    is_whole = all(e.path.name in graded for e in entries if _is_undamaged(e))
    return grades if is_whole else None


def _is_undamaged(entry: Entry) -> bool:
    return entry.source == PRISTINE or math.isnan(entry.mos)


def photo_of(name: str) -> str:
    """Return which photo an image was made from: its name up to the version's number."""
    return name.rpartition("_")[0]


@dataclass(frozen=True)
class Graded:
    """Photos and a value of each, by the name of the viewer, `label` or the model."""

    entries: Sequence[Entry]
    values: Mapping[str, Vector]

    def parts(self) -> dict[str, "Graded"]:
        """Return undamaged and damaged photos apart; those as people took them by source."""
        names = [
            e.source if math.isnan(e.mos) else UNDAMAGED if e.source == PRISTINE else DAMAGED
            for e in self.entries
        ]
        rows = {name: np.flatnonzero(np.array(names) == name) for name in dict.fromkeys(names)}
        return {name: self._part(rows[name]) for name in sorted(rows, reverse=True)}

    def _part(self, rows: Indices) -> "Graded":
        return Graded([self.entries[i] for i in rows], {n: v[rows] for n, v in self.values.items()})

    def agreement(self, first: str, second: str) -> str:
        """Return the SRCC of two values; "" if one of them is always the same."""
        a, b = self.values[first], self.values[second]
        if np.ptp(a) == 0 or np.ptp(b) == 0:  # what is constant correlates with nothing
            return ""
        return say(self._estimate(lambda i: srcc(a[i], b[i])))

    def gain(self, target: str, model: str, rival: str) -> str:
        """Return by how much a model's SRCC with the target is above another's, paired."""
        t, a, b = (self.values[name] for name in (target, model, rival))
        return say(self._estimate(lambda i: srcc(a[i], t[i]) - srcc(b[i], t[i])), "+.3f")

    def _estimate(self, statistic: Callable[[Indices], float]) -> Estimate:
        return estimate(statistic, [e.group for e in self.entries], 1000)


def successors(models: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield models and those they follow: `base` and `base-6`."""
    return ((new, old) for new, old in permutations(models, 2) if old.startswith(f"{new}-"))


def score_models(entries: Sequence[Entry], more: Sequence[str]) -> dict[str, Vector]:
    """Return the scores of `base`, `fast` and more models, each `NAME=FILE.onnx`."""
    return {
        name: score_entries(entries, mspt.load(model)) for name, model in named_models(more).items()
    }


def named_models(more: Sequence[str]) -> dict[str, str]:
    """Return `base`, `fast` and others, each given as `NAME=FILE.onnx`.

    Raises:
        SystemExit: if one is given otherwise.
    """
    if wrong := [model for model in more if "=" not in model]:
        raise SystemExit(
            f"--model {wrong[0]}: write NAME=FILE.onnx; base and fast are counted anyway"
        )
    return {"base": "base", "fast": "fast"} | dict(model.split("=", 1) for model in more)


def compare_graded(
    entries: Sequence[Entry], grades: Grades, scores: Mapping[str, Vector]
) -> Iterator[str]:
    """Yield the table of how viewers, labels and models agree on the graded photos."""
    mean = mean_grades(grades)
    rows = [i for i, e in enumerate(entries) if e.path.name in mean]
    shown = [entries[i] for i in rows]
    viewers = {v: np.array([of[e.path.name] for e in shown]) for v, of in grades.items()}
    others = {model: score[rows] for model, score in scores.items()}
    if not any(math.isnan(e.mos) for e in shown):
        counted = count_faults(entries, grades)
        labels = {"label": entries, "label with the photo's faults": counted}
        others = {name: mos_of(e)[rows] for name, e in labels.items()} | others
    means = {"mean grade": np.array([mean[e.path.name] for e in shown])}
    whole = Graded(shown, viewers | means | others)
    parts = whole.parts() if len(others) > len(scores) else {"all": whole} | whole.parts()
    yield f"| SRCC of | {' | '.join(f'{n} ({len(p.entries)})' for n, p in parts.items())} |"
    yield "|---" * (len(parts) + 1) + "|"
    for first, second in [*combinations(viewers, 2), *(("mean grade", name) for name in others)]:
        cells = [
            "" if name == UNDAMAGED and second.startswith("label") else p.agreement(first, second)
            for name, p in parts.items()
        ]
        yield f"| {first}, {second} | {' | '.join(cells)} |"
    for model, rival in successors(scores):
        cells = [p.gain("mean grade", model, rival) for p in parts.values()]
        yield f"| {model} over {rival} | {' | '.join(cells)} |"


def compare_labels(
    entries: Sequence[Entry], grades: Grades, scores: Mapping[str, Vector]
) -> Iterator[str]:
    """Yield the table of how models agree with both sorts of labels."""
    both = (entries, count_faults(entries, grades))
    yield f"| SRCC with all {len(entries)} labels | as they are | with the photo's faults |"
    yield "|---|---|---|"
    for model, score in scores.items():
        found = [Graded(e, {"mos": mos_of(e), model: score}).agreement("mos", model) for e in both]
        yield f"| {model} | {' | '.join(found)} |"


def mos_of(entries: Sequence[Entry]) -> Vector:
    """Return the labels, (N,)."""
    return np.array([entry.mos for entry in entries])


def main() -> None:
    """Make, collect, count or label."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make, collect = commands.add_parser("make"), commands.add_parser("collect")
    count, label = commands.add_parser("count"), commands.add_parser("label")
    for command in (make, collect, count, label):
        command.add_argument("data", type=Path)
    for command in (make, collect):
        command.add_argument("out", type=Path)
        command.add_argument("--again", action="store_true", help="photos graded before")
    make.add_argument("--seed", type=int, default=0)
    make.add_argument(
        "--damaged-every", type=int, default=1, metavar="N", help="of N people one damaged version"
    )
    collect.add_argument("viewers", type=Path, nargs="+", help="copies of grades.csv, filled in")
    count.add_argument("--model", action="append", default=[], metavar="NAME=FILE.onnx")
    label.add_argument("--grades", type=Path, help="of another set of the same photos")
    options = parser.parse_args()
    if options.command == "make" and options.again and options.damaged_every != 1:
        parser.error("--again shows the photos graded before: leave out --damaged-every")
    if options.command == "collect":
        grades_path = grades_file(options.data)
        collect_grades(options.out, options.viewers, grades_path, again=options.again)
        return
    labels = "needed" if options.command == "label" else "optional"
    entries = read_manifest(options.data / "manifest.csv", labels=labels)
    if options.command == "make":
        if options.again:
            photos = photos_again(entries, read_grades(grades_file(options.data)), options.seed)
        else:
            photos = draw_photos(entries, options.seed, options.damaged_every)
        write_photos(photos, options.out)
        print(f"{len(photos)} photos: {options.out}; fill in copies of grades.csv")
    elif options.command == "label":
        of_photos = read_grades(options.grades or grades_file(options.data))
        write_manifest(options.data / "graded.csv", count_faults(entries, of_photos))
    else:
        print_counts(entries, read_grades(grades_file(options.data)), options.model)


def print_counts(entries: Sequence[Entry], grades: Grades, more: Sequence[str]) -> None:
    """Print how `base`, `fast` and more models agree with a set's grades, and with its labels."""
    scores = score_models(entries, more)
    for line in compare_graded(entries, grades, scores):
        print(line, flush=True)
    if not any(math.isnan(e.mos) for e in entries):
        print()
        for line in compare_labels(entries, grades, scores):
            print(line, flush=True)


if __name__ == "__main__":
    main()
