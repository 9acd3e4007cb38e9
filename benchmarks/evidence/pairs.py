"""Do eyes see mild damage, and do they mind? Photos beside their damaged selves, judged blind.

    python -m benchmarks.evidence.pairs ask FACES.csv --out out/pairs [--split test ...]
    python -m benchmarks.evidence.pairs collect out/pairs labels/pairs.csv
    python -m benchmarks.evidence.pairs tell FACES.csv labels/pairs.csv [--model base ...]

`ask`:     Draws each real photo of mild.py and its damaged self side by side, the left one by
           chance, and deals all pairs once a pass to so many graders: OUT/pass1-grader1/pair001.png
           and on. OUT/INSTRUCTIONS.txt is all that a grader reads, OUT/key.csv is what no grader
           opens. Each fills OUT/pass1-grader1/answers.csv: `pair,better` (left, right or same).
`collect`: Writes `split,file,damage,grader,better`, better being photo, damaged or same. A grader
           who says left far more or less often than its opinions explain has a habit: that ends it
           with a line that says so, and the folder goes to another grader.
`tell`:    For each kind of damage: the share of photos that most graders find better as they were,
           better damaged, or neither; and how many of the first a model scores higher damaged.

The graders of labels/pairs.csv are passes of one vision-language model, not people.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.evidence import mild
from benchmarks.evidence.tables import table
from labels.grade import GRADES, begin_deal, hands, read_csv, write_csv
from PIL import Image, ImageDraw

from mspt.arrays import RGB

_HABIT = 3.0  # standard deviations: by chance, one grader in 370
ANSWERS = GRADES.parent / "pairs.csv"
KINDS = ("over-sharpened", "noise sd 2", "320 px")
CAPTION_PX, GAP_PX = 24, 8
PHOTO, DAMAGED, SAME = "photo", "damaged", "same"
Verdicts = Mapping[str, Mapping[str, str]]  # what most graders say, by kind, by file

INSTRUCTIONS = """\
A sheet shows one photo of a person twice, left and right. One of them may have been processed.
Say which is better as a picture: `left`, `right`, or `same` where you see no difference that
matters. Sides are drawn by chance. Look at hair, eyes, skin, edges and plain areas, first left,
then right, before you decide.

