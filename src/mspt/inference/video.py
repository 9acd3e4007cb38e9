"""Frames of videos as photos: sampled at regular times, scored in order, the best ones kept.

In:   a video file, and how many seconds lie between two frames.
Out:  Shot: a named frame, or why there is none. The name is the file's with a media fragment,
      `clip.mp4#t=1.500` (W3C Media Fragments URI 1.0), seconds from the first frame.

Decoding is PyAV's, extra [video].
"""

import heapq
import io
import math
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mspt.arrays import RGB
from mspt.errors import (
    ConfigError,
    DecodeError,
    ImageError,
    ImageTooLargeError,
    MissingExtraError,
)
from mspt.inference.faces import FaceSearch
from mspt.inference.scorer import Scorer
from mspt.inference.shards import is_shard, read_members
from mspt.inference.video_whole import Clock, Packets
from mspt.limits import MAX_PIXELS
from mspt.results import QualityScore

FRAME_MARK = "#t="  # between a video's name and a frame's time
NOT_OPENED = "a video; add --every TIME to score its frames"
SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".3gp", ".3g2"}
    | {".mpg", ".mpeg", ".vob", ".wmv", ".asf", ".flv", ".ogv", ".mxf"}
)
_MAX_FRAME_PIXELS = 2**26  # 8K is half of it; a decoder holds up to some twenty frames
_LONGEST_NAME = 255  # bytes of a file's name, on most systems


@dataclass(frozen=True, slots=True)
class Shot:
    """One thing to score, under the name that its rows bear."""

    name: str
    image: str | bytes | RGB  # a photo's path, what a shard holds of it, or a frame
    error: ImageError | None = None  # why there is no frame


def parse_interval(text: str) -> float:
    """Read `0.5s`, `500ms` or `0.5` as seconds.

    Raises:
        ConfigError: if it is of another form or not positive.
    """
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)(ms|s)?", text.strip())
    seconds = float(found[1]) / (1000 if found[2] == "ms" else 1) if found else 0.0
    if seconds <= 0:
        raise ConfigError(f"--every must be a time above 0, such as 0.5s or 500ms, got {text!r}")
    return seconds


def is_video(path: str) -> bool:
    """Tell by its suffix whether a path is taken for a video."""
    return Path(path).suffix.lower() in SUFFIXES


def split_frame(name: str) -> tuple[str, float] | None:
    """Return a frame's video and its seconds from the first frame; None for all other names."""
    video, mark, time = name.rpartition(FRAME_MARK)
    if not mark or not is_video(video):
        return None
    is_time = re.fullmatch(r"\d+\.\d+", time)
    return (video, float(time)) if is_time else None


def open_shots(
    paths: Sequence[str], every_s: float | None, max_pixels: int = MAX_PIXELS
) -> Iterator[Shot]:
    """Yield photos as they are, shards member by member, and videos frame by frame.

    Args:
        paths: of all of them.
        every_s: seconds from one frame to the next; None: a row says how to open a video.
        max_pixels: of a frame, at most 2^26; a video of larger ones is `too_large`.

    Raises:
        MissingExtraError: at once, if there is a video to open and PyAV is not installed.
    """
    if every_s is not None and any(map(is_video, paths)):
        _import_av()
    return _open_one_by_one(paths, every_s, min(max_pixels, _MAX_FRAME_PIXELS))


def _open_one_by_one(
    paths: Sequence[str], every_s: float | None, max_pixels: int
) -> Iterator[Shot]:
    for path in paths:
        if is_shard(path):
            yield from _open_shard(path)
            continue
        if not is_video(path):
            yield Shot(path, path)
            continue
        if every_s is None:
            yield Shot(path, path, DecodeError(NOT_OPENED))
            continue
        try:
            for time_s, rgb in _read_frames(path, every_s, max_pixels):
                yield Shot(f"{path}{FRAME_MARK}{time_s:.3f}", rgb)
        except ImageError as error:
            yield Shot(path, path, error)


