"""Where the faces of a photo are.    decode -> [faces] -> crop -> preprocess -> session

In:   `rgb`, uint8, (height, width, 3), upright.
Out:  FaceBox in px of that photo, largest first.
Not here: what is cut out around a box (image/crop.py).

The detector is YuNet (Wu et al. 2023, doi:10.1007/s11633-023-1423-y) through OpenCV's
FaceDetectorYN, extra [detect]. Its model file is not part of this package: `find_detector` says
where it is sought, `fetch_detector` gets it from OpenCV's model zoo.
"""

import math
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from mspt.arrays import RGB
from mspt.errors import ConfigError, DownloadError, MissingExtraError, ModelError
from mspt.files import whole_file
from mspt.image.crop import Square, crop_square
from mspt.results import FaceBox

LONG_SIDE_PX = 640  # of what the detector sees; larger photos are reduced, smaller ones are not
MIN_DET_SCORE = 0.7  # chosen by benchmarks/studies/detection.py
_MAX_OVERLAP = 0.3  # of two boxes (IoU) that are two faces: OpenCV's default
_SMALL_PX = 60  # of a face as it was seen: smaller ones are looked at again
_WINDOW = 5.5  # times a face's box: what is looked at then
_TILED_PX = 6000  # long side from which a photo is looked at in tiles, too
_LONG = 2.5  # or how many times as long as wide
_TILE_PX = 2560  # side of a tile, at most
_MOST_INSIDE = 0.5  # of a box of a tile in one of the whole photo: more is a part of that face
_CANDIDATES = 5000  # before overlapping ones are dropped: OpenCV's default

DETECTOR_VARIABLE = "MSPT_DETECTOR"
URL = (
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/"
    "face_detection_yunet_2023mar.onnx"
)
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
# Files that are known to be whole; OpenCV ends the process on some that are not.
KNOWN_SHA256 = frozenset(
    {
        SHA256,
        # yunet_n_640_640.onnx, by its authors
        "25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",
    }
)
_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSearch:
    """Score faces instead of whole photos."""

    max_faces: int | None = None  # per photo, the largest ones; None: all
    min_face_px: int = 0  # shorter side of a box; smaller faces count as absent

    def __post_init__(self) -> None:
        """Refuse what no photo could satisfy."""
        if self.max_faces is not None and self.max_faces < 1:
            raise ConfigError(f"max_faces {self.max_faces} must be at least 1")
        if self.min_face_px < 0:
            raise ConfigError(f"min_face_px {self.min_face_px} must be at least 0")

    def none_words(self) -> str:
        """Return what the row of a photo says in which no such face was found."""
        smaller = f" of at least {self.min_face_px} px" if self.min_face_px else ""
        return f"no face{smaller} was found"


