"""Faces found, how the crop frames them, and how far scores move when the box jitters.

    MSPT_DETECTOR=yunet.onnx python -m benchmarks.studies.detection FACES.csv

FACES.csv lists photos of one face each, with the columns file, set, split, usage (MODEL_CARD.md).
1. By set: the share of photos with at least one face, and with more than one, at several limits of
   the detector's score. In `wild`, damaged faces count: missing them loses the worst photos.
2. Framing, on the permissive pristine training photos: the centred square that training sees, in
   lengths of the box's longer side. InputSpec.face_margin makes detected faces look alike.
3. Large photos, on the permissive val photos: each put into larger canvases, its borders drawn out;
   how often its face is found, how far its score moves from that in a window of 1024 px, and the
   milliseconds of a search.
4. Jitter, on the permissive val photos: box corners moved by normal noise of 5 and 10 % of its
   sides; how far the score moves.
"""

import csv
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

import mspt
from mspt.evaluation.metrics import bootstrap_interval
from mspt.image.crop import crop_centre_square, crop_face_square
from mspt.image.decode import read_rgb
from mspt.image.preprocess import resize_rgb
from mspt.inference import faces
from mspt.inference.faces import FaceDetector, find_detector
from mspt.parallel import map_in_order, usable_cores
from mspt.results import FaceBox

LIMITS = (0.5, 0.6, 0.7, 0.8, 0.9)
DRAWS = 8  # jittered boxes per photo
CANVASES = ((2400, 1800), (4000, 3000), (8000, 6000), (12000, 1500))
LARGE_PHOTOS = 40

Row = dict[str, str]


def find_all(rows: Iterable[Row], folder: Path, detector: FaceDetector) -> list[list[FaceBox]]:
    """Return the boxes of every photo."""
    paths = [folder / row["file"] for row in rows]
    found = map_in_order(lambda path: detector.find(read_rgb(path)), paths, workers=usable_cores())
    return list(found)


def report_rates(name: str, found: list[list[FaceBox]]) -> None:
    """Print the shares at each limit."""
    counts = np.array([[sum(b.det_score >= x for b in boxes) for x in LIMITS] for boxes in found])
    cells = [
        f"{a:.1%} / {b:.1%}"
        for a, b in zip((counts > 0).mean(0), (counts > 1).mean(0), strict=True)
    ]
    print(f"| {name} ({len(found)}) | {' | '.join(cells)} |")


def report_framing(rows: list[Row], folder: Path, detector: FaceDetector) -> None:
    """Print how long the centred square is, in lengths of the box's longer side."""
    lengths = []
    for row in rows:
        square = crop_centre_square(read_rgb(folder / row["file"]))
        if boxes := detector.find(square):
            box = boxes[0]
            lengths.append(square.shape[0] / max(box.x2 - box.x1, box.y2 - box.y1))
    low, median, high = np.percentile(lengths, [5, 50, 95])
    print(
        f"square / box on {len(lengths)} photos: median {median:.2f}, 5..95 % {low:.2f}..{high:.2f}"
    )


def report_large(rows: list[Row], folder: Path, detector: FaceDetector) -> None:
    """Print what becomes of a face in larger photos."""
    scorer = mspt.load(backend="onnxruntime")
    margin = scorer.info.spec.face_margin
    print("| canvas | photos | found | score moves: mean, 90 % | ms |")
    print("|---|---|---|---|---|")
    for width, height in CANVASES:
        moves, found, times = [], 0, []
        for row in rows[:LARGE_PHOTOS]:
            photo = resize_rgb(crop_centre_square(read_rgb(folder / row["file"])), 512, 512)
            top, left = (height - 512) // 2, width // 4
            around = ((top, height - top - 512), (left, width - left - 512), (0, 0))
            canvas = np.pad(photo, around, mode="edge")  # no frame that a crop would show
            window = canvas[top - 256 : top + 768, left - 256 : left + 768]  # the same, near by
            started = time.perf_counter()
            boxes = detector.find(canvas)
            times.append(1000 * (time.perf_counter() - started))
            near = detector.find(window)
            if boxes and near:
                found += 1
                scores = [
                    scorer.score(crop_face_square(image, box, margin)).score
                    for image, box in ((canvas, boxes[0]), (window, near[0]))
                ]
                moves.append(abs(scores[0] - scores[1]))
        print(
            f"| {width} x {height} | {len(times)} | {found} | {np.mean(moves):.3f}, "
            f"{np.percentile(moves, 90):.3f} | {np.median(times):.0f} |",
            flush=True,
        )


def jitter(box: FaceBox, share: float, rng: np.random.Generator) -> FaceBox:
    """Move each edge of a box by normal noise."""
    across, down = share * (box.x2 - box.x1), share * (box.y2 - box.y1)
    x1, x2 = np.array([box.x1, box.x2]) + rng.normal(0, across, 2)
    y1, y2 = np.array([box.y1, box.y2]) + rng.normal(0, down, 2)
    return replace(box, x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2))


def report_jitter(rows: list[Row], folder: Path, detector: FaceDetector) -> None:
    """Print the mean and 95th percentile of the score's movement."""
    scorer, rng = mspt.load(), np.random.default_rng(0)
    margin = scorer.info.spec.face_margin
    moves: dict[float, list[list[float]]] = {0.05: [], 0.10: []}
    for row in rows:
        rgb = read_rgb(folder / row["file"])
        for box in detector.find(rgb)[:1]:
            score = scorer.score(crop_face_square(rgb, box, margin)).score
            for share, found in moves.items():
                moved = [jitter(box, share, rng) for _ in range(DRAWS)]
                scores = [scorer.score(crop_face_square(rgb, m, margin)).score for m in moved]
                found.append(np.abs(np.array(scores) - score).tolist())
    for share, found in moves.items():
        values = np.array(found)
        low, high = bootstrap_interval(lambda i, v=values: float(v[i].mean()), range(len(values)))
        print(
            f"edges moved by {share:.0%} (sd), {len(values)} photos x {DRAWS}: score moves by "
            f"{values.mean():.4f} [{low:.4f}, {high:.4f}], 95 % of moves below "
            f"{np.percentile(values, 95):.3f}"
        )


def main(manifest: Path) -> None:
    """Print all three."""
    folder = manifest.parent
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    permissive = [r for r in rows if r["set"] == "pristine" and r["usage"] == "permissive"]
    chosen_limit, faces.MIN_DET_SCORE = faces.MIN_DET_SCORE, min(LIMITS)
    print(f"| photos with a face / with several, by limit | {' | '.join(map(str, LIMITS))} |")
    print("|---|" + "---|" * len(LIMITS))
    lenient = FaceDetector(find_detector())
    for name in ("pristine", "wild"):
        report_rates(name, find_all([r for r in rows if r["set"] == name], folder, lenient))
    faces.MIN_DET_SCORE = chosen_limit
    detector = FaceDetector(find_detector())
    report_framing([r for r in permissive if r["split"] == "train"], folder, detector)
    report_large([r for r in permissive if r["split"] == "val"], folder, detector)
    report_jitter([r for r in permissive if r["split"] == "val"], folder, detector)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
