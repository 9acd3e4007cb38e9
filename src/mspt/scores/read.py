"""Scores files read back: what `mspt score -o` writes, and files of its form with more columns.

In:   a .csv, .jsonl or .parquet file with at least the columns NEEDED.
Out:  ScoreRows in the file's order, one at a time: a million rows need no memory to speak of.
Not here: which rows to choose (select.py), what they say together (summary.py).
"""

import csv
import importlib
import json
import math
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

from mspt.errors import ConfigError, DataError, MissingExtraError
from mspt.files import whole_file
from mspt.image.decode import read_file
from mspt.inference.inputs import split_member
from mspt.inference.shards import read_member
from mspt.results import COLUMNS, FACTOR_COLUMNS, type_of_column
from mspt.scores.write import Row, csv_writer, write_parquet

NEEDED = ("path", "score", "status")
WRITTEN_SUFFIXES = (".csv", ".jsonl", ".parquet")

_NUMBER_COLUMNS = {c for c in (*COLUMNS, *FACTOR_COLUMNS) if type_of_column(c) != "str"}
_NUMERIC = (str, int, float)  # what may say a number; Parquet's bytes do not
_MOST_INT = 2**31 - 1  # in Parquet
_ESCAPED_BYTE = re.compile(rb"\\x([89a-f][0-9a-f]|5c)")

Cells = Mapping[str, Any]  # text in a .csv, JSON's or Arrow's values in the others
Record = tuple[int, Cells]  # line and cells


class CsvCells(Mapping[str, str]):
    """The cells of a CSV row by column; a dict for each of a million rows would take longer."""

    __slots__ = ("_places", "columns", "fields")

    def __init__(
        self, columns: tuple[str, ...], places: Mapping[str, int], fields: list[str]
    ) -> None:
        """Take a file's columns, the place of each, and a row's fields in that order."""
        self.columns, self._places, self.fields = columns, places, fields

    def __getitem__(self, column: str) -> str:
        """Return the text in a column."""
        return self.fields[self._places[column]]

    def __contains__(self, column: object) -> bool:
        """Tell whether the file has a column."""
        return column in self._places

    def __iter__(self) -> Iterator[str]:
        """Iterate over the columns."""
        return iter(self.columns)

    def __len__(self) -> int:
        """Return how many columns there are."""
        return len(self.columns)


class ScoreRow(NamedTuple):
    """One row of a scores file."""

    line: int  # where it stands; in a .parquet file the row's number, from 1
    path: str  # as written: relative to where `mspt score` ran, unless absolute
    score: float | None  # 0..1; None unless status is ok
    status: str
    cells: Cells  # all columns, as the file holds them


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """A scores file that has been looked into."""

    path: Path
    columns: tuple[str, ...]  # of its first row
    left_out: frozenset[str] = frozenset()  # photos whose rows are passed over

    def without(self, photos: frozenset[str]) -> "ScoreFile":
        """Return the file as if it had no rows of these photos."""
        return replace(self, left_out=self.left_out | photos)

    def rows(self) -> Iterator[ScoreRow]:
        """Read the rows, from the first one on.

        Raises:
            DataError: naming file, line and value, at the first row that makes no sense.
        """
        for line, cells in _reader_of(self.path)(self.path):
            try:
                row = _check_row(line, cells)
            except ValueError as error:
                raise DataError(f"{self.path}, line {line}: {error}") from error
            if row.path not in self.left_out:
                yield row

    def pick(self, places: Container[int]) -> dict[int, ScoreRow]:
        """Return the rows at these places among those with a score, counted from 0.

        Faster than `rows`: only what is picked is checked, so read through the file once before.
        """
        found = dict[int, ScoreRow]()
        place = 0
        for line, cells in _reader_of(self.path)(self.path):
            if cells["status"] != "ok" or (self.left_out and cells["path"] in self.left_out):
                continue
            if place in places:
                found[place] = _check_row(line, cells)
            place += 1
        return found


def open_scores(path: str | Path) -> ScoreFile:
    """Look into a scores file.

    Raises:
        DataError: if it is missing, empty, of no known form, or lacks a column.
        MissingExtraError: if reading .parquet needs a package that is not installed.
    """
    path = Path(path)
    for _, cells in _reader_of(path)(path):
        missing = [name for name in NEEDED if name not in cells]
        if missing:
            raise DataError(
                f"{path}: has no column {', '.join(missing)}; expected a file that "
                f"`mspt score -o` wrote, with the columns {','.join(COLUMNS)}"
            )
        return ScoreFile(path, tuple(cells))
    raise DataError(f"{path}: holds no rows; `mspt score PHOTOS -o {path.name}` writes some")