class FaceDetector:
    """YuNet; safe to share between threads."""

    def __init__(self, file: Path) -> None:
        """Load the detector.

        Raises:
            MissingExtraError: if OpenCV is not installed.
            ModelError: if the file is no YuNet model.
        """
        try:
            import cv2
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("detect", error) from error
        cv2.setNumThreads(1)  # callers run in parallel
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self._cv2: Any = cv2
        self._file = file
        self._local = threading.local()  # an instance serves one thread at a time
        try:
            self.find(np.zeros((64, 64, 3), dtype=np.uint8))  # fail now, not at the first photo
        except cv2.error as error:
            raise ModelError(
                f"{file}: OpenCV cannot use it as a YuNet face detector: {error.err}"
            ) from error

    def _instance(self) -> Any:  # noqa: ANN401 - cv2 has no types
        if not hasattr(self._local, "detector"):
            # By its bytes: OpenCV opens no path with letters that are foreign to a Windows.
            self._local.detector = self._cv2.FaceDetectorYN.create(
                *("onnx", np.fromfile(self._file, np.uint8), np.empty(0, np.uint8)),
                *((32, 32), MIN_DET_SCORE, _MAX_OVERLAP, _CANDIDATES),
            )
        return self._local.detector

    def find(self, rgb: RGB) -> list[FaceBox]:
        """Return all faces, largest first, boxes clipped to the photo.

        The whole photo is looked at first, in overlapping tiles if it is very large or long. Faces
        that were seen small are looked at again from near by: their boxes come out too small else.
        """
        whole = self._find_in(rgb, _whole(rgb))
        in_tiles = (box for tile in _tiles(rgb) for box in self._find_in(rgb, tile))
        new = [b for b in in_tiles if all(_share_inside(b, w) <= _MOST_INSIDE for w in whole)]
        boxes = _without_doubles([*whole, *new])
        found = _without_doubles([self._look_closer(rgb, box) for box in boxes])
        return sorted(found, key=lambda box: (-_area(box), box.x1, box.y1))

    def _look_closer(self, rgb: RGB, box: FaceBox) -> FaceBox:
        """Return a face's box as it is seen in a window around it, if it was seen small."""
        size = max(box.x2 - box.x1, box.y2 - box.y1)
        if size * LONG_SIDE_PX / max(rgb.shape[:2]) >= _SMALL_PX:
            return box
        reach = _WINDOW * size / 2
        x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
        height, width = rgb.shape[:2]
        window = (
            max(0, round(x - reach)),
            max(0, round(y - reach)),
            min(width, round(x + reach)),
            min(height, round(y + reach)),
        )
        seen = [found for found in self._find_in(rgb, window) if _overlap(found, box) > 0]
        return max(seen, key=lambda found: _overlap(found, box), default=box)

    def _find_in(self, rgb: RGB, view: Square) -> list[FaceBox]:
        """Return the faces in a part of a photo, boxes in px of the whole photo."""
        try:
            return self._detect(rgb, view)
        except self._cv2.error as error:
            if error.code == self._cv2.Error.StsNoMem:
                raise MemoryError("OpenCV has not enough memory to find faces") from error
            raise

    def _detect(self, rgb: RGB, view: Square) -> list[FaceBox]:
        part = crop_square(rgb, view)
        height, width = part.shape[:2]
        scale = min(1.0, LONG_SIDE_PX / max(height, width))
        seen_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = np.ascontiguousarray(self._reduce(part, seen_wh)[:, :, ::-1])
        detector = self._instance()
        detector.setInputSize(seen_wh)
        rows = detector.detect(bgr)[1]
        stretch_wh = (width / seen_wh[0], height / seen_wh[1])
        boxes = [] if rows is None else [_to_box(row, stretch_wh, width, height) for row in rows]
        left, top = view[:2]
        return [_moved(b, left, top) for b in boxes if b.x2 > b.x1 and b.y2 > b.y1]

    def _reduce(self, rgb: RGB, seen_wh: tuple[int, int]) -> RGB:
        """Return what the detector sees; of large photos every second, third ... pixel first.

        Areas of at least 2 x 2 px are averaged still, and 12 megapixels need 2 instead of 40 ms.
        """
        if rgb.shape[1::-1] == seen_wh:
            return rgb
        step = max(1, min(rgb.shape[1] // (2 * seen_wh[0]), rgb.shape[0] // (2 * seen_wh[1])))
        sparse = np.ascontiguousarray(rgb[::step, ::step])
        reduced: RGB = self._cv2.resize(sparse, seen_wh, interpolation=self._cv2.INTER_AREA)
        return reduced


def _to_box(row: Any, stretch_wh: tuple[float, float], width: int, height: int) -> FaceBox:  # noqa: ANN401
    """Turn a row of YuNet (left, top, width, height, landmarks, score) into a box of the photo."""
    left, top, box_width, box_height = (float(value) for value in row[:4])
    across, down = stretch_wh
    return FaceBox(
        x1=round(min(max(left * across, 0), width), 1),
        y1=round(min(max(top * down, 0), height), 1),
        x2=round(min(max((left + box_width) * across, 0), width), 1),
        y2=round(min(max((top + box_height) * down, 0), height), 1),
        det_score=round(float(row[-1]), 4),
        landmarks=tuple(
            (round(float(x) * across, 1), round(float(y) * down, 1))
            for x, y in zip(row[4:14:2], row[5:14:2], strict=True)
        ),
    )


def _whole(rgb: RGB) -> Square:
    return 0, 0, rgb.shape[1], rgb.shape[0]


def _tiles(rgb: RGB) -> Iterator[Square]:
    """Yield overlapping tiles of a photo in which whole faces would be seen too small to be found.

    Each costs as much as the look at the whole, about 25 ms.
    """
    height, width = rgb.shape[:2]
    if max(height, width) < _TILED_PX and max(height, width) < _LONG * min(height, width):
        return
    if max(height, width) <= 2 * LONG_SIDE_PX:
        return
    side = max(min(height, width, _TILE_PX), LONG_SIDE_PX)
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield left, top, min(width, left + side), min(height, top + side)


def _starts(length: int, side: int) -> list[int]:
    """Return where tiles begin, the last one at the end, a quarter of each shared with the next."""
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (0.75 * side)) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def _without_doubles(boxes: Sequence[FaceBox]) -> list[FaceBox]:
    """Return boxes of different faces: of two that overlap the surer one."""
    kept: list[FaceBox] = []
    for box in sorted(boxes, key=lambda box: -box.det_score):
        if all(_overlap(box, other) <= _MAX_OVERLAP for other in kept):
            kept.append(box)
    return kept


def _overlap(first: FaceBox, second: FaceBox) -> float:
    """Return the intersection of two boxes over their union, 0..1."""
    shared = _shared_area(first, second)
    return shared / (_area(first) + _area(second) - shared)


def _share_inside(box: FaceBox, other: FaceBox) -> float:
    """Return the share of a box, 0..1, that lies in another."""
    return _shared_area(box, other) / _area(box)


def _shared_area(first: FaceBox, second: FaceBox) -> float:
    across = min(first.x2, second.x2) - max(first.x1, second.x1)
    down = min(first.y2, second.y2) - max(first.y1, second.y1)
    return max(0.0, across) * max(0.0, down)


def _moved(box: FaceBox, left: int, top: int) -> FaceBox:
    """Return a box of a part in px of the whole."""
    return replace(
        box,
        x1=box.x1 + left,
        y1=box.y1 + top,
        x2=box.x2 + left,
        y2=box.y2 + top,
        landmarks=tuple((x + left, y + top) for x, y in box.landmarks),
    )


def _area(box: FaceBox) -> float:
    return (box.x2 - box.x1) * (box.y2 - box.y1)


def cached_detector() -> Path:
    """Return where `fetch_detector` puts the model file: the user's cache."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "mspt" / URL.rpartition("/")[2]


def find_detector(file: Path | None = None, *, trusted: bool = False) -> Path:
    """Return the detector's model file: the one given, $MSPT_DETECTOR, or the fetched one.

    Args:
        file: of a detector.
        trusted: whether to take a file that is not a known one.

    Raises:
        ConfigError: if it is not there, saying how to get it.
        ModelError: if it is not a known one, unless it is trusted.
    """
    found = _seek_detector(file)
    digest = sha256(found.read_bytes()).hexdigest()
    if digest not in KNOWN_SHA256 and not trusted:
        raise ModelError(
            f"{found}: is not a face detector that is known (SHA-256 {digest[:12]}...), and a "
            "damaged one ends the process; `mspt detector fetch` gets the known one, "
            "--trust-detector takes this one"
        )
    return found


def _seek_detector(file: Path | None) -> Path:
    named = os.environ.get(DETECTOR_VARIABLE)
    given = file or (Path(named) if named else None)
    if given is not None:
        if not given.is_file():
            origin = "" if file else f" (from ${DETECTOR_VARIABLE})"
            raise ConfigError(f"no face detector at {given}{origin}; correct the path")
        return given
    if not cached_detector().is_file():
        raise ConfigError(
            "faces need a detector: run `mspt detector fetch` once (227 KiB from OpenCV's model "
            f"zoo), or name a YuNet file by --detector FILE or {DETECTOR_VARIABLE}=FILE"
        )
    return cached_detector()


def fetch_detector(url: str = URL) -> Path:
    """Download the detector into the user's cache, unless it is there; return its path.

    Raises:
        DownloadError: if it cannot be downloaded, or is another file than the known one.
    """
    from http.client import HTTPException
    from urllib.request import urlopen  # here, since they slow down every start

    target = cached_detector()
    if target.is_file() and sha256(target.read_bytes()).hexdigest() == SHA256:
        return target
    try:
        with urlopen(url, timeout=_TIMEOUT_S) as response:
            data = response.read()
    except (OSError, ValueError, HTTPException) as error:
        raise DownloadError(
            f"{url}: cannot be fetched: {getattr(error, 'reason', error)}; on a machine without "
            "network, copy the file there and name it by --detector FILE or "
            f"{DETECTOR_VARIABLE}=FILE"
        ) from error
    found = sha256(data).hexdigest()
    if found != SHA256:
        raise DownloadError(
            f"{url}: {len(data)} bytes with SHA-256 {found}, not the known detector's {SHA256}; "
            "nothing was kept"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as draft:
        draft.write_bytes(data)
    return target
