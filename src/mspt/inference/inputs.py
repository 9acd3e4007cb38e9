"""Which files a command line's PATHS stand for.

In:   files, folders and glob patterns, as typed.
Out:  paths in the order given; a folder's files by name, sub-folders included.

In a folder every file counts but hidden ones: whatever is no image gets a row that says so, so
that no photo is lost for an unusual name. What stands for nothing, or cannot be opened, is kept
as it was typed: its row says why.
"""

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path


def find_images(paths: Sequence[str], *, exclude: Collection[Path] = ()) -> list[str]:
    """Return all files that the paths stand for; nothing if not one of them exists.

    Args:
        paths: as typed.
        exclude: files to leave out, such as the output, which a second run finds in the folder.
    """
    found: list[str] = []
    for path in paths:
        files = [path] if os.path.isfile(path) else list(_expand(path)) or [path]
        found += [file for file in files if not any(_is_same(file, other) for other in exclude)]
    return found if any(os.path.isfile(file) for file in found) else []


def _is_same(path: str, other: Path) -> bool:
    """Tell whether two paths mean one file of one name, whatever folders they go through."""
    same_name = os.path.basename(path) == other.name  # asked first: the rest asks the disk
    return same_name and os.path.realpath(path) == os.path.realpath(other)


def _expand(path: str) -> Iterator[str]:
    if os.path.isdir(path):
        yield from _walk(path)
    elif "**" in Path(path).parts and not os.path.exists(path):
        yield from _match_recursively(path)
    elif glob.has_magic(path) and not os.path.exists(path):
        for match in sorted(glob.glob(path)):
            yield from _walk(match) if os.path.isdir(match) else [match]


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


def _walk(top: str) -> Iterator[str]:
    """Yield a folder's files by name, then those below it; each folder once, whatever links say."""
    seen: set[tuple[int, int]] = set()
    waiting = [top]  # the next one last: folders may nest deeper than Python may recurse
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
        except OSError:
            yield folder  # its row will say that it cannot be read
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        paths = [os.path.join(folder, name) for name in names]
        yield from (path for path in paths if not os.path.isdir(path))
        waiting += [path for path in reversed(paths) if os.path.isdir(path)]