What counts: detail that is really there, grain and noise, halos and harsh edges, blocks, softness.
Neither more punch nor more smoothness is better by itself: ask which one you would rather keep as
the photo of this person. Judge by eye alone: no program measures anything.
"""


def deal(
    photos: Mapping[str, Mapping[str, RGB]], out: Path, *, graders: int, passes: int, seed: int
) -> int:
    """Write sheets, the instructions and the key; `photos` by split, by file. Return the pairs."""
    begin_deal(out, INSTRUCTIONS)
    pairs = list(_pairs(photos))
    rng = np.random.default_rng(seed)
    key = []
    for folder, drawn in hands(len(pairs), out, graders=graders, passes=passes, rng=rng):
        for place, i in enumerate(drawn, 1):
            split, file, kind, photo, damaged = pairs[i]
            swapped = bool(rng.random() < 0.5)
            sides = (damaged, photo) if swapped else (photo, damaged)
            _draw(folder / f"pair{place:03d}.png", place, *sides)
            left = DAMAGED if swapped else PHOTO
            key.append((folder.name, place, split, file, kind, left))
    write_csv(out / "key.csv", ("grader", "pair", "split", "file", "damage", "left"), key)
    return len(pairs)


def _pairs(
    photos: Mapping[str, Mapping[str, RGB]],
) -> Iterator[tuple[str, str, str, RGB, RGB]]:
    for split, squares in photos.items():
        for kind in KINDS:
            damaged = mild.damage_all(kind, list(squares.values()))
            for (file, photo), other in zip(squares.items(), damaged, strict=True):
                yield split, file, kind, photo, mild.resize_to_side(other, mild.SIDE_PX)


def _draw(out: Path, number: int, left: RGB, right: RGB) -> None:
    width = 2 * mild.SIDE_PX + GAP_PX
    sheet = Image.new("RGB", (width, mild.SIDE_PX + CAPTION_PX), "white")
    ImageDraw.Draw(sheet).text((4, 1), f"pair {number}: left, right", fill="black", font_size=18)
    sheet.paste(Image.fromarray(left), (0, CAPTION_PX))
    sheet.paste(Image.fromarray(right), (mild.SIDE_PX + GAP_PX, CAPTION_PX))
    sheet.save(out, compress_level=1)


def collect(asked: Path, answers: Path) -> int:
    """Write what all graders said, by photo; return how much there is."""
    rows = []
    key = read_csv(asked / "key.csv")
    for grader in sorted({entry["grader"] for entry in key}):
        given = read_csv(asked / grader / "answers.csv")
        said = {row["pair"].strip(): row["better"].strip() for row in given}
        pairs = [(entry, said.get(entry["pair"], "")) for entry in key if entry["grader"] == grader]
        for entry, answer in pairs:
            if answer not in ("left", "right", "same"):
                sys.exit(f"{grader}: pair {entry['pair']} has {answer!r}, not left, right or same")
            better = SAME if answer == SAME else _shown(entry, answer)
            rows.append((entry["split"], entry["file"], entry["damage"], grader, better))
        _check_habit(grader, pairs)
    write_csv(answers, ("split", "file", "damage", "grader", "better"), sorted(rows))
    return len(rows)


def _shown(entry: Mapping[str, str], side: str) -> str:
    """Return what a side of a sheet showed, PHOTO or DAMAGED."""
    if side == "left":
        return entry["left"]
    return PHOTO if entry["left"] == DAMAGED else DAMAGED


def _check_habit(grader: str, pairs: Sequence[tuple[Mapping[str, str], str]]) -> None:
    """End with a line if a grader said left far more or less often than its opinions explain.

    Its opinion of a kind of damage is the share of its answers that prefer the photo.
    """
    left, expected, variance = 0, 0.0, 0.0
    for kind in KINDS:
        own = [(e, side) for e, side in pairs if e["damage"] == kind and side != SAME]
        share = sum(_shown(e, side) == PHOTO for e, side in own) / max(1, len(own))
        left += sum(side == "left" for _, side in own)
        expected += sum(share if e["left"] == PHOTO else 1 - share for e, _ in own)
        variance += len(own) * share * (1 - share)
    if abs(left - expected) > _HABIT * variance**0.5:
        sys.exit(f"{grader}: says left {left} times instead of {expected:.0f}; ask another grader")


def verdicts(answers: Path, split: str) -> Verdicts:
    """Return what most graders say of each photo of a split; where none leads, `same`."""
    return {
        kind: {file: _lead(counted) for file, counted in of_file.items()}
        for kind, of_file in _votes(answers, split).items()
    }


def agreement(answers: Path, split: str) -> dict[str, float]:
    """Return how often two graders of the same pair say the same, 0..1, by kind of damage."""
    return {
        kind: sum(_alike(counted) for counted in of_file.values())
        / sum(_couples(counted.total()) for counted in of_file.values())
        for kind, of_file in _votes(answers, split).items()
    }


def _votes(answers: Path, split: str) -> dict[str, dict[str, Counter[str]]]:
    votes: dict[str, dict[str, Counter[str]]] = {kind: {} for kind in KINDS}
    for row in read_csv(answers):
        if row["split"] == split:
            votes[row["damage"]].setdefault(row["file"], Counter())[row["better"]] += 1
    return votes


def _alike(counted: Counter[str]) -> int:
    return sum(_couples(votes) for votes in counted.values())


def _couples(votes: int) -> int:
    return votes * (votes - 1) // 2


def _lead(counted: Counter[str]) -> str:
    (first, most), *others = counted.most_common()
    return SAME if others and others[0][1] == most else first


def pairs_table(
    told: Verdicts, files: Sequence[str], changes: Mapping[str, mild.Changes]
) -> Iterator[str]:
    """Yield the verdicts of each kind, and which photos models score higher; `changes` by model."""
    head = ["damage", "photos", "better as it was", "no difference", "better damaged"]
    head += [f"`{model}` raises, of the first" for model in changes]
    rows = []
    for kind in KINDS:
        of = np.array([told[kind][file] for file in files])
        shares = [f"{np.mean(of == verdict):.0%}" for verdict in (PHOTO, SAME, DAMAGED)]
        worse = of == PHOTO
        raised = [np.sum(by[kind][worse] > mild.RAISED) for by in changes.values()]
        rows.append([kind, f"{len(files)}", *shares, *(f"{n} of {worse.sum()}" for n in raised)])
    yield from table(head, rows)


def main() -> None:
    """Ask, collect or tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    ask, take, tell = (commands.add_parser(name) for name in ("ask", "collect", "tell"))
    ask.add_argument("photos_csv", type=Path)
    ask.add_argument("--out", type=Path, required=True)
    ask.add_argument("--split", action="append", dest="splits")
    ask.add_argument("--graders", type=int, default=8, help="who share the pairs of a pass")
    ask.add_argument("--passes", type=int, default=3, help="how often each pair is judged")
    ask.add_argument("--seed", type=int, default=0)
    take.add_argument("asked", type=Path)
    take.add_argument("answers", type=Path)
    tell.add_argument("photos_csv", type=Path)
    tell.add_argument("answers", type=Path)
    tell.add_argument("--split", default="test")
    tell.add_argument("--model", action="append", dest="models")
    options = parser.parse_args()
    if options.command == "collect":
        print(f"{collect(options.asked, options.answers)} answers: {options.answers}")
        return
    if options.command == "ask":
        photos = {
            split: mild.read_photos(options.photos_csv, split)
            for split in options.splits or ["test"]
        }
        dealt = deal(
            photos,
            options.out,
            graders=options.graders,
            passes=options.passes,
            seed=options.seed,
        )
        print(f"{dealt} pairs, {options.passes} times: {options.out}")
        return
    squares = mild.read_photos(options.photos_csv, options.split)
    models = {model: model for model in options.models or ["base", "fast"]}
    changes = mild.measure(list(squares.values()), models)
    told = verdicts(options.answers, options.split)
    print("\n".join(pairs_table(told, list(squares), changes)))
    for kind, share in agreement(options.answers, options.split).items():
        print(f"{kind}: two graders of a pair say the same in {share:.0%}")


if __name__ == "__main__":
    main()
