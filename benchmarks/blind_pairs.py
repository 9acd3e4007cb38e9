"""Do eyes that know neither labels nor scores find equal labels equal? Pairs to look at.

    python benchmarks/blind_pairs.py make data/release-val out/pairs
    python benchmarks/blind_pairs.py count out/pairs     # once out/pairs/answers.csv is filled in

`make`:  Both images of a pair have nearly the same mos and show the same person where possible.
         One is damaged by a kind whose label was made milder by eye, the other by no such kind;
         in a control group neither is. Sides and order are drawn. Writes `pairs-NN.png`, the key
         `key.csv`, which nobody who answers should open, and `answers.csv` to be filled in:
         which image looks worse, left, right or same.
`count`: per kind, how often it looked worse or better than its partner, and the share of worse
         among those decided, with a 95 % interval (Wilson). Near .5 the label is right, above
         it is too mild, below too harsh.
"""

import argparse
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy.stats import binomtest

from mspt.evaluation.manifest import Entry, read_manifest
from mspt.image.decode import read_rgb
from mspt.synthesis.filters import resize_square
from mspt.synthesis.labels import LENIENCY
from mspt.synthesis.synthesize import PRISTINE, kinds_of, read_records

MOS = (0.25, 0.75)  # beyond them any two images look alike
LARGEST_GAP = 0.03  # of mos within a pair
CONTROL = "control"
PAIRS_PER_SHEET, THUMB_PX, GAP_PX = 4, 400, 24


class Pair(NamedTuple):
    """Two images of about equal labels; the one in question stands on `side`."""

    group: str  # its kind, or `control`
    side: str  # left or right
    questioned: Entry
    partner: Entry

    @property
    def images(self) -> tuple[Entry, Entry]:
        """Return them from left to right."""
        pair = (self.questioned, self.partner)
        return pair if self.side == "left" else (pair[1], pair[0])


def draw_pairs(data_dir: Path, per_group: int, seed: int) -> list[Pair]:
    """Return up to `per_group` pairs of each kind in question, and of the control, shuffled."""
    rng = np.random.default_rng(seed)
    entries = read_manifest(data_dir / "manifest.csv")
    entries = [e for e in entries if e.degradation and MOS[0] <= e.mos <= MOS[1]]
    entries = [entries[i] for i in rng.permutation(len(entries))]
    mild = _milder_images(data_dir)
    plain = [e for e in entries if e.path.resolve() not in mild]
    groups: dict[str, list[Entry]] = {CONTROL: plain}
    for entry in entries:
        if entry.path.resolve() in mild:
            groups.setdefault(entry.degradation, []).append(entry)
    pairs: list[Pair] = []
    used: set[Path] = set()
    for group in sorted(groups):
        full = len(pairs) + per_group
        for entry in groups[group]:
            if len(pairs) == full:
                break
            partner = None if entry.path in used else _closest(entry, plain, used)
            if partner:
                used |= {entry.path, partner.path}
                pairs.append(Pair(group, str(rng.choice(["left", "right"])), entry, partner))
    return [pairs[i] for i in rng.permutation(len(pairs))]


def _milder_images(data_dir: Path) -> set[Path]:
    """Return the images that hold a kind whose label was made milder by eye."""
    records = read_records(data_dir)
    if not records:
        raise SystemExit(f"{data_dir}: no records.jsonl; give a set that `mspt synthesize` made")
    return {
        (data_dir / record["path"]).resolve()
        for record in records
        if record["source"] != PRISTINE and not LENIENCY.keys().isdisjoint(kinds_of(record))
    }


def _closest(entry: Entry, others: Iterable[Entry], used: set[Path]) -> Entry | None:
    """Return a partner of another kind with nearly the same label: of the same person, or any."""
    near = [
        other
        for other in others
        if other.path not in used
        and other.degradation != entry.degradation
        and abs(other.mos - entry.mos) <= LARGEST_GAP
    ]
    return min(
        near,
        key=lambda other: (other.group != entry.group, abs(other.mos - entry.mos)),
        default=None,
    )


