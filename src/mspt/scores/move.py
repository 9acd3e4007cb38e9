"""Photos moved, with a journal that can undo it.

In:   photos and where they belong.
Out:  the photos there, and JOURNAL in the folder: a line for every move, written before it happens,
      so that whatever stops a run, `restore` finds every photo.
"""

import errno
import filecmp
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mspt.errors import DataError, WriteError
from mspt.files import claimed_folder, is_within, whole_file

JOURNAL = "mspt-moved.jsonl"


class Journal:
    """What was moved into a folder, and from where."""

    def __init__(self, folder: Path) -> None:
        """Go on with the folder's journal, if it has one."""
        self._path = folder / JOURNAL
        self._has_moved = False  # in this run
        self._moved = {moved.source for moved in read_journal(self._path)}

    def has(self, source: str) -> bool:
        """Tell whether a photo that is no longer there was moved by an earlier run."""
        return os.path.abspath(source) in self._moved

    def move(self, source: Path, target: Path) -> None:
        """Move a photo to a free name, after writing that down.

        Raises:
            OSError: if the photo cannot leave its folder; it is where it was, and nowhere else.
            WriteError: if the photo or the journal cannot be written.
        """
        entry = {"from": os.path.abspath(source), "to": os.path.abspath(target)}
        if source.is_symlink():
            entry["link"] = os.readlink(source)
        try:
            if not self._has_moved:
                _drop_half_line(self._path)
                self._has_moved = True
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(entry)}\n")
                file.flush()
                os.fsync(file.fileno())
            move_file(source, target)
        except _StuckError:
            raise
        except OSError as error:
            raise WriteError(
                f"{source}: cannot be moved to {target}: {error.strerror or error}"
            ) from error


def _drop_half_line(path: Path) -> None:
    """Cut off what a killed run left of a line: that photo was not moved."""
    if path.exists():
        written = path.read_bytes()
        whole = written.rfind(b"\n") + 1
        if whole < len(written):
            os.truncate(path, whole)


class _StuckError(OSError):
    """A photo cannot be moved: its card is read-only, it is locked, or another program has it."""


def move_file(source: Path, target: Path, link: str = "") -> None:
    """Move a file to a free name, to another disk by a copy that is on it before the file leaves.

    A link keeps leading where it led.

    Args:
        source: what moves.
        target: where to.
        link: what a link says there; default: the whole path of what it leads to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(link or os.path.join(os.path.abspath(source.parent), os.readlink(source)))
        _take_away(source, target)
        return
    try:
        source.rename(target)
    except PermissionError as error:
        raise _StuckError(error.errno, f"cannot be moved: {error.strerror}") from error
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        status = source.stat()
        with whole_file(target) as draft:
            shutil.copyfile(source, draft)
            with draft.open("rb+") as copy:
                os.fsync(copy.fileno())
        _take_away(source, target)
        keep_times(status, target)


def keep_times(status: os.stat_result, copy: Path) -> None:
    """Give a copy the times and rights of its original, a courtesy: not every disk has them."""
    with suppress(OSError):
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
        copy.chmod(stat.S_IMODE(status.st_mode))


def _take_away(source: Path, copy: Path) -> None:
    """Delete what was copied; if it stays, the copy goes: a photo is in one place."""
    try:
        source.unlink()
    except OSError as error:
        copy.unlink()
        raise _StuckError(error.errno, f"cannot leave its folder: {error.strerror}") from error


class Moved(NamedTuple):
    """A line of a journal."""

    source: str
    target: str
    link: str  # what the photo said, if it was a link


_BEGIN = '{"from": "'  # of every line


def read_journal(path: Path) -> Iterator[Moved]:
    """Yield where each photo was and where it went; none if there is no journal.

    Raises:
        DataError: if it is not a journal. Its last line may be half.
    """
    if not path.exists():
        return
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no journal of moved photos") from error
    if not _BEGIN.startswith(lines[-1][: len(_BEGIN)]):
        raise DataError(f"{path}: is no journal of moved photos")
    for number, line in enumerate(lines[:-1], 1):  # what follows the last line's end is half a line
        try:
            entry = json.loads(line)
            moved = Moved(entry["from"], entry["to"], entry.get("link", ""))
            if "\0" in "".join(moved):  # which refuses numbers, too
                raise ValueError("a name holds NUL")
            yield moved
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: is no journal of moved photos") from error


@dataclass(slots=True)
class RestoreReport:
    """What became of moved photos."""

    restored: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)  # where it is or was, and why


def restore(journal: Path, within: Sequence[Path] = ()) -> RestoreReport:
    """Move photos back to where they were, the last one first; then the journal goes, too.

    What cannot go back stays, and so does the journal.

    Args:
        journal: in the folder that photos were moved into.
        within: folders into which photos may go back; none: all. A journal may be a stranger's.

    Raises:
        DataError: if there is no such journal.
        WriteError: if photos are being moved into its folder now.
    """
    if not journal.is_file():
        raise DataError(f"{journal}: no such journal; `mspt filter --move` writes {JOURNAL}")
    report, folder = RestoreReport(), Path(os.path.abspath(journal.parent))
    with claimed_folder(folder):
        for moved in reversed(list(read_journal(journal))):
            if os.path.lexists(moved.source) and not os.path.lexists(moved.target):
                continue  # it was never moved, or is back
            try:
                _put_back(moved, within, folder)
            except (OSError, WriteError) as error:
                report.failed.append((moved.target, str(error)))
            else:
                report.restored += 1
        if not report.failed:
            journal.unlink()
    return report


def _put_back(moved: Moved, within: Sequence[Path], folder: Path) -> None:
    """Move a photo back.

    Raises:
        OSError, WriteError: if it cannot go back, saying why.
    """
    if not os.path.lexists(moved.target):
        raise OSError("it is neither there nor where it was")
    if within and not (is_within(moved.source, within) and is_within(moved.target, [folder])):
        raise OSError(f"{moved.source} lies outside; --within DIR allows a folder")
    if not os.path.lexists(moved.source):
        move_file(Path(moved.target), Path(moved.source), moved.link)
    elif _is_copy(moved.target, moved.source):  # stopped before the original was taken away
        os.unlink(moved.target)
    else:
        raise OSError(f"{moved.source} exists again")


def _is_copy(target: str, source: str) -> bool:
    """Tell whether two files are different ones with the same bytes."""
    if not (os.path.isfile(source) and os.path.isfile(target)) or os.path.samefile(source, target):
        return False
    return filecmp.cmp(source, target, shallow=False)
