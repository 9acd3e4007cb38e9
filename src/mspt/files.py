"""Files that appear whole or not at all, or that one run writes to at a time; where they lie."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mspt.errors import WriteError

try:
    import fcntl
except ImportError:  # Windows has none; there two runs are not told apart
    fcntl = None  # type: ignore[assignment]


@contextmanager
def whole_file(path: Path, draft: Path | None = None) -> Iterator[Path]:
    """Give a hidden name beside `path` to write to; it becomes `path` when the block ends well.

    The hidden name is short, since `path` may be as long as names can be, and holds the numbers of
    process and thread, so that two that write into one folder do not write to one file.

    Args:
        path: of the file.
        draft: the name to write to, where only one run can: what a killed run leaves there, the
            next one takes up.

    Raises:
        WriteError: if it cannot be written, saying why.
    """
    draft = draft or path.with_name(f".mspt-{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def claim(file: IO[str]) -> None:
    """Keep other runs from writing to an open file; closing it, or dying, lets go.

    Raises:
        WriteError: if another run writes to it now.
    """
    busy = f"{file.name}: another run writes to it now; wait for it, or name another file"
    _lock(file.fileno(), busy)


@contextmanager
def claimed_folder(folder: Path) -> Iterator[None]:
    """Keep other runs from putting files into a folder as long as the block lasts.

    Raises:
        WriteError: if another run does so now.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(
            handle, f"{folder}: another run puts photos there, or takes them back, now; wait for it"
        )
        yield
    finally:
        os.close(handle)


def _lock(handle: int, busy: str) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WriteError(busy) from error
    except OSError:  # some network file systems have no locks
        return


def check_unclaimed(path: Path) -> None:
    """Raise WriteError if a run writes to a file now."""
    with path.open("a", encoding="utf-8") as file:
        claim(file)


class TruePaths:
    """Where files really are, links followed; remembers folders, so that many files are quick."""

    def __init__(self) -> None:
        """Start knowing no folder."""
        self._folders: dict[Path, Path] = {}

    def of(self, path: Path) -> Path:
        """Return a file's path without links or `..` on the way to it; it need not exist."""
        folder = path.parent
        if folder not in self._folders:
            self._folders[folder] = Path(os.path.realpath(folder))
        return self._folders[folder] / path.name


def is_within(path: str, folders: Sequence[Path]) -> bool:
    """Tell whether a file lies in one of the folders or below; links are not followed."""
    return any(Path(os.path.abspath(path)).is_relative_to(folder) for folder in folders)
