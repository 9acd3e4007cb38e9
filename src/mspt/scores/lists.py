"""Lists of photos: lines of text, NUL-separated names, or a column of a table.

In:   a file, or standard input.
Out:  the paths in it: relative ones mean the working directory, unless a folder is named. Bytes may
      stand escaped, as `mspt filter` prints them.
"""

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mspt.errors import ConfigError, DataError
from mspt.scores.read import file_of, read_table

STDIN = "-"
PATH_COLUMNS = ("path", "file", "filename", "file_name", "image", "image_name", "image_path")
_TABLES = (".csv", ".jsonl", ".parquet")


def read_list(
    source: str,
    *,
    column: str = "",
    nul: bool = False,
    root: Path | None = None,
    on_gaps: Callable[[int], object] = lambda rows: None,
) -> list[str]:
    """Return the paths that a list names; empty lines count for nothing.

    Args:
        source: a file, or `-` for standard input. A .csv, .jsonl or .parquet file is a table; all
            else is text with a path a line.
        column: of a table; default: the first of PATH_COLUMNS that it has.
        nul: whether NUL bytes end the paths of a text, as `find -print0` writes them.
        root: folder that relative paths mean; default: the working directory.
        on_gaps: told how many rows of a table have an empty cell there, if any.

    Raises:
        ConfigError: if `column` or `nul` does not fit the list.
        DataError: if the list cannot be read, has no such column, or names nothing.
    """
    is_table = source != STDIN and Path(source).suffix.lower() in _TABLES
    if is_table and nul:
        raise ConfigError(f"{source} is a table, whose rows no NUL ends; drop -0")
    if column and not is_table:
        raise ConfigError(f"--column {column}: {source} is read as lines, not as a table; drop it")
    if not source:
        raise ConfigError("the name of the list is empty; is a shell variable not set?")
    means = partial(_mean, root, is_literal=nul)
    cells = list(_column(Path(source), column, means) if is_table else _lines(source, nul, means))
    found = [cell for cell in cells if cell]
    if not found:
        raise DataError(f"{source}: names no photo")
    if is_table and len(found) < len(cells):
        on_gaps(len(cells) - len(found))
    return found


def _mean(root: Path | None, path: str, *, is_literal: bool) -> str:
    """Return the file that a path of a list means; "" stays so."""
    path = os.path.join(root, path) if root and path else path
    return path if is_literal or "://" in path else file_of(path)


def _column(path: Path, wanted: str, means: Callable[[str], str]) -> Iterator[str]:
    """Yield a table's cells, empty ones too."""
    name = wanted
    for line, cells in read_table(path):
        name = name or next((n for n in PATH_COLUMNS if n in cells), "")
        if name not in cells:
            asked = f"no column {wanted!r}" if wanted else "no column that is known to hold paths"
            raise DataError(f"{path}, line {line}: {asked}; it has {', '.join(cells)}; --column")
        try:
            yield means(_text(cells[name] or ""))
        except (TypeError, UnicodeEncodeError) as error:
            raise DataError(f"{path}, line {line}: {name} is no text: {error}") from error


def _text(cell: object) -> str:
    """Return a path, or raise TypeError: a table of encoded images names no files."""
    if not isinstance(cell, str):
        raise TypeError(f"a {type(cell).__name__}; `mspt cluster score` takes tables of images")
    return cell


def _lines(source: str, nul: bool, means: Callable[[str], str]) -> Iterator[str]:
    try:
        data = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror or error}") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell 5.1 writes
        data = data.decode("utf-16", "surrogatepass").encode("utf-8", "surrogatepass")
    if not nul and b"\0" in data:
        raise DataError(f"{source}: holds NUL bytes; if they end the paths, add -0")
    for number, line in enumerate(
        data.removeprefix(codecs.BOM_UTF8).split(b"\0" if nul else b"\n"), 1
    ):
        try:
            path = os.fsdecode(line if nul else line.removesuffix(b"\r"))
        except UnicodeDecodeError as error:  # on Windows, where names are text
            raise DataError(f"{source}, line {number}: is not UTF-8; save the list so") from error
        yield means(path)
