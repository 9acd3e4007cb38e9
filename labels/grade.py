"""Photos graded by eyes that know nothing of them: sheets to look at, and what graders wrote.

    python -m labels.grade ask PHOTOS.csv ... --out out/asked/NAME [--where COLUMN=VALUE] [--take N]
    python -m labels.grade collect out/asked/NAME labels/grades/NAME.csv
    python -m labels.grade agree labels/grades/NAME.csv

`ask`:     Deals every photo of the lists (columns `path` or `file`) once a pass, in drawn order, to
           so many graders: OUT/pass1-grader1/sheet001.png and on, two photos a sheet as the 640 px
           squares that a model sees. OUT/INSTRUCTIONS.txt is all that a grader reads, OUT/key.csv
           is what no grader opens. Each fills OUT/pass1-grader1/grades.csv: `photo,grade`.
`collect`: Writes what they gave: `set,file,grader,grade`, where `set` is the name of the list's
           folder. A photo left out, or a grade outside 0..100, ends it with a line that says so.
`agree`:   SRCC between passes, over all photos that both graded.

The graders of the files in labels/grades are passes of one vision-language model, not people.
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mspt.evaluation.metrics import srcc
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.parallel import map_in_order, usable_cores

SQUARE_PX, CAPTION_PX, PER_SHEET = 640, 24, 2
GRADES = Path(__file__).parent / "grades"
FACES, OTHERS, UNDAMAGED = (GRADES / f"{name}.csv" for name in ("faces", "others", "undamaged"))
DAMAGED, DAMAGED_REAL = GRADES / "damaged.csv", GRADES / "damaged-real.csv"
_TAKE = 1  # second part of the seed that draws which photos are asked about

INSTRUCTIONS = """\
You grade how good photos look. A sheet shows two photos of people as 640 px squares, numbered.
Give each a grade from 0 to 100 for the quality of the photo as a picture:

  95  flawless: the face is crisp to lashes, pores and single hairs; clean; good light and colour
  85  very good: faults only close inspection finds
  75  good: mild faults, plain to see (a little soft, a little grain, slightly dull or harsh light)
  60  fair: clear faults that disturb (soft, enlarged from a small file, noisy, dark, blown out)
  45  poor     30  bad: little detail is left     15  very bad     0  useless

What counts, in about this order: detail of the face (focus, shake, smeared by noise reduction or by
editing, enlarged from few pixels), grain and colour noise, compression (blocks, ringing, banding),
light (too dark, clipped, backlit, harsh), colour (casts, faded, overdone).
What does not count: who it is, looks, age, skin colour, expression, pose, clothes, glasses,
framing, what is behind the person, black-and-white as such, whether a professional took it.
A face in the dark is judged by what is seen of it, not by whether the mood is nice.
Use the whole scale and numbers in between (58, 71, 83). Judge each photo by itself, by eye alone:
no program measures anything. Details matter: look at hair, eyes and skin before you decide.
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One photo to grade."""

    set_name: str
    file: str  # as its list names it
    path: Path


def read_lists(lists: Sequence[Path], where: Mapping[str, str]) -> list[Asked]:
    """Return the photos of all lists; a condition holds where a list has that column."""
    return [photo for path in lists for photo in _read_list(path, where)]


def _read_list(path: Path, where: Mapping[str, str]) -> Iterable[Asked]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if all(row.get(column, value) == value for column, value in where.items()):
                name = row.get("path") or row["file"]
                yield Asked(path.resolve().parent.name, name, path.parent / name)


def begin_deal(out: Path, instructions: str) -> None:
    """Make the folder of a deal, with what graders read; never that of another deal."""
    if (out / "key.csv").exists():
        sys.exit(f"{out}: holds a deal that graders may be at; name another folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / "INSTRUCTIONS.txt").write_text(instructions, encoding="utf-8")


def hands(
    count: int, out: Path, *, graders: int, passes: int, rng: np.random.Generator
) -> Iterator[tuple[Path, list[int]]]:
    """Yield each grader's new folder and share of `count` things, all of them once a pass."""
    for number in range(1, passes + 1):
        for grader, drawn in enumerate(np.array_split(rng.permutation(count), graders), 1):
            folder = out / f"pass{number}-grader{grader}"
            folder.mkdir()
            yield folder, drawn.tolist()


def deal(photos: Sequence[Asked], out: Path, *, graders: int, passes: int, seed: int) -> None:
    """Write sheets, empty lists of grades, the instructions and the key."""
    begin_deal(out, INSTRUCTIONS)
    key: list[tuple[str, int, str, str]] = []
    sheets: list[tuple[Path, Sequence[Asked], int]] = []
    rng = np.random.default_rng(seed)
    for folder, drawn in hands(len(photos), out, graders=graders, passes=passes, rng=rng):
        hand = [photos[i] for i in drawn]
        key += [(folder.name, i, p.set_name, p.file) for i, p in enumerate(hand, 1)]
        for start in range(0, len(hand), PER_SHEET):
            sheet = folder / f"sheet{start // PER_SHEET + 1:03d}.png"
            sheets.append((sheet, hand[start : start + PER_SHEET], start + 1))
    for _ in map_in_order(lambda sheet: _draw_sheet(*sheet), sheets, workers=usable_cores()):
        pass
    write_csv(out / "key.csv", ("grader", "photo", "set", "file"), key)


