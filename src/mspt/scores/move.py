"""Photos moved, with a journal that can undo it.

In:   photos and where they belong.
Out:  the photos there, and JOURNAL in the folder: a line for every move, written before it happens,
      so that whatever stops a run, `restore` finds every photo.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mspt.errors import DataError, WriteError
from mspt.files import is_within, whole_file

JOURNAL = "mspt-moved.jsonl"


class Journal:
    """What was moved into a folder, and from where."""

    def __init__(self, folder: Path) -> None:
        """Go on with the folder's journal, if it has one."""
        self._path = folder / JOURNAL
        _drop_half_line(self._path)
        self._moved = {source for source, _ in read_journal(self._path)}

    def has(self, source: str) -> bool:
        """Tell whether a photo that is no longer there was moved by an earlier run."""
        return os.path.abspath(source) in self._moved

    def move(self, source: Path, target: Path) -> None:
        """Move a photo to a free name, after writing that down.

        Raises:
            WriteError: if the photo or the journal cannot be written.
        """
        line = json.dumps({"from": os.path.abspath(source), "to": os.path.abspath(target)})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
                file.flush()
                os.fsync(file.fileno())
            move_file(source, target)
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


def move_file(source: Path, target: Path) -> None:
    """Move a file to a free name, to another disk by a copy that is whole before it leaves."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with whole_file(target) as draft:
            shutil.copy2(source, draft)
        source.unlink()


def read_journal(path: Path) -> Iterator[tuple[str, str]]:
    """Yield where each photo was and where it went; none if there is no journal.

    Raises:
        DataError: if it is not a journal. Its last line may be half.
    """
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines[:-1], 1):  # what follows the last line's end is half a line
        try:
            entry = json.loads(line)
            yield entry["from"], entry["to"]
        except (ValueError, KeyError, TypeError) as error:
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
    """
    if not journal.is_file():
        raise DataError(f"{journal}: no such journal; `mspt filter --move` writes {JOURNAL}")
    report, folder = RestoreReport(), Path(os.path.abspath(journal.parent))
    for source, target in reversed(list(read_journal(journal))):
        if not os.path.lexists(target):
            if not os.path.lexists(source):
                report.failed.append((target, "it is neither there nor where it was"))
            continue
        if os.path.lexists(source):
            report.failed.append((target, f"{source} exists again"))
            continue
        if within and not (is_within(source, within) and is_within(target, [folder])):
            report.failed.append((target, f"{source} lies outside; --within DIR allows a folder"))
            continue
        try:
            move_file(Path(target), Path(source))
        except (OSError, WriteError) as error:
            report.failed.append((target, str(error)))
        else:
            report.restored += 1
    if not report.failed:
        journal.unlink()
    return report
