"""Frames of videos as photos: sampled at regular times, scored in order, the best ones kept.

In:   a video file, and how many seconds lie between two frames.
Out:  Shot: a named frame, or why there is none. The name is the file's with a media fragment,
      `clip.mp4#t=1.500` (W3C Media Fragments URI 1.0), seconds from the first frame.

Decoding is PyAV's, extra [video].
"""

import heapq
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mspt.errors import ConfigError, DecodeError, ImageError, MissingExtraError
from mspt.image.crop import RGB
from mspt.inference.scorer import FaceSearch, Scorer
from mspt.results import QualityScore

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})


@dataclass(frozen=True, slots=True)
class Shot:
    """One thing to score, under the name that its rows bear."""

    name: str
    image: str | RGB  # a photo's path, or a frame
    error: ImageError | None = None  # why there is no frame


def parse_interval(text: str) -> float:
    """Read `0.5s`, `500ms` or `0.5` as seconds.

    Raises:
        ConfigError: if it is of another form or not positive.
    """
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)(ms|s)?", text.strip())
    seconds = float(found[1]) / (1000 if found[2] == "ms" else 1) if found else 0.0
    if seconds <= 0:
        raise ConfigError(f"--every {text!r} is no time above 0 such as 0.5s or 500ms")
    return seconds


def is_video(path: str) -> bool:
    """Tell by its suffix whether a path is taken for a video."""
    return Path(path).suffix.lower() in SUFFIXES


def open_shots(paths: Iterable[str], every_s: float | None) -> Iterator[Shot]:
    """Yield photos as they are, and videos frame by frame if `every_s` is given.

    Raises:
        MissingExtraError: if there is a video to open and PyAV is not installed.
    """
    for path in paths:
        if every_s is None or not is_video(path):
            yield Shot(path, path)
            continue
        try:
            for time_s, rgb in _read_frames(path, every_s):
                yield Shot(f"{path}#t={time_s:.3f}", rgb)
        except DecodeError as error:
            yield Shot(path, path, error)


def count_shots(paths: Iterable[str], every_s: float | None) -> int:
    """Return how many shots there will be, about: a video's length is what its header says."""
    return sum(
        1 if every_s is None or not is_video(path) else _count_frames(path, every_s)
        for path in paths
    )


def score_shots(
    scorer: Scorer,
    shots: Iterable[Shot],
    *,
    workers: int | None = None,
    faces: FaceSearch | None = None,
) -> Iterator[tuple[Shot, list[QualityScore]]]:
    """Score shots in order, in parallel; yield each with its results."""
    waiting: deque[Shot] = deque()

    def images() -> Iterator[str | RGB]:
        for shot in shots:
            waiting.append(shot)
            if shot.error is None:
                yield shot.image

    def pass_failures() -> Iterator[tuple[Shot, list[QualityScore]]]:
        while waiting and (error := waiting[0].error):
            shot = waiting.popleft()
            yield shot, [QualityScore.failed(shot.name, error, scorer.label)]

    for results in scorer.score_photos(images(), workers=workers, faces=faces):
        yield from pass_failures()
        shot = waiting.popleft()
        yield shot, [replace(result, path=shot.name) for result in results]
    yield from pass_failures()


class BestShots:
    """Keeps the frames with the highest scores; of a frame with faces, its largest face counts."""

    def __init__(self, count: int) -> None:
        """Keep `count` of them."""
        self._count = count
        self._kept: list[tuple[float, int, str, RGB]] = []  # a heap, the worst first
        self._seen = 0

    def offer(self, shot: Shot, results: list[QualityScore]) -> None:
        """Keep a frame if it is among the best so far; photos are files already."""
        score = results[0].score
        if not self._count or score is None or isinstance(shot.image, str):
            return
        self._seen += 1
        entry = (score, -self._seen, shot.name, shot.image)  # of equals the earlier one
        if len(self._kept) < self._count:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def write(self, folder: Path) -> list[Path]:
        """Write them as PNG, the best first; return their paths."""
        from PIL import Image

        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for rank, (_, _, name, rgb) in enumerate(sorted(self._kept, reverse=True), 1):
            video, _, time_s = name.rpartition("#t=")
            written.append(folder / f"{rank:02d}-{Path(video).stem}-{time_s}s.png")
            Image.fromarray(rgb).save(written[-1])
        return written


def _read_frames(path: str, every_s: float) -> Iterator[tuple[float, RGB]]:
    """Yield the first frame at or after each multiple of `every_s`, upright.

    Raises:
        DecodeError: if the file is no video or is damaged; frames before the damage have come.
    """
    av = _import_av()
    first: float | None = None
    wanted = 0.0
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise DecodeError("holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                if frame.time is None:
                    continue
                first = frame.time if first is None else first
                time_s = frame.time - first
                if time_s + 1e-6 >= wanted:
                    yield time_s, _to_rgb(frame)
                    wanted = (math.floor(time_s / every_s + 1e-6) + 1) * every_s
    except (av.error.FFmpegError, OSError) as error:
        raise DecodeError(f"cannot be read as a video: {error.strerror or error}") from error
    if first is None:
        raise DecodeError("holds no frame")


def _to_rgb(frame: Any) -> RGB:  # noqa: ANN401 - av's VideoFrame
    rgb = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90)  # counterclockwise, to upright
    return np.ascontiguousarray(np.rot90(rgb, turns))


def _count_frames(path: str, every_s: float) -> int:
    av = _import_av()
    try:
        with av.open(path) as container:
            return math.ceil((container.duration or 0) / av.time_base / every_s) or 1
    except (av.error.FFmpegError, OSError):
        return 1  # the row that will say so


def _import_av() -> Any:  # noqa: ANN401 - the module
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("video", error) from error
    return av
