"""Draw cartoon faces, so that the whole training path can run without a single photo.

    python runs/draw_smoke_faces.py data/smoke

Writes OUT_DIR/photos/*.png and OUT_DIR/photos.csv, for `mspt synthesize`. The faces differ in
colours, hair, background and texture; the last quarter of them is the val split.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

SIDE_PX = 256
COUNT = 12


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


def main(out_dir: Path) -> None:
    """Write the faces and their list."""
    (out_dir / "photos").mkdir(parents=True, exist_ok=True)
    with (out_dir / "photos.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "identity", "split"))
        for number in range(COUNT):
            name = f"photos/face{number:02d}.png"
            draw_face(np.random.default_rng(number)).save(out_dir / name)
            split = "val" if number >= COUNT * 3 // 4 else "train"
            writer.writerow((name, f"face{number:02d}", split))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
