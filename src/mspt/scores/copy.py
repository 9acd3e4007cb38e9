"""Copy, link or move chosen photos into a folder: whole files, nothing overwritten, resumable.

In:   photos in a fixed order.
Out:  their copies under their own names, side by side or in the folders that they had; where a name
      is taken, `name-2.jpg`, `name-3.jpg` ...

A copy that is already there, byte for byte, is left as it is. So the same command, run again after
a stop, gives the same names and copies only what is missing. Photos that lie elsewhere than a
scores file may speak of are named and left: a file from a stranger may list anything.
"""

import filecmp
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Literal, get_args

from mspt.errors import DataError, DecodeError, WriteError, check_choice
from mspt.files import claimed_folder, is_within, whole_file
from mspt.inference.inputs import split_member
from mspt.inference.shards import read_member
from mspt.inference.video import FRAME_MARK
from mspt.scores.move import Journal, keep_times
from mspt.scores.read import file_of
from mspt.scores.write import one_line

Way = Literal["copy", "link", "move"]
_DONE = {"copy": "copied", "link": "linked", "move": "moved"}
_NO_FILE = "a frame of a video, no file; `mspt score VIDEO --every TIME --best N` writes frames"


@dataclass(slots=True)
class CopyReport:
    """What became of the photos."""

    copied: int = 0
    present: int = 0  # were there before
    renamed: int = 0  # of both: got a number, because another photo has the name
    failed: list[tuple[str, str]] = field(default_factory=list)  # path and why


def copy_photos(
    photos: Sequence[str],
    folder: str | Path,
    *,
    on_progress: Callable[[int, int], None],
    keep_tree: bool = False,
    how: Way = "copy",
    within: Sequence[Path] = (),
) -> CopyReport:
    """Copy photos into a folder, which is made if need be.

    Args:
        photos: paths as a scores file has them, each once.
        folder: where to.
        on_progress: is told how many are done, and how many of them failed.
        keep_tree: keep the folders below the one that all photos share.
        how: copy; or link, which takes no space; or move, with a journal (move.py).
        within: folders whose photos may be taken; none: all.

    Raises:
        ConfigError: if `how` is none of the three.
        DataError: if not one of the photos exists.
        WriteError: if a copy cannot be written, or another run puts photos into the folder now.
    """
    check_choice("how", how, get_args(Way))
    folder = Path(folder)
    _check_some_are_there(photos, folder, how)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{folder}: cannot be made: {error.strerror or error}") from error
    report, names = CopyReport(), Names(folder, may_share=how != "move")
    top = _shared_folder(photos, within) if keep_tree else None
    with claimed_folder(folder):
        journal = Journal(folder) if how == "move" else None
        for done, photo in enumerate(photos, 1):
            file = file_of(photo)
            path = Path(file)
            try:
                _check_place(path, within)
                if journal and journal.has(file) and not path.exists():
                    report.present += 1
                elif member := split_member(file):  # a Path would lose `./`
                    _extract(*member, names, report, how, top)
                else:
                    below = Path(os.path.relpath(path.parent, top)) if top else Path()
                    with _open_photo(path) as source:
                        if how != "copy":
                            source.close()  # Windows neither moves nor links a file that is open
                        ways = {"copy": partial(_copy, source), "link": partial(_link, path)}
                        write = partial(journal.move, path) if journal else ways[how]
                        _put(path.name, names.claim(path, below), report, how, write)
            except (OSError, DecodeError) as error:
                report.failed.append((photo, getattr(error, "strerror", "") or str(error)))
            on_progress(done, len(report.failed))
    return report


def _check_some_are_there(photos: Sequence[str], folder: Path, how: Way) -> None:
    """Raise DataError if not one photo is there: its paths mean another folder, or videos."""
    files = [file_of(photo) for photo in photos]
    if not files or any(map(is_there, files)):
        return
    if how == "move" and any(map(Journal(folder).has, files)):
        return
    if all(FRAME_MARK in photo for photo in photos):
        raise DataError(f"{one_line(photos[0])}: {_NO_FILE}")
    raise none_is_there(photos)


def none_is_there(photos: Sequence[str]) -> DataError:
    """Return what to raise where not one of these photos exists."""
    return DataError(
        f"none of {len(photos)} photos exists, such as {one_line(photos[0])}; paths are as they "
        "were typed for `mspt score`: run this in the folder where it ran"
    )


def is_there(photo: str) -> bool:
    """Tell whether a file is there, or the shard that it is a member of."""
    return os.path.isfile(photo) or split_member(photo) is not None


def allowed_folders(scores: Path, within: Sequence[Path]) -> list[Path]:
    """Return the folders whose photos a scores file may speak of: its own, here, and named ones."""
    return [Path(os.path.abspath(folder)) for folder in (scores.parent, Path(), *within)]


def _check_place(path: Path, within: Sequence[Path]) -> None:
    if within and not is_within(str(path), within):
        raise OSError("lies outside; --within DIR allows a folder")