def _open_shard(path: str) -> Iterator[Shot]:
    try:
        with Path(path).open("rb") as file:
            for name, data in read_members(file):
                yield Shot(f"{path}/{name}", data)
    except (DecodeError, OSError) as error:
        yield Shot(path, path, DecodeError(str(error)))


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
    """Score shots in order, in parallel; yield each with its results.

    Raises:
        As `Scorer.score_photos`, at once.
    """
    waiting: deque[Shot] = deque()

    def images() -> Iterator[str | bytes | RGB]:
        for shot in shots:
            waiting.append(shot)
            if shot.error is None:
                yield shot.image

    scored = scorer.score_photos(images(), workers=workers, faces=faces)
    return _join(waiting, scored, scorer.label)


def _join(
    waiting: deque[Shot], scored: Iterator[list[QualityScore]], label: str
) -> Iterator[tuple[Shot, list[QualityScore]]]:
    """Bring shots and results together again, failures in their places."""

    def pass_failures() -> Iterator[tuple[Shot, list[QualityScore]]]:
        while waiting and (error := waiting[0].error):
            shot = waiting.popleft()
            yield shot, [QualityScore.failed(shot.name, error, label)]

    for results in scored:
        yield from pass_failures()
        shot = waiting.popleft()
        yield shot, [replace(result, path=shot.name) for result in results]
    yield from pass_failures()


class BestShots:
    """Keeps the frames with the highest scores; of a frame with faces, its largest face counts."""

    def __init__(self, count: int) -> None:
        """Keep `count` of them."""
        self._count = count
        # A heap, the worst first; as PNG, since pixels of a short video may take gigabytes.
        self._kept: list[tuple[float, int, str, bytes]] = []
        self._seen = 0

    def offer(self, shot: Shot, results: list[QualityScore]) -> None:
        """Keep a frame if it is among the best so far; photos and members are files already."""
        score = results[0].score
        if not self._count or score is None or isinstance(shot.image, str | bytes):
            return
        self._seen += 1
        rank = (score, -self._seen)  # of equals the earlier one
        if len(self._kept) == self._count:
            if rank < self._kept[0][:2]:
                return
            heapq.heappop(self._kept)
        heapq.heappush(self._kept, (*rank, shot.name, _to_png(shot.image)))

    def write(self, folder: Path) -> list[Path]:
        """Write them as PNG, the best first; return their paths.

        The folder is one that `check_best_folder` has found fit.
        """
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for rank, (_, _, name, png) in enumerate(sorted(self._kept, reverse=True), 1):
            video, _, time_s = name.rpartition(FRAME_MARK)
            begin, end = f"{rank:02d}-", f"-{time_s}s.png"
            room = _LONGEST_NAME - len(begin + end)
            stem = os.fsencode(Path(video).stem)[:room].decode("utf-8", "ignore")
            written.append(folder / f"{begin}{stem}{end}")
            written[-1].write_bytes(png)
        return written


def _to_png(rgb: RGB) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG", compress_level=1)  # four times as fast, a fifth larger
    return buffer.getvalue()


