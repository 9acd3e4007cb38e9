"""Rows to files: CSV, JSON lines and Parquet, written as they come.

In:   QualityScore results.
Out:  a file whose rows are whole up to the last result, also when the run is stopped.
Not here: what becomes of a file that is there already (resume.py).
"""

import csv
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Protocol, Self

from mspt.errors import ConfigError, MissingExtraError, WriteError
from mspt.files import claim, whole_file
from mspt.results import COLUMNS, FACTOR_COLUMNS, Cell, QualityScore, type_of_column

OUTPUT_SUFFIXES = (".csv", ".jsonl", ".parquet")
_LIKE_ESCAPED = re.compile(r"\\(?=x(?:[89a-f][0-9a-f]|5c))")
_GROUP_ROWS = 10_000  # of a Parquet file: written together

Row = Mapping[str, Cell]


class _Form(Protocol):
    """One way to write rows."""

    def write(self, row: Row) -> None: ...
    def close(self, *, is_done: bool) -> None: ...


class RowWriter:
    """Writes one row per result to a .csv, .jsonl or .parquet file, behind those that are there."""

    def __init__(
        self, path: Path, columns: Sequence[str] = COLUMNS, size: int | None = None
    ) -> None:
        """Open the file; `resume.prepare_output` decides what becomes of one that is there.

        Args:
            path: its suffix says which form.
            columns: of every row, in this order; what a result lacks is left empty.
            size: in bytes, of what was prepared, to which rows are added; None: of any.

        Raises:
            ConfigError: if the suffix names no known form.
            MissingExtraError: if Parquet is wanted and pyarrow is not installed.
            WriteError: if another run writes to the file now, or has since it was prepared.
        """
        check_form(path)
        forms: dict[str, Callable[[Path, IO[str], Sequence[str]], _Form]]
        forms = dict(zip(OUTPUT_SUFFIXES, (_Csv, _JsonLines, _Parquet), strict=True))
        self._path, self._columns = path, columns
        file = _open_text(journal_of(path), size)
        self._form: _Form = forms[path.suffix.lower()](path, file, columns)
        self._is_done = True

    def write(self, result: QualityScore) -> None:
        """Write the row of a result.

        Raises:
            WriteError: if it cannot be written; the file then ends with the row before.
        """
        self._write(result.to_dict() | {"path": valid_text(result.path)})

    def _write(self, cells: Row) -> None:
        file = journal_of(self._path)
        whole = file.stat().st_size  # every row reaches the disk at once
        try:
            self._form.write({column: cells.get(column) for column in self._columns})
        except OSError as error:
            self._is_done = False
            with suppress(OSError):  # what waits to be written has no place either
                self._form.close(is_done=False)
            os.truncate(file, whole)
            raise WriteError(
                f"{self._path}: cannot be written: {error.strerror or error}; the rows so far are "
                "kept. Make room and go on with --resume"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stopped_politely = kind is not None and issubclass(kind, KeyboardInterrupt)
        self._form.close(is_done=self._is_done and (kind is None or stopped_politely))


class _Csv:
    def __init__(self, path: Path, file: IO[str], columns: Sequence[str]) -> None:
        self._file = file
        self._write = csv_writer(self._file, columns)

    def write(self, row: Row) -> None:
        self._write(row.values())

    def close(self, *, is_done: bool) -> None:
        self._file.close()


class _JsonLines:
    def __init__(self, path: Path, file: IO[str], columns: Sequence[str]) -> None:
        self._file = file

    def write(self, row: Row) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def close(self, *, is_done: bool) -> None:
        self._file.close()


class _Parquet:
    """Rows as JSON lines beside the file, turned into Parquet when all are there.

    A Parquet file cannot be read before it is closed: a killed run would lose all its rows.
    """

    def __init__(self, path: Path, file: IO[str], columns: Sequence[str]) -> None:
        self._path, self._columns, self._journal = path, columns, journal_of(path)
        self._rows = _JsonLines(path, file, columns)

    def write(self, row: Row) -> None:
        self._rows.write(row)

    def close(self, *, is_done: bool) -> None:
        try:
            if is_done:
                self._pack()  # before the file is closed, which lets other runs write to it
        finally:
            self._rows.close(is_done=is_done)
        if is_done:
            self._journal.unlink()

    def _pack(self) -> None:
        draft = self._path.with_name(f".{self._path.name}.part")  # this run's: it has the journal
        with whole_file(self._path, draft), self._journal.open(encoding="utf-8") as file:
            write_parquet(draft, self._columns, map(json.loads, file))


def write_parquet(file: Path | BinaryIO, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows in groups; what mspt writes has its types, further columns are text.

    Raises:
        MissingExtraError: if pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("parquet", error) from error
    types = {"str": pa.string(), "int": pa.int32(), "float": pa.float64()}
    known = {*COLUMNS, *FACTOR_COLUMNS}
    schema = pa.schema([(c, types[type_of_column(c) if c in known else "str"]) for c in columns])
    left = iter(rows)
    with pq.ParquetWriter(file, schema) as writer:
        while group := list(islice(left, _GROUP_ROWS)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def check_form(path: Path) -> None:
    """Raise what `RowWriter` would, before a file that is there is touched."""
    suffix = path.suffix.lower()
    if suffix not in OUTPUT_SUFFIXES:
        known = f"{', '.join(OUTPUT_SUFFIXES[:-1])} or {OUTPUT_SUFFIXES[-1]}"
        raise ConfigError(f"{path}: rows are written as {known}, not {path.suffix!r}")
    if suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("parquet", error) from error


def journal_of(path: Path) -> Path:
    """Return where the rows of an output are kept while it is written: itself, but for Parquet."""
    is_parquet = path.suffix.lower() == ".parquet"
    return path.with_name(f"{path.name}.rows.jsonl") if is_parquet else path


def csv_writer(file: IO[str], columns: Sequence[str]) -> Callable[[Collection[object]], None]:
    """Write the header and return what writes a row, whose cells stand in the columns' order."""
    line = _Line()
    plain = csv.writer(line, lineterminator="\n")
    # Python 3.11 leaves a bare carriage return unquoted, and no reader takes the row then.
    quoted = csv.writer(line, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(cells: Collection[object]) -> None:
        plain.writerow(cells)
        if "\r" in line.text:
            quoted.writerow(cells)
        file.write(line.text)

    if not file.tell():
        write(columns)
    return write


class _Line:
    """Holds the latest line of a csv.writer, so that it is searched as a whole."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


def _open_text(path: Path, size: int | None) -> IO[str]:
    """Open a file whose lines reach the disk one by one, so that a stopped run keeps them."""
    file = path.open("a", encoding="utf-8", newline="", buffering=1)
    try:
        claim(file)
        if size is not None and path.stat().st_size != size:
            raise WriteError(f"{path}: another run wrote to it just now; run this again")
    except WriteError:
        file.close()
        raise
    return file


def printable_path(path: str) -> str:
    """Return a file name as one line of valid text, whatever bytes the file system holds."""
    return one_line(valid_text(path))


def one_line(path: str) -> str:
    """Return the path of a row, which is valid text already, as one line.

    What does not print stands as its UTF-8 bytes, which `file_of` reads; control characters and
    lone surrogates as Python writes them.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in path)


def _escaped(character: str) -> str:
    if character.isascii() or "\ud800" <= character <= "\udfff":
        return repr(character)[1:-1]
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def unlike_formula(path: str) -> str:
    """Return a name of the same file that no spreadsheet takes for a formula.

    Source of the characters: OWASP, "CSV Injection".
    """
    return f"./{path}" if path.startswith(("=", "+", "-", "@", "\t", "\r")) else path


def valid_text(path: str) -> str:
    r"""Return a file name that UTF-8 can hold, undecodable bytes escaped, as in `\xff`.

    Where a name has those very characters, its backslash is escaped, too: `\x5cxff`.
    """
    if os.sep == "/":  # elsewhere a backslash parts folders
        path = _LIKE_ESCAPED.sub(r"\\x5c", path)
    return os.fsencode(path).decode("utf-8", "backslashreplace")
