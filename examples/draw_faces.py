"""Draw cartoon faces, so that the whole training path can run without a single photo.

    python examples/draw_faces.py data/smoke              # pristine ones, for `mspt synthesize`
    python examples/draw_faces.py data/my-faces --labelled    # damaged ones with made-up opinions

Writes OUT_DIR/photos/*.png and OUT_DIR/photos.csv. The faces differ in colours, hair, background
and texture; the last quarter of them is the val split. With --labelled each face comes blurred,
noisy and compressed to several degrees, and photos.csv has a mos from 1 to 5, as people give it;
unlabelled.csv lists more of them, most without a mos.
"""

import argparse
import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

SIDE_PX = 256
COUNT, LABELLED_COUNT = 12, 20


def draw_face(rng: Generator) -> Image.Image:
    """Draw one face over a striped background, with fine noise as skin texture."""
    side = SIDE_PX
    image = Image.new("RGB", (side, side), _color(rng, 90, 200))
    draw = ImageDraw.Draw(image)
    stripe, width = _color(rng, 40, 220), int(rng.integers(6, 20))
    for x in range(0, side, 2 * width):
        draw.rectangle((x, 0, x + width - 1, side), fill=stripe)
    tone = int(rng.integers(110, 230))
    skin = (tone, tone - 30, tone - 55)
    draw.ellipse((58, 14, 198, 170), fill=_color(rng, 10, 110))  # hair
    draw.ellipse((68, 40, 188, 218), fill=skin)
    for x in (100, 156):
        draw.ellipse((x - 14, 102, x + 14, 122), fill="white")
        draw.ellipse((x - 6, 105, x + 6, 119), fill=_color(rng, 20, 120))
        draw.ellipse((x - 3, 109, x + 3, 115), fill="black")
        draw.line((x - 16, 92, x + 16, 90), fill=_color(rng, 10, 80), width=4)
    draw.line((128, 118, 122, 150, 132, 152), fill=(tone - 40, tone - 70, tone - 95), width=3)
    draw.chord((100, 160, 156, 190), 10, 170, fill=(150, 50, 60))
    texture = rng.normal(0, 4, (side, side, 1))
    return Image.fromarray(np.clip(np.asarray(image) + texture, 0, 255).astype(np.uint8))


def _color(rng: Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.integers(low, high, size=3))
    return red, green, blue


def damage(face: Image.Image, source: str, amount: float, rng: Generator) -> Image.Image:
    """Return a face damaged the way of its source, by an amount of 0..1."""
    if source == "studio":
        return face.filter(ImageFilter.GaussianBlur(8 * amount))
    if source == "phone":
        noise = rng.normal(0, 60 * amount + 1e-9, (SIDE_PX, SIDE_PX, 3))
        return Image.fromarray(np.clip(np.asarray(face) + noise, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    face.save(buffer, "JPEG", quality=round(80 - 77 * amount))
    return Image.open(buffer)


def write_csv(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Write a table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def split_of(number: int, count: int) -> str:
    """Return the split of a face."""
    return "val" if number >= count * 3 // 4 else "train"


def draw_pristine(out_dir: Path) -> None:
    """Write the faces and their list."""
    rows: list[tuple[object, ...]] = []
    for number in range(COUNT):
        name = f"photos/face{number:02d}.png"
        draw_face(np.random.default_rng(number)).save(out_dir / name)
        rows.append((name, f"face{number:02d}", split_of(number, COUNT)))
    write_csv(out_dir / "photos.csv", ("path", "identity", "split"), rows)


def draw_labelled(out_dir: Path) -> None:
    """Write damaged faces, those with an opinion each and those mostly without."""
    count = LABELLED_COUNT
    rows = [row for number in range(count) for row in damaged_rows(out_dir, number)]
    write_csv(out_dir / "photos.csv", ("path", "mos", "source", "split", "identity"), rows)
    more = [row for number in range(count, count + 4) for row in damaged_rows(out_dir, number)]
    partly = [(row[0], row[1] if place % 2 else "") for place, row in enumerate(more)]
    write_csv(out_dir / "unlabelled.csv", ("path", "mos"), partly)


def damaged_rows(out_dir: Path, number: int) -> Iterator[tuple[object, ...]]:
    """Write one face's versions and yield their rows."""
    rng = np.random.default_rng(number)
    face = draw_face(rng)
    for source in ("studio", "phone", "web"):
        for version in range(3):
            amount = (version + rng.random()) / 3
            name = f"photos/face{number:02d}-{source}{version}.png"
            damage(face, source, amount, rng).save(out_dir / name)
            opinion = np.clip(5 - 4 * amount + rng.normal(0, 0.2), 1, 5)
            split = split_of(number, LABELLED_COUNT)
            yield name, round(float(opinion), 2), source, split, f"face{number:02d}"


def main() -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--labelled", action="store_true", help="damaged faces with a mos")
    options = parser.parse_args()
    (options.out_dir / "photos").mkdir(parents=True, exist_ok=True)
    (draw_labelled if options.labelled else draw_pristine)(options.out_dir)


if __name__ == "__main__":
    main()