def write_pairs(pairs: Sequence[Pair], out_dir: Path) -> None:
    """Write the sheets, the key, and the answers to be filled in; never over answers given."""
    answers = out_dir / "answers.csv"
    if answers.exists():
        raise SystemExit(f"{answers}: exists and may hold answers; name another folder")
    out_dir.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(pairs), PAIRS_PER_SHEET):
        sheet = _draw_sheet(pairs[start : start + PAIRS_PER_SHEET], start + 1)
        sheet.save(out_dir / f"pairs-{start // PAIRS_PER_SHEET + 1:02d}.png")
    numbered = list(enumerate(pairs, 1))
    write_csv(
        out_dir / "key.csv",
        ("pair", "group", "side", "mos", "partner", "partner_mos"),
        [
            (n, p.group, p.side, p.questioned.mos, p.partner.degradation, p.partner.mos)
            for n, p in numbered
        ],
    )
    write_csv(answers, ("pair", "worse"), [(n, "") for n, _ in numbered])


def _draw_sheet(pairs: Sequence[Pair], first: int) -> Image.Image:
    width = 2 * 2 * THUMB_PX + GAP_PX
    row_height = THUMB_PX + GAP_PX
    sheet = Image.new("RGB", (width, -(-len(pairs) // 2) * row_height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, pair in enumerate(pairs):
        row, column = divmod(index, 2)
        left, top = column * (2 * THUMB_PX + GAP_PX), row * row_height
        draw.text((left, top), f"pair {first + index}", fill="black", font_size=18)
        for place, entry in enumerate(pair.images):
            thumb = Image.fromarray(resize_square(read_rgb(entry.path), THUMB_PX))
            sheet.paste(thumb, (left + place * THUMB_PX, top + GAP_PX))
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


def count_answers(out_dir: Path) -> dict[str, dict[str, int]]:
    """Return for each group how often the image in question looked worse, better, the same."""
    key, answers = (
        {row["pair"]: row for row in read_csv(out_dir / name)}
        for name in ("key.csv", "answers.csv")
    )
    counts: dict[str, dict[str, int]] = {}
    for number, answer in answers.items():
        worse = answer["worse"].strip().lower()
        if worse not in {"left", "right", "same", ""}:
            raise SystemExit(
                f"{out_dir / 'answers.csv'}: pair {number}: {worse!r}; write left, right or same"
            )
        if number not in key:
            raise SystemExit(f"{out_dir / 'answers.csv'}: pair {number} is not in key.csv")
        if not worse:
            continue  # not looked at
        count = counts.setdefault(key[number]["group"], {"worse": 0, "better": 0, "same": 0})
        side = key[number]["side"]
        count["same" if worse == "same" else "worse" if worse == side else "better"] += 1
    return counts


def print_counts(counts: dict[str, dict[str, int]]) -> None:
    """Print the table."""
    print(
        "| kind in question | worse | better | same | worse among decided |\n|---|---|---|---|---|"
    )
    for group, count in sorted(counts.items()):
        worse, decided = count["worse"], count["worse"] + count["better"]
        share = "-"
        if decided:
            interval = binomtest(worse, decided).proportion_ci(method="wilson")
            share = f"{worse / decided:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
        print(f"| {group} | {worse} | {count['better']} | {count['same']} | {share} |")


def main() -> None:
    """Make or count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make")
    make.add_argument("data", type=Path)
    make.add_argument("out", type=Path)
    make.add_argument("--per-group", type=int, default=14)
    make.add_argument("--seed", type=int, default=0)
    commands.add_parser("count").add_argument("out", type=Path)
    options = parser.parse_args()
    if options.command == "count":
        print_counts(count_answers(options.out))
        return
    pairs = draw_pairs(options.data, options.per_group, options.seed)
    if not pairs:
        raise SystemExit(f"{options.data}: no two images of nearly equal mos in {MOS}")
    write_pairs(pairs, options.out)
    print(f"{len(pairs)} pairs: {options.out}; fill in {options.out / 'answers.csv'}")


if __name__ == "__main__":
    main()
