"""Does mild damage lower the score of real photos, always?

    python -m benchmarks.evidence.mild FACES.csv [--model base ...] [--split test] [--all-licences]

In:   the CSV of photos (set, usage, split); real ones whose licence allows release, at most 60, or
      all of a split.
Out:  for each model and kind of damage: the mean change of the score, and the share of photos whose
      score rises by more than .01. Damage is done to the 640 px square, noise to every channel.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.evidence.options import read_options
from benchmarks.evidence.tables import table
from numpy.random import Generator

from mspt.arrays import RGB
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.inference.scorer import Scorer
from mspt.synthesis import pixel_ops
from mspt.synthesis.pixel_ops import resize_to_side

SIDE_PX = 640
RAISED = 0.01
PHOTOS = 60
Damage = Callable[[RGB, Generator], RGB]
Changes = dict[str, np.ndarray]  # of the score of each photo, by kind of damage


def _noise(sd: float) -> Damage:
    return lambda rgb, rng: pixel_ops.add_gaussian_noise(rgb, sd, rng, grey=False)


def _smaller(side_px: int) -> Damage:
    return lambda rgb, rng: resize_to_side(rgb, side_px)


DAMAGE: Mapping[str, Damage] = {
    "noise sd 2": _noise(2),
    "noise sd 4": _noise(4),
    "noise sd 8": _noise(8),
    "320 px": _smaller(320),
    "240 px": _smaller(240),
    "over-sharpened": lambda rgb, rng: pixel_ops.sharpen(rgb, 2.0, 1.5),
    "JPEG quality 30": lambda rgb, rng: pixel_ops.recompress(rgb, "JPEG", 30),
    "blur sigma 1.5": lambda rgb, rng: pixel_ops.convolve(
        rgb, pixel_ops.gaussian_kernel(1.5, 1.5, 0)
    ),
}


def read_photos(listed: Path, split: str, *, all_licences: bool = False) -> dict[str, RGB]:
    """Return real photos of a split as 640 px squares, by file.

    Args:
        listed: the CSV of photos.
        split: of the photos.
        all_licences: take them all; otherwise PHOTOS of those that released weights may learn from,
            evenly over the list.
    """
    with listed.open(encoding="utf-8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["set"], row["split"]) == ("wild", split)
            and (all_licences or row["usage"] == "permissive")
        ]
    count = len(rows) if all_licences else min(PHOTOS, len(rows))
    places = np.linspace(0, len(rows) - 1, count).round().astype(int)
    files = [rows[i]["file"] for i in places]
    return {file: _read_square(listed.parent / file) for file in files}


def _read_square(path: Path) -> RGB:
    return resize_to_side(crop_centre_square(read_rgb(path)), SIDE_PX)


def damage_all(name: str, photos: Sequence[RGB]) -> list[RGB]:
    """Return the photos with one kind of damage, each from a random stream of its own."""
    return [DAMAGE[name](photo, np.random.default_rng(i)) for i, photo in enumerate(photos)]


def score_changes(scorer: Scorer, photos: Sequence[RGB]) -> Changes:
    """Return by how much each kind of damage changes each photo's score, (N,) a kind."""
    before = _scores(scorer, photos)
    return {name: _scores(scorer, damage_all(name, photos)) - before for name in DAMAGE}


def _scores(scorer: Scorer, photos: Sequence[RGB]) -> np.ndarray:
    return np.array([result.score for result in scorer.score_many(photos)], dtype=float)


def mild_table(changes: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[str]:
    """Yield mean change and share raised; `changes` by model, by kind of damage."""
    rows = ([name, *(_cell(of[name]) for of in changes.values())] for name in DAMAGE)
    yield from table(["damage", *changes], rows)


def _cell(change: np.ndarray) -> str:
    return f"{change.mean():+.3f}, {np.mean(change > RAISED):.0%}"


def measure(photos: Sequence[RGB], models: Mapping[str, str]) -> dict[str, Changes]:
    """Return the changes of all photos, by model, by kind of damage."""
    return {
        name: score_changes(Scorer(model, backend="onnxruntime"), photos)
        for name, model in models.items()
    }


def main() -> None:
    """Score and print the table."""
    options = read_options(__doc__, all_licences="photos, too, that may not be learnt from")
    photos = read_photos(options.photos_csv, options.split, all_licences=options.all_licences)
    models = {model: model for model in options.models}
    for line in mild_table(measure(list(photos.values()), models)):
        print(line)


if __name__ == "__main__":
    main()
