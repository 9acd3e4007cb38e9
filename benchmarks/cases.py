"""Inputs that failed users once: does each give the score of the same picture in a plain form?

    MSPT_DETECTOR=yunet.onnx python -m benchmarks.cases DIR

In:   a folder of pictures and videos `X.*`, beside some of them the same picture in a plain form:
      `X.as.png`, `X.as-srgb.png`, `X.as.mp4`, or `X.crop.jpg` for a face within a larger photo.
Out:  a line per input: its score, or what its row says; exit code 1 if one falls short.

Where there is such a twin, the score must be the twin's within .005, or the row must name what is
wrong; a video's first frame within .01, a face in a large photo within .02. Without a twin every
row must be ok, or say why.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import mspt
from mspt.errors import ImageError
from mspt.image.formats import RAW_SUFFIXES, SUFFIXES
from mspt.inference.faces import FaceSearch
from mspt.inference.scorer import Scorer
from mspt.inference.video import is_video, open_shots, score_shots
from mspt.results import QualityScore

TWINS = (".as", ".as-srgb", ".crop")
WITHIN, VIDEO_WITHIN, FACE_WITHIN = 0.005, 0.01, 0.02


def twin_of(path: Path) -> Path | None:
    """Return the same picture in a plain form, if there is one."""
    found = (p for mark in TWINS for p in sorted(path.parent.glob(f"{path.stem}{mark}.*")))
    return next(found, None)


def rows_of(scorer: Scorer, path: Path, *, is_within: bool) -> list[QualityScore]:
    """Return the rows of a picture, of a photo's largest face, or of a video's frames."""
    faces = FaceSearch(max_faces=1) if is_within else None
    if is_video(str(path)):
        shots = score_shots(scorer, open_shots([str(path)], 0.5), workers=1, faces=None)
        return [row for _, rows in shots for row in rows]
    return next(iter(scorer.score_photos([path], faces=faces)))


def judge(scorer: Scorer, path: Path) -> tuple[str, bool]:
    """Return what an input gives, and whether that is right."""
    twin = twin_of(path)
    is_within = twin is not None and ".crop" in twin.name
    rows = rows_of(scorer, path, is_within=is_within)
    first, errors = rows[0], [row.error for row in rows if row.score is None]
    if first.score is None or errors:
        return f"{first.status}: {errors[0]}", all(errors) and len(errors) == len(rows)
    said = f"{first.score:.4f}" + (f", {len(rows)} rows" if len(rows) > 1 else "")
    if twin is None:
        return said, True
    wanted = rows_of(scorer, twin, is_within=is_within)[0].score or 0.0
    within = FACE_WITHIN if is_within else VIDEO_WITHIN if is_video(str(path)) else WITHIN
    return f"{said}; {twin.name} {wanted:.4f}", abs(first.score - wanted) <= within


def inputs(folder: Path) -> Iterator[Path]:
    """Yield what is to be tried, in order."""
    for path in sorted(folder.iterdir()):
        is_twin = any(path.stem.endswith(mark) for mark in TWINS)
        known = path.suffix.lower() in SUFFIXES | RAW_SUFFIXES | {".jxl"} or is_video(path.name)
        if path.is_file() and known and not is_twin:
            yield path


def main(folder: Path) -> int:
    """Try everything and print; return how much falls short."""
    scorer = mspt.load(backend="onnxruntime")
    short = 0
    for path in inputs(folder):
        try:
            said, is_right = judge(scorer, path)
        except ImageError as error:
            said, is_right = str(error), True
        short += not is_right
        print(f"{'ok   ' if is_right else 'SHORT'}  {path.name:28} {said}")
    print(f"{short} fall short")
    return short


if __name__ == "__main__":
    sys.exit(bool(main(Path(sys.argv[1]))))