def _draw_sheet(out: Path, photos: Sequence[Asked], first: int) -> None:
    sheet = Image.new("RGB", (PER_SHEET * SQUARE_PX, SQUARE_PX + CAPTION_PX), "white")
    draw = ImageDraw.Draw(sheet)
    for place, photo in enumerate(photos):
        left = place * SQUARE_PX
        square = Image.fromarray(np.ascontiguousarray(crop_centre_square(read_rgb(photo.path))))
        draw.text((left + 4, 1), f"photo {first + place}", fill="black", font_size=18)
        sheet.paste(
            square.resize((SQUARE_PX, SQUARE_PX), Image.Resampling.BICUBIC), (left, CAPTION_PX)
        )
    sheet.save(out, compress_level=1)


def collect(asked: Path, grades: Path) -> int:
    """Write all grades of a deal, photo by photo; return how many there are."""
    rows = []
    given: dict[str, dict[str, str]] = {}
    for entry in read_csv(asked / "key.csv"):
        grader = entry["grader"]
        if grader not in given:
            path = asked / grader / "grades.csv"
            given[grader] = {row["photo"].strip(): row["grade"].strip() for row in read_csv(path)}
        grade = given[grader].get(entry["photo"], "")
        if not grade.replace(".", "", 1).isdigit() or float(grade) > 100:
            sys.exit(f"{grader}: photo {entry['photo']} has grade {grade!r}, not 0 to 100")
        rows.append((entry["set"], entry["file"], grader, grade))
    write_csv(grades, ("set", "file", "grader", "grade"), sorted(rows))
    return len(rows)


@dataclass(frozen=True, slots=True)
class Grade:
    """What a grader said of a photo."""

    set_name: str
    file: str
    grader: str
    value: float  # 0..100


def read_grades(path: Path) -> list[Grade]:
    """Return what `collect` wrote."""
    rows = read_csv(path)
    return [Grade(r["set"], r["file"], r["grader"], float(r["grade"])) for r in rows]


def mean_grades(grades: Iterable[Grade]) -> dict[str, float]:
    """Return the mean grade, 0..100, of each photo by its file's name."""
    of_file: dict[str, list[float]] = {}
    for grade in grades:
        of_file.setdefault(grade.file, []).append(grade.value)
    return {file: float(np.mean(values)) for file, values in of_file.items()}


def level(grades: Sequence[Grade], set_name: str) -> dict[str, list[float]]:
    """Return the grades of a set's images as if all graders used the scale alike.

    Graders get images by chance, so each grader's grades are brought to the mean and spread of all.
    """
    given = np.array([grade.value for grade in grades])
    grader = np.array([grade.grader for grade in grades])
    levelled = given.copy()
    for name in set(grader):
        own = given[grader == name]
        levelled[grader == name] = (own - own.mean()) / own.std() * given.std() + given.mean()
    found: dict[str, list[float]] = {}
    for grade, value in zip(grades, levelled.tolist(), strict=True):
        if grade.set_name == set_name:
            found.setdefault(grade.file, []).append(value)
    return found


def agreement_of_passes(grades: Sequence[Grade]) -> dict[tuple[str, str], float]:
    """Return the SRCC between every two passes of a deal."""
    of_pass: dict[str, list[Grade]] = {}
    for grade in grades:
        of_pass.setdefault(grade.grader.partition("-")[0], []).append(grade)
    sets = {grade.set_name for grade in grades}
    said = {
        name: {
            (set_name, file): values[0]
            for set_name in sets
            for file, values in level(given, set_name).items()
        }
        for name, given in of_pass.items()
    }
    found = {}
    for first, second in combinations(sorted(said), 2):
        both = sorted(said[first].keys() & said[second].keys())
        pairs = np.array([(said[first][photo], said[second][photo]) for photo in both])
        found[first, second] = srcc(pairs[:, 0], pairs[:, 1])
    return found


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table, its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main() -> None:
    """Ask or collect."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    ask, take, agree = (commands.add_parser(name) for name in ("ask", "collect", "agree"))
    ask.add_argument("lists", type=Path, nargs="+")
    ask.add_argument("--out", type=Path, required=True)
    ask.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE")
    ask.add_argument("--take", type=int, default=0, help="so many of the photos, drawn; 0: all")
    ask.add_argument("--graders", type=int, default=8, help="who share the photos of a pass")
    ask.add_argument("--passes", type=int, default=3, help="how often each photo is graded")
    ask.add_argument("--seed", type=int, default=0)
    take.add_argument("asked", type=Path)
    take.add_argument("grades", type=Path)
    agree.add_argument("grades", type=Path)
    options = parser.parse_args()
    if options.command == "agree":
        for (first, second), value in agreement_of_passes(read_grades(options.grades)).items():
            print(f"{first}, {second}: SRCC {value:.3f}")
        return
    if options.command == "collect":
        print(f"{collect(options.asked, options.grades)} grades: {options.grades}")
        return
    where = dict(condition.split("=", 1) for condition in options.where)
    photos = read_lists(options.lists, where)
    if options.take:
        chosen = np.random.default_rng([options.seed, _TAKE]).permutation(len(photos))
        photos = [photos[i] for i in sorted(chosen[: options.take])]
    deal(photos, options.out, graders=options.graders, passes=options.passes, seed=options.seed)
    print(f"{len(photos)} photos, {options.passes} times: {options.out}")


if __name__ == "__main__":
    main()
