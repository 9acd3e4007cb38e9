"""What scores look like: one face under growing damage, as a picture and as tables.

    python -m benchmarks.studies.score_ruler

Writes docs/score-ruler.jpg and the tables of docs/scores.md. The damage is Pillow's and numpy's
own, with parameters that everybody knows, applied to the 320 px face of astronaut.png.
"""

import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.evidence.pages import fill_page
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

import mspt
from mspt.inference.scorer import Scorer
from mspt.results import BANDS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/scores.md"
PICTURE = ROOT / "docs/score-ruler.jpg"
ORIGINAL = ROOT / "examples/faces/original.png"
THUMB_PX, CAPTION_PX, TITLE_PX = 150, 34, 120


def blur(face: Image.Image, radius: float) -> Image.Image:
    """Gaussian blur; the radius is its standard deviation in px."""
    return face.filter(ImageFilter.GaussianBlur(radius))


def noise(face: Image.Image, sd: float) -> Image.Image:
    """Gaussian noise of a standard deviation in grey values."""
    added = np.random.default_rng(0).normal(0, sd, (face.height, face.width, 3))
    return Image.fromarray(np.clip(np.asarray(face) + added, 0, 255).astype(np.uint8))


def jpeg(face: Image.Image, quality: float) -> Image.Image:
    """JPEG of a quality 1..100, chroma halved as usual."""
    buffer = io.BytesIO()
    face.save(buffer, "JPEG", quality=int(quality))
    return Image.open(buffer)


def downscale(face: Image.Image, side: float) -> Image.Image:
    """Reduce to `side` px; the network sees it enlarged again."""
    return face.resize((int(side), int(side)), Image.Resampling.BOX)


def darken(face: Image.Image, factor: float) -> Image.Image:
    """Multiply all values."""
    return ImageEnhance.Brightness(face).enhance(factor)


@dataclass(frozen=True)
class Ladder:
    """One kind of damage, from none to much."""

    title: str
    unit: str
    damage: Callable[[Image.Image, float], Image.Image]
    steps: Sequence[float]


LADDERS = (
    Ladder("Gaussian blur", "sd {} px", blur, (0.5, 1, 1.5, 2, 3, 5)),
    Ladder("noise", "sd {}", noise, (2, 5, 10, 15, 25, 40)),
    Ladder("JPEG", "quality {}", jpeg, (90, 70, 50, 30, 20, 10)),
    Ladder("small", "{} px", downscale, (280, 224, 160, 112, 80, 48)),
    Ladder("dark", "light x {}", darken, (0.8, 0.6, 0.45, 0.3, 0.2, 0.1)),
)


def measure(scorer: Scorer) -> dict[str, list[float]]:
    """Return the scores of every ladder, without damage first."""
    face = Image.open(ORIGINAL).convert("RGB")
    scores = {}
    for ladder in LADDERS:
        images = [face] + [ladder.damage(face, step) for step in ladder.steps]
        scores[ladder.title] = [scorer.score(image).score or 0.0 for image in images]
    return scores


def draw(scores: dict[str, list[float]]) -> None:
    """Write the picture: a row per ladder."""
    face = Image.open(ORIGINAL).convert("RGB")
    columns = 1 + max(len(ladder.steps) for ladder in LADDERS)
    row_px = THUMB_PX + CAPTION_PX
    sheet = Image.new("RGB", (TITLE_PX + columns * THUMB_PX, len(LADDERS) * row_px), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for row, ladder in enumerate(LADDERS):
        pen.text((8, row * row_px + THUMB_PX // 2), ladder.title, fill="black", font=font)
        images = [face] + [ladder.damage(face, step) for step in ladder.steps]
        captions = ["none", *(ladder.unit.format(step) for step in ladder.steps)]
        for column, (image, caption) in enumerate(zip(images, captions, strict=True)):
            corner = (TITLE_PX + column * THUMB_PX, row * row_px)
            thumb = (THUMB_PX - 4, THUMB_PX - 4)
            sheet.paste(image.resize(thumb, Image.Resampling.BICUBIC), corner)
            below = (corner[0] + 2, corner[1] + THUMB_PX)
            pen.text(below, f"{scores[ladder.title][column]:.2f}  {caption}", "black", font)
    sheet.save(PICTURE, quality=85)


def ladder_table(scores: dict[str, list[float]]) -> list[str]:
    """Return the scores of every step."""
    lines = ["| damage | score by strength |", "|---|---|"]
    for ladder in LADDERS:
        pairs = zip(ladder.steps, scores[ladder.title][1:], strict=True)
        cells = [f"{ladder.unit.format(step)}: **{score:.2f}**" for step, score in pairs]
        lines.append(f"| {ladder.title} | {' · '.join(cells)} |")
    return lines


def level_table(scores: dict[str, list[float]]) -> list[str]:
    """Return how much of each damage brings this face down to a score."""
    lines = [
        f"| score | {' | '.join(ladder.title for ladder in LADDERS)} |",
        "|---|" + "---|" * len(LADDERS),
    ]
    for level in (0.8, 0.6, 0.4, 0.2):
        cells = [where_it_falls_to(level, ladder, scores[ladder.title]) for ladder in LADDERS]
        lines.append(f"| {level} ({BANDS[round(level * 5) - 1]} below) | {' | '.join(cells)} |")
    return lines


def where_it_falls_to(level: float, ladder: Ladder, scores: Sequence[float]) -> str:
    """Return the strength at which the score first falls below a level, between two steps."""
    if scores[0] < level:
        return "already below"
    for number, (before, after) in enumerate(itertools.pairwise(scores)):
        if before >= level > after:
            if number == 0:
                return f"before {ladder.unit.format(ladder.steps[0])}"
            share = (before - level) / (before - after)
            low, high = np.log(ladder.steps[number - 1]), np.log(ladder.steps[number])
            found = float(f"{np.exp(low + share * (high - low)):.2g}")
            return ladder.unit.format(f"{found:g}")
    return "not reached"


def write_tables(scores: dict[str, list[float]], model: str) -> None:
    """Put the tables between the markers of the page; its words are written by people."""
    parts = {"levels": level_table(scores), "ladders": ladder_table(scores)}
    fill_page(PAGE, parts | {"model": [f"Model: `{model}`."]})


def main() -> None:
    """Measure, draw and write."""
    scorer = mspt.load(backend="onnxruntime")
    scores = measure(scorer)
    draw(scores)
    write_tables(scores, scorer.label)


if __name__ == "__main__":
    main()
