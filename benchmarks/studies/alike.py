"""How far apart are perceptual hashes of different people, and of one photo saved anew?

    python -m benchmarks.studies.alike FACES.csv [--photos 1200] [--copies 120]

In:   the CSV of photos, columns file, identity and split.
Out:  how many of 256 bits differ between photos of different people (least, and quantiles), the
      share of photos that groups of `alike` find again after each kind of change, and how often
      copies of photos that no model learnt from score above their original, and by how much.
"""

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, islice
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

import mspt
from mspt.image.decode import read_rgb
from mspt.scores.groups import ALIKE_BITS, CLOSE, HASH_SIDE
from mspt.synthesis.pixel_ops import add_gaussian_noise, recompress

Picture = Image.Image
LEVELS = (0, 0.001, 0.01, 0.1, 1, 50)  # per cent of the pairs


def _save_anew(picture: Picture, quality: int = 30) -> Picture:
    return Image.fromarray(recompress(np.asarray(picture), "JPEG", quality))


def _add_noise(picture: Picture) -> Picture:
    rng = np.random.default_rng(0)
    return Image.fromarray(add_gaussian_noise(np.asarray(picture), 12, rng, grey=False))


def _cut_edge(picture: Picture) -> Picture:
    width, height = picture.size
    return picture.crop((width // 25, height // 25, width, height))


CHANGES: Mapping[str, Callable[[Picture], Picture]] = {
    "JPEG quality 30": _save_anew,
    "half the side": lambda picture: picture.reduce(2),
    "blur, sigma 3 px": lambda picture: picture.filter(ImageFilter.GaussianBlur(3)),
    "noise, sd 12": _add_noise,
    "a quarter brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.25),
    "4 % cut off two edges": _cut_edge,
}


COPIES: Mapping[str, Callable[[Picture], Picture]] = {
    "JPEG quality 90": lambda picture: _save_anew(picture, 90),
    "three quarters of the side, JPEG quality 90": lambda picture: _save_anew(
        picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)), 90
    ),
    "half the side": lambda picture: picture.reduce(2),
    "twice the side": lambda picture: picture.resize((picture.width * 2, picture.height * 2)),
}


def _hash(picture: Picture) -> np.ndarray:
    return imagehash.phash(picture, hash_size=HASH_SIDE).hash.ravel()


def measure(listed: Path, count: int) -> Iterator[str]:
    """Yield the lines to print."""
    with listed.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = np.random.default_rng(0).permutation(len(rows))[:count]
    people = [rows[place]["identity"] for place in chosen]
    pictures = [Image.fromarray(read_rgb(listed.parent / rows[place]["file"])) for place in chosen]
    hashes = np.stack([_hash(picture) for picture in pictures])
    others = [
        int((hashes[a] != hashes[b]).sum())
        for a, b in combinations(range(len(people)), 2)
        if people[a] != people[b]
    ]
    bits = np.percentile(others, LEVELS).round().astype(int).tolist()
    values = dict(zip(LEVELS, bits, strict=True))
    yield f"{len(others)} pairs of different people: bits that differ, by per cent: {values}"
    for name, change in CHANGES.items():
        moved = [
            int((_hash(change(picture)) != own).sum())
            for picture, own in zip(pictures, hashes, strict=True)
        ]
        found = np.mean(np.array(moved) <= ALIKE_BITS)
        yield f"{name}: {found:.1%} found again, at most {max(moved)} bits differ"


def compare_copies(listed: Path, count: int) -> Iterator[str]:
    """Yield a line for each model and kind of copy; of photos of 480 px or more."""
    with listed.open(encoding="utf-8", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["split"] in ("val", "test")]
    order = np.random.default_rng(0).permutation(len(names))
    pictures = (Image.fromarray(read_rgb(listed.parent / names[place])) for place in order)
    chosen = list(islice((picture for picture in pictures if min(picture.size) >= 480), count))
    for model in ("base", "fast"):
        scorer = mspt.load(model)
        whole = np.array([scorer.score(picture).score for picture in chosen], dtype=float)
        for name, copy in COPIES.items():
            copies = np.array([scorer.score(copy(picture)).score for picture in chosen])
            above = copies.astype(float) - whole
            yield (
                f"{model}, {name}: of {len(above)} copies {np.mean(above > 0):.0%} score above "
                f"their original, {np.mean(above > CLOSE):.0%} by more than {CLOSE:g}; "
                f"19 of 20 by at most {np.quantile(above, 0.95):.3f}"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos_csv", type=Path)
    parser.add_argument("--photos", type=int, default=1200)
    parser.add_argument("--copies", type=int, default=120)
    options = parser.parse_args()
    for line in measure(options.photos_csv, options.photos):
        print(line)
    for line in compare_copies(options.photos_csv, options.copies):
        print(line)


if __name__ == "__main__":
    main()
