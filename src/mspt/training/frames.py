"""Training images: checked once, then decoded and resized once per stage.

In:   manifest entries and an InputSpec.
Out:  Frames, memory-mapped uint8 (N, S, S, 3): exactly what scoring feeds to the network.

A broken image is named and refused, never replaced by another.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from mspt.errors import DataError, ImageError, WriteError
from mspt.evaluation.manifest import Entry, check_present, refuse_images
from mspt.image.decode import read_rgb
from mspt.image.preprocess import prepare_rgb
from mspt.parallel import map_in_order, usable_cores
from mspt.spec import InputSpec

_DRAFT = ".part"  # ends the name of frames that are being prepared


@dataclass(frozen=True, slots=True)
class Frames:
    """Prepared images and their truth."""

    rgb: npt.NDArray[np.uint8]  # (N, S, S, 3), memory-mapped
    mos: npt.NDArray[np.float32]  # (N,)
    entries: Sequence[Entry]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.entries)


def check_images(entries: Sequence[Entry], cache: Path) -> None:
    """Decode every image once, so that a broken one stops the run at its start.

    Args:
        entries: the images.
        cache: a file that remembers what was found whole; unchanged files are not read again.

    Raises:
        DataError: naming the broken images.
    """
    check_present(entries)
    prints = {_fingerprint(entry): entry for entry in entries}
    known = set(cache.read_text().split()) if cache.exists() else set()
    unknown = {mark: entry for mark, entry in prints.items() if mark not in known}
    problems = []
    cache.parent.mkdir(parents=True, exist_ok=True)
    with cache.open("a") as file:
        found = map_in_order(_problem_of, unknown.values(), workers=usable_cores())
        for mark, problem in zip(unknown, found, strict=True):
            if problem:
                problems.append(problem)
            else:
                file.write(f"{mark}\n")
    refuse_images(problems, len(prints))


def _problem_of(entry: Entry) -> str:
    try:
        read_rgb(entry.path)
    except ImageError as error:
        return f"{entry.path}: {error}"
    return ""


def _fingerprint(entry: Entry) -> str:
    """Return what changes when the file may have: its path, size and time."""
    status = entry.path.stat()
    mark = f"{entry.path}|{status.st_size}|{status.st_mtime_ns}"
    return hashlib.sha256(mark.encode(errors="surrogateescape")).hexdigest()[:20]


def frames_bytes(count: int, side_px: int) -> int:
    """Return the disk that prepared frames take."""
    return count * side_px * side_px * 3


def say_size(count: int) -> str:
    """Return bytes as people read them."""
    for unit, size, digits in (("GB", 1e9, 1), ("MB", 1e6, 0)):
        if count >= size:
            return f"{count / size:.{digits}f} {unit}"
    return f"{count / 1e3:.0f} kB"


def build_frames(entries: Sequence[Entry], spec: InputSpec, cache_dir: Path) -> Frames:
    """Prepare all images once, in a file of `cache_dir` that a resumed run finds again.

    Raises:
        DataError: if an image cannot be used.
        WriteError: if the disk is too small.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    prints = "".join([spec.to_json(), *map(_fingerprint, entries)])
    name = hashlib.sha256(prints.encode()).hexdigest()[:16]
    path = cache_dir / f"frames-{spec.crop_side}-{name}.npy"
    with _alone(cache_dir):
        if not path.exists():
            for dead in cache_dir.glob(f"*{_DRAFT}"):  # gigabytes that a killed run left
                dead.unlink()
            _check_disk(frames_bytes(len(entries), spec.crop_side), cache_dir)
            draft = path.with_suffix(_DRAFT)
            try:
                _write_frames(draft, entries, spec)
                draft.replace(path)
            finally:
                with suppress(OSError):  # Windows: an error's traceback may hold it still
                    draft.unlink(missing_ok=True)
    mos = np.array([entry.mos for entry in entries], dtype=np.float32)
    return Frames(np.load(path, mmap_mode="r"), mos, entries)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other run prepares frames in a folder; a killed run lets go of its lock."""
    lock = FileLock(folder / ".mspt-frames.lock")
    with suppress(OSError):  # some network file systems have no locks: then nobody waits
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _check_disk(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise _too_little_disk(needed, free, folder)


def _too_little_disk(needed: int, free: int, folder: Path) -> WriteError:
    return WriteError(
        f"{folder}: prepared images need {say_size(needed)}, but {say_size(free)} are "
        "free; make room, or put the run elsewhere with --out"
    )


def _reserve_disk(path: Path, needed: int) -> None:
    """Reserve a file's disk now, where the system can.

    Later a disk that is full would kill the process: that is what writing to a mapped file does.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, needed)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # taken since it was checked, or a quota
            os.truncate(path, 0)  # what was reserved of it is free, too
            free = shutil.disk_usage(path.parent).free
            raise _too_little_disk(needed, free, path.parent) from error


def _write_frames(path: Path, entries: Sequence[Entry], spec: InputSpec) -> None:
    shape = (len(entries), spec.crop_side, spec.crop_side, 3)
    frames = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    _reserve_disk(path, path.stat().st_size)

    def prepare(index: int) -> None:
        try:
            frames[index] = prepare_rgb(read_rgb(entries[index].path), spec)
        except ImageError as error:
            raise DataError(
                f"{entries[index].path}: {error}; repair the image or take it off the manifest"
            ) from error

    for _ in map_in_order(prepare, range(len(entries)), workers=usable_cores()):
        pass
    frames.flush()