def file_of(path: str) -> str:
    r"""Return the name on disk of the photo that a row's path means.

    Bytes that are not UTF-8 stand escaped in a scores file, like `\xff` (`write.valid_text`). In a
    file by others those characters may be the name's own.
    """
    if "\\x" not in path or os.sep != "/":  # elsewhere a backslash parts folders
        return path
    raw = _ESCAPED_BYTE.sub(lambda match: bytes([int(match[1], 16)]), os.fsencode(path))
    meant = raw.decode("utf-8", "surrogateescape")
    return path if os.path.lexists(path) and not os.path.lexists(meant) else meant


def read_photo(path: str) -> bytes:
    """Return the bytes of the photo that a row's path means, a file or a member of a shard.

    Raises:
        ImageError: if it cannot be read.
    """
    file = file_of(path)
    member = split_member(file)
    return read_member(*member) if member else read_file(Path(file))


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[ScoreRow]) -> None:
    """Write rows to a .csv, .jsonl or .parquet file, replacing it at once when all are written.

    `columns` are all that any row has; a .jsonl file takes those of each row.

    Raises:
        ConfigError: if the suffix names no known form.
        DataError: if a row has a column that `columns` lacks, or a number that Parquet cannot hold.
        WriteError: if the file cannot be written.
        MissingExtraError: if Parquet is wanted and pyarrow is not installed.
    """
    path = Path(path)
    check_written_suffix(path)
    if path.suffix.lower() == ".parquet":
        with whole_file(path) as draft:
            write_parquet(draft, columns, _arrow_rows(columns, rows))
        return
    as_csv = path.suffix.lower() == ".csv"
    # What UTF-8 cannot hold comes only from JSON written by others; it must not end a run.
    with (
        whole_file(path) as draft,
        draft.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file,
    ):
        write = _csv_writer(file, columns) if as_csv else _json_writer(file)
        for row in rows:
            write(row.cells)


def check_written_suffix(path: Path) -> None:
    """Raise ConfigError unless rows can be written to a file of this name."""
    if path.suffix.lower() not in WRITTEN_SUFFIXES:
        raise ConfigError(
            f"{path}: rows are written as {', '.join(WRITTEN_SUFFIXES[:-1])} or "
            f"{WRITTEN_SUFFIXES[-1]}, not {path.suffix!r}"
        )


def _arrow_rows(columns: Sequence[str], rows: Iterable[ScoreRow]) -> Iterator[Row]:
    known = frozenset(columns)
    for row in rows:
        _check_known(row.cells, known)
        yield {column: _arrow_cell(row, column) for column in columns}


def _check_known(cells: Cells, known: frozenset[str]) -> None:
    """Refuse a row of JSON lines that has more than the first one: a table has no place for it."""
    if further := cells.keys() - known:
        raise DataError(
            f"a row of {cells['path']!r} has columns that the table lacks "
            f"({', '.join(sorted(further))}); write to a .jsonl file instead"
        )


def _arrow_cell(row: ScoreRow, name: str) -> str | int | float | None:
    cell = row.cells.get(name)
    if cell is None or cell == "":
        return None
    if name not in _NUMBER_COLUMNS:
        return str(cell)
    try:
        number = float(str(cell))
        if type_of_column(name) == "float":
            return number
        whole = int(number)
    except (ValueError, OverflowError):
        whole = _MOST_INT + 1
    if abs(whole) > _MOST_INT:
        raise DataError(
            f"line {row.line}: {name} {cell!r} is not a number that Parquet's column takes; "
            "correct it, or write to a .csv or .jsonl file"
        )
    return whole


def _csv_writer(file: IO[str], columns: Sequence[str]) -> Callable[[Cells], object]:
    write_cells, columns = csv_writer(file, columns), tuple(columns)
    known = frozenset(columns)

    def write(cells: Cells) -> None:
        if isinstance(cells, CsvCells) and cells.columns == columns:
            write_cells(cells.fields)
            return
        _check_known(cells, known)
        write_cells([cells.get(column, "") for column in columns])

    return write


def _json_writer(file: IO[str]) -> Callable[[Cells], object]:
    def write(cells: Cells) -> None:
        typed = {name: _typed(name, cell) for name, cell in cells.items()}
        file.write(json.dumps(typed, ensure_ascii=False, default=str) + "\n")

    return write


