"""Rows to files: CSV, JSON lines and Parquet, written as they come.

In:   QualityScore results.
Out:  a file whose rows are whole up to the last result, also when the run is stopped.
"""

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

from mspt.errors import ConfigError, MissingExtraError
from mspt.results import COLUMNS, Cell, QualityScore, type_of_column

OUTPUT_SUFFIXES = (".csv", ".jsonl", ".parquet")
_GROUP_ROWS = 10_000  # of a Parquet file: written together

Row = dict[str, Cell]


class _Form(Protocol):
    """One way to write rows."""

    def write(self, row: Row) -> None: ...
    def close(self) -> None: ...


class RowWriter:
    """Writes one row per result to a .csv, .jsonl or .parquet file."""

    def __init__(self, path: Path, columns: Sequence[str] = COLUMNS) -> None:
        """Open the file, replacing an older one.

        Args:
            path: its suffix says which form.
            columns: of every row, in this order; what a result lacks is left empty.

        Raises:
            ConfigError: if the suffix names no known form.
            MissingExtraError: if Parquet is wanted and pyarrow is not installed.
        """
        forms: dict[str, Callable[[Path, Sequence[str]], _Form]]
        forms = dict(zip(OUTPUT_SUFFIXES, (_Csv, _JsonLines, _Parquet), strict=True))
        form = forms.get(path.suffix.lower())
        if form is None:
            known = f"{', '.join(OUTPUT_SUFFIXES[:-1])} or {OUTPUT_SUFFIXES[-1]}"
            raise ConfigError(f"{path}: rows are written as {known}, not {path.suffix!r}")
        self._columns = columns
        self._form: _Form = form(path, columns)

    def write(self, result: QualityScore) -> None:
        """Write the row of a result."""
        cells = result.to_dict() | {"path": _valid_text(result.path)}
        self._form.write({column: cells.get(column) for column in self._columns})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._form.close()


class _Csv:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file = _open_text(path)
        self._write = csv_writer(self._file, columns)

    def write(self, row: Row) -> None:
        self._write(row)

    def close(self) -> None:
        self._file.close()


class _JsonLines:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file = _open_text(path)

    def write(self, row: Row) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """Rows by groups; the file can be read once it is closed, which a stop by a signal does too."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("parquet", error) from error
        types = {"str": pa.string(), "int": pa.int32(), "float": pa.float64()}
        self._schema = pa.schema([(c, types[type_of_column(c)]) for c in columns])
        self._make_table: Any = pa.Table.from_pylist
        self._writer = pq.ParquetWriter(path, self._schema)
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []  # first, so that no stop can make it write them twice
        self._writer.write_table(self._make_table(rows, schema=self._schema))

    def close(self) -> None:
        try:
            if self._rows:
                self._flush()
        finally:
            self._writer.close()


def csv_writer(file: IO[str], columns: Sequence[str]) -> Callable[[Mapping[str, object]], None]:
    """Write the header and return what writes a row, which raises ValueError for other columns."""
    plain = csv.DictWriter(file, columns, lineterminator="\n")
    # Python 3.11 leaves a bare carriage return unquoted, and no reader takes the row then.
    quoted = csv.DictWriter(file, columns, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writeheader()

    def write(row: Mapping[str, object]) -> None:
        risky = any("\r" in cell for cell in row.values() if isinstance(cell, str))
        (quoted if risky else plain).writerow(row)

    return write


def _open_text(path: Path) -> IO[str]:
    """Open a file whose lines reach the disk one by one, so that a stopped run keeps them."""
    return path.open("w", encoding="utf-8", newline="", buffering=1)


def printable_path(path: str) -> str:
    """Return a file name as one line of valid text, whatever bytes the file system holds."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in _valid_text(path))


def _valid_text(path: str) -> str:
    """Return a file name that UTF-8 can hold, undecodable bytes escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
