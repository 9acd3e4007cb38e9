"""Photos of one moment, or that look alike: the best of each group may stand for all of it.

In:   paths of photos.
Out:  groups of two or more: bursts by EXIF's time, or near copies by a perceptual hash.

Hashes are ImageHash's, extra [groups]. Photos that cannot be read, or do not say when they were
taken, are in no group.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from mspt.errors import ImageError, MissingExtraError, check_choice
from mspt.image.decode import decode_rgb, read_exif
from mspt.inference.scorer import pixel_budget
from mspt.parallel import Budget, map_in_order, usable_cores
from mspt.scores.read import ScoreRow, read_photo
from mspt.scores.select import number_in

By = Literal["burst", "alike"]
BURST_S = 2.0  # from a photo to the next one of the same camera and folder
HASH_SIDE = 16  # of a hash: 256 bits
# Bits that differ: of 719,364 pairs of photos of different people the nearest differ in 48, while
# photos saved at quality 30, halved, blurred or with noise differ in at most 14
# (docs/log/2026-11-27-groups.md).
ALIKE_BITS = 24
# Of a score: half of the copies saved anew score above their original, 2 % by more than this (same
# page). Of photos as close as that to the best, the one of most pixels stands for the group, even
# if it was enlarged: copies are more often reduced.
CLOSE = 0.02
_UNSCORED = (-1.0, 0.0)

Hashes = npt.NDArray[np.uint8]  # (n, 32): 256 bits each
Places = npt.NDArray[np.intp]  # (n,)
Taken = tuple[str, str, datetime]  # folder, camera, when
Seen = TypeVar("Seen")


def find_groups(
    paths: Sequence[str],
    by: By,
    on_progress: Callable[[int], object] = lambda done: None,
    on_unread: Callable[[str], object] = lambda path: None,
) -> list[list[str]]:
    """Return the groups of two or more photos, each in the order of `paths`.

    Args:
        paths: as rows of a scores file have them.
        by: `burst` joins photos of one camera in one folder that were taken within BURST_S of each
            other, `alike` those whose hashes differ in at most ALIKE_BITS of 256. Both join chains,
            too: the first of a group may be further from its last.
        on_progress: called with the number of photos looked at.
        on_unread: called with each photo that cannot be read.

    Raises:
        ConfigError: if `by` is neither.
        MissingExtraError: if hashes are wanted and ImageHash is not installed.
    """
    check_choice("by", by, get_args(By))
    if by == "alike":
        hash_of = partial(_hash_of, _import_imagehash(), pixel_budget())
        return _group(paths, hash_of, join_alike, on_progress, on_unread)
    return _group(paths, taken_at, join_bursts, on_progress, on_unread)


def _group(
    paths: Sequence[str],
    look: Callable[[str], Seen | None],
    join: Callable[[Sequence[Seen]], list[list[int]]],
    on_progress: Callable[[int], object],
    on_unread: Callable[[str], object],
) -> list[list[str]]:
    """Look at all photos; join those of which something is known."""
    known, seen = list[str](), list[Seen]()

    def try_to_look(path: str) -> Seen | ImageError | None:
        try:
            return look(path)
        except ImageError as error:
            return error

    looked_at = map_in_order(try_to_look, paths, workers=usable_cores())
    for done, (path, found) in enumerate(zip(paths, looked_at, strict=True), 1):
        if isinstance(found, ImageError):
            on_unread(path)
        elif found is not None:
            known.append(path)
            seen.append(found)
        on_progress(done)
    return [[known[place] for place in group] for group in join(seen)]


def beaten(rows: Iterable[ScoreRow], groups: Iterable[Iterable[str]]) -> frozenset[str]:
    """Return the photos of groups that another of their group beats; of equals the earlier stays.

    Of those whose scores come within CLOSE of the best, the one of most pixels beats the others. A
    photo counts by its best row. One without a score is beaten by any that has one.
    """
    best: dict[str, tuple[float, float]] = {}  # score and pixels of a photo
    for row in rows:
        score = -1.0 if row.score is None else row.score
        best[row.path] = max((score, _pixels(row)), best.get(row.path, _UNSCORED))
    left: set[str] = set()
    for group in groups:
        known = {path: best.get(path, _UNSCORED) for path in group}
        highest = max(score for score, _ in known.values())
        near = {path: value for path, value in known.items() if value[0] >= highest - CLOSE}
        left.update(known.keys() - {max(near, key=lambda path: near[path][::-1])})
    return frozenset(left)


def _pixels(row: ScoreRow) -> float:
    """Return how many pixels the photo has; 0 if its row does not say."""
    return (number_in(row, "width") or 0.0) * (number_in(row, "height") or 0.0)


def taken_at(path: str) -> Taken | None:
    """Return where, by which camera and when a photo was taken; None if it does not say.

    Raises:
        ImageError: if it cannot be read.
    """
    exif = read_exif(read_photo(path))
    details = exif.get_ifd(ExifTags.IFD.Exif)
    time = str(details.get(ExifTags.Base.DateTimeOriginal, "")).strip("\0 ")
    fraction = str(details.get(ExifTags.Base.SubsecTimeOriginal, "")).strip("\0 ")
    camera = f"{exif.get(ExifTags.Base.Make)} {exif.get(ExifTags.Base.Model)}"
    try:
        when = datetime.strptime(
            f"{time}.{fraction[:6] if fraction.isdecimal() else 0}", "%Y:%m:%d %H:%M:%S.%f"
        )
    except ValueError:
        return None
    return os.path.dirname(path), camera, when


def join_bursts(taken: Sequence[Taken]) -> list[list[int]]:
    """Return the places of photos that belong to a burst."""
    series = defaultdict(list)
    for place, (folder, camera, when) in enumerate(taken):
        series[folder, camera].append((when, place))
    groups = []
    for photos in series.values():
        photos.sort()
        burst = photos[:1]
        for photo in photos[1:]:
            if (photo[0] - burst[-1][0]).total_seconds() > BURST_S:
                groups.append(burst)
                burst = []
            burst.append(photo)
        groups.append(burst)
    return sorted(sorted(place for _, place in group) for group in groups if len(group) > 1)


def join_alike(hashes: Sequence[Hashes]) -> list[list[int]]:
    """Return the places of photos whose hashes differ in few bits."""
    if not hashes:
        return []
    distinct, own = np.unique(np.stack(hashes), axis=0, return_inverse=True)
    sets = _Sets(len(distinct))
    for first, near in _near(distinct):
        sets.join(first, near)
    groups = defaultdict(list)
    for place, index in enumerate(own.ravel().tolist()):
        groups[sets.find(index)].append(place)
    return [group for group in groups.values() if len(group) > 1]


class _Sets:
    """Disjoint sets of places; pairs are joined as they come and never listed."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._known = np.arange(count)  # the root that each had when it was last joined

    def find(self, place: int) -> int:
        while self._parent[place] != place:
            self._parent[place] = self._parent[self._parent[place]]
            place = self._parent[place]
        return place

    def join(self, first: int, others: Places) -> None:
        root = self.find(first)
        for other in others[self._known[others] != root].tolist():  # most are joined already
            self._parent[self.find(other)] = root
            self._known[other] = root


def _near(hashes: Hashes) -> Iterator[tuple[int, Places]]:
    """Yield for a hash the later ones that differ from it in at most ALIKE_BITS, time and again.

    Cut into one part more than bits may differ, two such hashes have some part in common.
    """
    bits = np.unpackbits(hashes, axis=1)
    for part in np.array_split(bits, ALIKE_BITS + 1, axis=1):
        keys = np.packbits(part, axis=1).astype(np.int64) @ np.array([256, 1])
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        for members in np.split(order, starts[1:]):
            for at, first in enumerate(members[:-1].tolist()):
                others = members[at + 1 :]
                far = np.bitwise_count(hashes[others] ^ hashes[first]).sum(axis=1)
                yield first, others[far <= ALIKE_BITS]


def _hash_of(imagehash: Any, pixels: Budget, path: str) -> Hashes:  # noqa: ANN401
    with pixels.share() as reserve:
        picture = Image.fromarray(decode_rgb(read_photo(path), reserve))
    return np.packbits(imagehash.phash(picture, hash_size=HASH_SIDE).hash)


def _import_imagehash() -> Any:  # noqa: ANN401 - the module
    try:
        import imagehash
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("groups", error) from error
    return imagehash
