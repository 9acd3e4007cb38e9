"""Which files a command line's PATHS stand for.

In:   files, folders and glob patterns, as typed.
Out:  paths in the order given; a folder's files by name, sub-folders included.

In a folder every file counts but hidden ones: whatever is no image gets a row that says so, so
that no photo is lost for an unusual name. What stands for nothing, or cannot be opened, is kept
as it was typed: its row says why.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def find_images(paths: Sequence[str], *, exclude: Path | None = None) -> list[str]:
    """Return all files that the paths stand for; nothing if not one of them exists.

    Args:
        paths: as typed.
        exclude: a file to leave out of folders and patterns, such as the output.
    """
    unwanted = None if exclude is None else os.path.abspath(exclude)
    found: list[str] = []
    for path in paths:
        files = [file for file in _expand(path) if os.path.abspath(file) != unwanted]
        found += [path] if os.path.isfile(path) else files or [path]
    return found if any(os.path.isfile(file) for file in found) else []


def _expand(path: str) -> Iterator[str]:
    if os.path.isdir(path):
        yield from _walk(path, set())
    elif "**" in path and not os.path.exists(path):
        yield from _match_recursively(path)
    elif glob.has_magic(path) and not os.path.exists(path):
        for match in sorted(glob.glob(path)):
            yield from _walk(match, set()) if os.path.isdir(match) else [match]


def _match_recursively(pattern: str) -> list[str]:
    """Return the files that a pattern with ** matches, each once, links to folders not followed."""
    parts = Path(pattern).parts
    first_magic = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root, rest = Path(*parts[:first_magic]), parts[first_magic:]
    tail = [*rest, "*"] if rest[-1] == "**" else rest
    matches = {match for match in root.glob(str(Path(*tail))) if match.is_file()}
    return sorted(str(match) for match in matches if not _is_hidden(match.relative_to(root)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield a folder's files by name, then those below it; each folder once, whatever links say."""
    try:
        status = os.stat(folder)
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        yield folder  # its row will say that it cannot be read
        return
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    paths = [os.path.join(folder, name) for name in names]
    yield from (path for path in paths if not os.path.isdir(path))
    for path in paths:
        if os.path.isdir(path):
            yield from _walk(path, seen)