def check_best_folder(folder: Path) -> None:
    """Make the folder for the best frames; refuse one that holds another run's.

    Raises:
        ConfigError: if it is not empty.
        OSError: if it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ConfigError(
            f"{folder}: is not empty, and its pictures would be taken for this run's; empty it, "
            "or name another folder by --best-to"
        )


def _read_frames(
    path: str, every_s: float, max_pixels: int = _MAX_FRAME_PIXELS
) -> Iterator[tuple[float, RGB]]:
    """Yield the first frame at or after each multiple of `every_s`, upright.

    Raises:
        DecodeError: if the file is no video, ends before its header says, or lacks frames in
            between; the frames that there are have come before.
        ImageTooLargeError: before a frame of more than `max_pixels` is decoded.
    """
    clock = Clock(every_s)
    with _open_video(path) as container:
        if not container.streams.video:
            raise DecodeError("holds no video")
        stream = container.streams.video[0]
        aspect = _pixel_aspect(stream)
        _check_frame_size(stream, aspect, max_pixels)
        stream.codec_context.options = {"max_pixels": str(max_pixels)}  # of later frames, too
        stream.thread_type = "AUTO"
        packets, decoded = Packets(stream.index), 0
        for packet in container.demux():
            packets.note(packet)
            for frame in packet.decode() if packet.stream.index == stream.index else ():
                decoded += not frame.is_corrupt
                if frame.time is None:
                    continue
                shown_s = float(frame.duration * frame.time_base) if frame.duration else 0.0
                if clock.is_due(frame.time, shown_s):
                    _check_frame_size(frame, aspect, max_pixels)
                    yield clock.time_s, _to_rgb(frame, aspect)
        expected = stream.frames or packets.whole  # not every header counts frames
        clock.check_whole(_duration_of(container), all_came=decoded == expected)


def _check_frame_size(shown: Any, aspect: float, max_pixels: int) -> None:  # noqa: ANN401
    """Refuse a stream or a frame that is too large as it is stored, or as it would be shown."""
    wide = round(max(1.0, aspect) * shown.width)
    if wide * shown.height > max_pixels:
        raise ImageTooLargeError(
            f"frames of {wide} x {shown.height} px are more than the {max_pixels} pixels allowed"
        )


@contextmanager
def _open_video(path: str) -> Iterator[Any]:
    """Open a file as a video; FFmpeg's and the disk's errors become DecodeErrors."""
    av = _import_av()
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # reading a pipe may never end
            raise DecodeError("not a regular file")
        # An open file, since FFmpeg takes a name with a colon for an address.
        with open(path, "rb") as file, av.open(file, metadata_errors="replace") as container:
            yield container
    except ImageError:
        raise
    except Exception as error:  # FFmpeg's, the disk's, and whatever a damaged file makes PyAV raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DecodeError(f"cannot be read as a video: {reason}") from error


def _import_av() -> Any:  # noqa: ANN401 - the module
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("video", error) from error
    return av


def _duration_of(container: Any) -> float:  # noqa: ANN401 - av's container
    """Return the seconds of pictures that the header tells, else of anything; 0 if it does not."""
    stream = container.streams.video[0] if container.streams.video else None
    if stream and stream.duration:
        return float(stream.duration * stream.time_base)
    # Matroska tells when the last picture ends, by a clock that may start late.
    start = max(0, container.start_time or 0)
    return max(0, (container.duration or 0) - start) / 1_000_000


def _pixel_aspect(stream: Any) -> float:  # noqa: ANN401 - av's stream
    """Return how many times as wide as high a pixel is: 1 but for DVDs, DV and old phones."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return float(ratio) if ratio and 0.1 < ratio < 10 else 1.0


def _to_rgb(frame: Any, pixel_aspect: float) -> RGB:  # noqa: ANN401 - av's VideoFrame
    """Return a frame as players show it: square pixels, turned and mirrored."""
    wide = max(1, round(frame.width * pixel_aspect))
    rgb: RGB = frame.reformat(wide, frame.height, "rgb24", interpolation="BICUBIC").to_ndarray()
    return np.ascontiguousarray(_display(rgb, _display_matrix(frame)))


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:  # noqa: ANN401
    """Return a, b, c, d of the matrix that puts pixel (x, y) at (a x + c y, b x + d y)."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data)[:20], dtype=np.int32)
            return int(a), int(b), int(c), int(d)
    return 1, 0, 0, 1


def _display(rgb: RGB, matrix: tuple[int, int, int, int]) -> RGB:
    """Turn and mirror by the nearest of the eight ways to lay a picture down."""
    a, b, c, d = matrix
    if abs(a) < abs(b):  # rows become columns
        rgb = rgb.transpose(1, 0, 2)
        a, d = c, b
    if a < 0:
        rgb = rgb[:, ::-1]
    if d < 0:
        rgb = rgb[::-1]
    return rgb


def _count_frames(path: str, every_s: float) -> int:
    try:
        with _open_video(path) as container:
            return math.ceil(_duration_of(container) / every_s) or 1
    except DecodeError:
        return 1  # the row that will say so