def _typed(name: str, cell: object) -> object:
    """Return a cell as JSON wants it: a .csv file's numbers are text."""
    if cell == "" and (name in _NUMBER_COLUMNS or name == "band"):
        return None
    if name not in _NUMBER_COLUMNS or not isinstance(cell, str):
        return cell
    for number in (int, float):
        try:
            value = number(cell)
        except ValueError:
            continue
        return value if math.isfinite(value) else cell
    return cell


def _check_row(line: int, cells: Cells) -> ScoreRow:
    """Return a row, or raise ValueError with what is wrong; where it stands, the caller knows."""
    try:
        path, cell, status = cells["path"], cells["score"], cells["status"]
        score = None if cell is None or cell == "" else _read_score(cell)
        if not isinstance(path, str):
            raise TypeError
        if not path.isascii():
            os.fsencode(path)  # slower
    except KeyError as error:
        raise ValueError(f"has no column {error.args[0]}, unlike the first row") from error
    except (TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"path {path!r} is not a file name") from error
    if not path or "\0" in path:
        raise ValueError(f"path {path!r} is not a file name")
    if status == "ok" and score is None:
        raise ValueError("status is ok, but the score is empty; score the photo again")
    return ScoreRow(line, path, score if status == "ok" else None, str(status), cells)


def _read_score(cell: Any) -> float:  # noqa: ANN401 - what a file holds
    """Return the score in a cell."""
    try:
        score = float(cell) if isinstance(cell, _NUMERIC) else math.nan
    except (ValueError, OverflowError):
        score = math.nan
    if 0 <= score <= 1 and not isinstance(cell, bool):
        return score
    if math.isnan(score) or isinstance(cell, bool):
        raise ValueError(f"score {cell!r} is not a number; correct it or score again")
    raise ValueError(
        f"score {cell!r} lies outside 0..1, the scale of `mspt score`; correct it or score again"
    )


def read_table(path: Path) -> Iterator[Record]:
    """Yield line and cells of each row of any .csv, .jsonl or .parquet file.

    Raises:
        DataError: as `ScoreFile.rows`.
    """
    return _reader_of(path)(path)


def _reader_of(path: Path) -> Callable[[Path], Iterator[Record]]:
    readers = {".csv": _read_csv, ".jsonl": _read_json_lines, ".parquet": _read_parquet}
    try:
        return readers[path.suffix.lower()]
    except KeyError as error:
        raise DataError(
            f"{path}: scores are read from {', '.join(readers)}, not {path.suffix!r}"
        ) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file; `mspt score PHOTOS -o {path.name}` writes one"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}") from error


def _read_csv(path: Path) -> Iterator[Record]:
    # utf-8-sig: spreadsheets put a mark at the start
    with _reading(path), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        names = next(reader, [])
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(
                f"{path}: its first line, the header, names {', '.join(map(repr, twice))} twice; "
                "rename one, or add a header"
            )
        for sign, called in ((";", "semicolons"), ("\t", "tabs")):
            if len(names) == 1 and sign in names[0]:
                raise DataError(f"{path}: is separated by {called}; save it with commas")
        columns, width = tuple(names), len(names)
        places = {name: place for place, name in enumerate(names)}
        for fields in reader:
            if not fields:
                continue  # an empty line
            if len(fields) != width:
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields, but the header names "
                    f"{width}; if the file was cut short, delete its last line or score again"
                )
            yield reader.line_num, CsvCells(columns, places, fields)


def _read_json_lines(path: Path) -> Iterator[Record]:
    with _reading(path), path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                cells = json.loads(text)
            except (ValueError, RecursionError) as error:
                cut = "" if text.endswith("\n") else "the last line is cut short: delete it; "
                raise DataError(
                    f"{path}, line {line}: no JSON object ({error}); {cut}or score again"
                ) from error
            if not isinstance(cells, dict):
                raise DataError(f"{path}, line {line}: {text.strip()[:40]!r} is not a JSON object")
            yield line, cells


def _read_parquet(path: Path) -> Iterator[Record]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
        arrow_errors = importlib.import_module("pyarrow").ArrowException
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("parquet", error) from error
    with _reading(path):
        try:
            with parquet.ParquetFile(path) as file:
                rows = (row for batch in file.iter_batches() for row in batch.to_pylist())
                yield from enumerate(rows, 1)
        except arrow_errors as error:
            raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
