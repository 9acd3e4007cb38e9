"""Which files a command line's PATHS stand for.

In:   files, folders and glob patterns, as typed.
Out:  paths in the order given; a folder's files by name, sub-folders included.

In a folder every file counts but hidden ones: whatever is no image gets a row that says so, so
that no photo is lost for an unusual name.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def find_images(paths: Sequence[str], *, exclude: Path | None = None) -> list[str]:
    """Return all files that the paths stand for.

    A path that does not exist is kept as it is (its row will say so), unless nothing else is
    found.

    Args:
        paths: as typed.
        exclude: a file to leave out of folders, such as the output.
    """
    unwanted = None if exclude is None else os.path.abspath(exclude)
    found = [
        file
        for path in paths
        for file in _expand(path)
        if unwanted is None or os.path.abspath(file) != unwanted
    ]
    return found if any(os.path.exists(file) for file in found) else []


def _expand(path: str) -> Iterator[str]:
    if os.path.isdir(path):
        yield from _walk(path)
    elif glob.has_magic(path) and not os.path.exists(path):
        for match in sorted(glob.glob(path, recursive=True)):
            yield from _walk(match) if os.path.isdir(match) else [match]
    else:
        yield path


def _walk(folder: str) -> Iterator[str]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(root, name) for name in sorted(files) if name[0] != ".")
