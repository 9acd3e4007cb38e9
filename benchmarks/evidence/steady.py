"""How far do scores move under changes that people barely see? Mirrored, a pixel on, resized.

In:   a model, pictures and whose they are.
Out:  for each change the mean absolute change of the score and its 95 % point.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from benchmarks.evidence.tables import table
from PIL import Image, ImageOps

import mspt
from mspt.evaluation.evaluate import Estimate, estimate
from mspt.evaluation.metrics import Vector

MIRRORED, SHIFTED = "mirrored", "shifted by 1 px"
RESAMPLES = 1000

Change = Callable[[Image.Image], Image.Image | bytes]


@dataclass(frozen=True)
class Moves:
    """How far scores move under a change."""

    images: int
    mean: Estimate
    p95: float


def changes() -> dict[str, Change]:
    """Return what should not move a score."""

    def shifted(image: Image.Image) -> Image.Image:
        padded = np.pad(np.asarray(image), ((0, 0), (1, 0), (0, 0)), mode="symmetric")
        return Image.fromarray(padded[:, : image.width])

    def smaller(image: Image.Image) -> Image.Image:
        size = (round(0.9 * image.width), round(0.9 * image.height))
        return image.resize(size, Image.Resampling.LANCZOS)

    def resaved(image: Image.Image) -> bytes:
        file = BytesIO()
        image.save(file, "PNG")
        return file.getvalue()

    return {
        MIRRORED: ImageOps.mirror,
        SHIFTED: shifted,
        "resized by 0.9 (Lanczos)": smaller,
        "saved as PNG": resaved,
    }


def measure_moves(
    model: str,
    images: Sequence[Image.Image],
    people: Sequence[str],
    changes: Mapping[str, Change],
) -> dict[str, Moves]:
    """Measure, by change, how far the scores of images move under what people barely see."""
    scorer = mspt.load(model, backend="onnxruntime")

    def scores(change: Change) -> Vector:
        return np.array([scorer.score(change(image)).score for image in images])

    before = scores(lambda image: image)
    found = {}
    for name, change in changes.items():
        moved = np.abs(scores(change) - before)
        mean = estimate(lambda i, m=moved: float(m[i].mean()), people, RESAMPLES)
        found[name] = Moves(images=len(moved), mean=mean, p95=float(np.percentile(moved, 95)))
    return found


def steady_table(moves: Mapping[str, Mapping[str, Moves]]) -> Iterator[str]:
    """Yield the table; `moves` by model, by change."""
    first = next(iter(moves.values()))
    count = first[MIRRORED].images
    rows = (
        [change, *(f"{of[change].mean.value:.4f}, {of[change].p95:.4f}" for of in moves.values())]
        for change in first
    )
    yield from table([f"change ({count} images)", *(f"{m}: mean, 95 %" for m in moves)], rows)
