"""How far apart are perceptual hashes of different people, and of one photo saved anew?

    python -m benchmarks.studies.alike FACES.csv [--photos 1200]

In:   the CSV of photos, columns file and identity.
Out:  how many of 256 bits differ between photos of different people (least, and quantiles), and the
      share of photos that groups of `alike` find again after each kind of change.
"""

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from mspt.image.decode import read_rgb
from mspt.scores.groups import ALIKE_BITS, HASH_SIDE
from mspt.synthesis.pixel_ops import add_gaussian_noise, recompress

Picture = Image.Image
LEVELS = (0, 0.001, 0.01, 0.1, 1, 50)  # per cent of the pairs


def _save_anew(picture: Picture) -> Picture:
    return Image.fromarray(recompress(np.asarray(picture), "JPEG", 30))


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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos_csv", type=Path)
    parser.add_argument("--photos", type=int, default=1200)
    options = parser.parse_args()
    for line in measure(options.photos_csv, options.photos):
        print(line)


if __name__ == "__main__":
    main()