def _shared_folder(photos: Sequence[str], within: Sequence[Path]) -> str | None:
    """Return the folder below which all photos lie that may be taken; None if there are none.

    Raises:
        DataError: if they lie on several drives.
    """
    names = [file_of(photo) for photo in photos]
    files = [os.path.abspath((split_member(name) or [name])[0]) for name in names]
    folders = [os.path.dirname(f) for f in files if not within or is_within(f, within)]
    try:
        return os.path.commonpath(folders) if folders else None
    except ValueError as error:
        raise DataError(
            "the photos lie on several drives, which have no folder in common; copy without --tree"
        ) from error


def _open_photo(path: Path) -> IO[bytes]:
    if FRAME_MARK in path.name and not path.exists():
        raise OSError(_NO_FILE)
    if not path.exists() and (inside := next((p for p in path.parents if p.is_file()), None)):
        raise OSError(f"lies inside {inside}; of what lies in files only .tar shards are copied")
    if path.exists() and not path.is_file():  # opening a pipe may never end
        raise OSError("not a regular file")
    return path.open("rb")


class Names:
    """Gives every photo of one run a name of its own in the folder."""

    def __init__(self, folder: Path, *, may_share: bool = True) -> None:
        """Begin a run; what earlier runs left in the folder is looked at name by name.

        Args:
            folder: where photos go.
            may_share: whether a photo may have the name of a file with the very same bytes.
        """
        self._folder, self._may_share = folder, may_share
        self._claimed: set[str] = set()
        self._next: dict[str, int] = {}  # name -> its next number: many photos may share a name

    def claim(self, source: Path, below: Path = Path(), data: bytes | None = None) -> Path:
        """Return where the copy belongs: a free name, or one that holds the very same bytes.

        Args:
            source: the photo; its name is wanted.
            below: folders that it shall have.
            data: its bytes, if it is no file of its own.
        """
        wanted = str(below / source.name)
        number = self._next.get(wanted, 1)
        while True:
            name = source.name if number == 1 else f"{source.stem}-{number}{source.suffix}"
            number += 1
            target = self._folder / below / name
            if str(target) not in self._claimed and self._is_free_for(source, target, data):
                self._claimed.add(str(target))
                self._next[wanted] = number
                return target

    def _is_free_for(self, source: Path, target: Path, data: bytes | None) -> bool:
        if not os.path.lexists(target):
            return True
        if data is None and os.path.samestat(source.lstat(), target.lstat()):
            return True  # it lies there itself
        if not (self._may_share and target.is_file()):
            return False
        if data is not None:
            return target.read_bytes() == data
        # Not by size and time alone: files unpacked together often share both.
        return filecmp.cmp(source, target, shallow=False)


def _put(
    name: str, target: Path, report: CopyReport, how: Way, write: Callable[[Path], None]
) -> None:
    """Write a photo of this name to its target, unless it is there."""
    report.renamed += target.name != name
    if target.exists():
        report.present += 1
        return
    try:
        write(target)
    except WriteError as error:
        raise WriteError(
            f"{error}; {report.copied} photos were {_DONE[how]}. Run the same command again once "
            "that is mended: it goes on with the rest"
        ) from error
    report.copied += 1


def _extract(
    shard: str, member: str, names: Names, report: CopyReport, how: Way, top: str | None
) -> None:
    """Copy a member of a shard into a folder of the shard's name: members of many may share one.

    Args:
        shard: its file.
        member: its name there.
        names: gives the copy its name.
        report: is told.
        how: only "copy" can be.
        top: below which the shard keeps its folders, and the member those in it; None: neither.
    """
    if how != "copy":
        raise OSError(f"a member of a shard cannot be {_DONE[how]}, only copied")
    data, name = read_member(shard, member), Path(member)
    below = Path(Path(shard).stem)
    if top:
        inside = [part for part in name.parent.parts if part not in ("..", name.anchor)]
        below = Path(os.path.relpath(os.path.dirname(shard) or ".", top), below, *inside)
    target = names.claim(name, below, data)
    _put(name.name, target, report, how, partial(_copy, io.BytesIO(data)))


def _copy(source: IO[bytes], target: Path) -> None:
    with whole_file(target) as draft:
        draft.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as copy:
            shutil.copyfileobj(source, copy, 2**20)
    if not isinstance(source, io.BytesIO):
        keep_times(os.fstat(source.fileno()), target)


def _link(source: Path, target: Path) -> None:
    with whole_file(target) as draft:
        draft.parent.mkdir(parents=True, exist_ok=True)
        os.link(os.path.realpath(source), draft)


def describe_copies(
    report: CopyReport, folder: Path, how: Way = "copy", shown: int = 10
) -> Iterator[str]:
    """Yield lines on what became of the photos; of those that failed, the first few."""
    parts = [f"{report.copied} photos {_DONE[how]} to {folder}"]
    if report.present:
        parts.append(f"{report.present} were there already")
    if report.renamed:
        parts.append(f"{report.renamed} numbered, as another photo has their name")
    yield ", ".join(parts)
    yield from failure_lines(report.failed, shown)


def failure_lines(failed: Sequence[tuple[str, str]], shown: int = 10) -> Iterator[str]:
    """Yield lines on the first few photos that stayed where they were."""
    if failed:
        yield f"{len(failed)} photos were left where they are:"
    for photo, reason in failed[:shown]:
        yield f"  {one_line(photo)}: {reason}"
    if len(failed) > shown:
        yield f"  and {len(failed) - shown} more"
