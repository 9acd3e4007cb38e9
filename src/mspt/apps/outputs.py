"""Rows to files: CSV and JSON lines, written as they come.

In:   QualityScore results.
Out:  a file whose rows are whole up to the last result, also when the run is stopped.
"""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from mspt.errors import ConfigError
from mspt.results import COLUMNS, Cell, QualityScore

OUTPUT_SUFFIXES = (".csv", ".jsonl")


class RowWriter:
    """Writes one row per result to a .csv or .jsonl file."""

    def __init__(self, path: Path) -> None:
        """Open the file, replacing an older one.

        Raises:
            ConfigError: if the suffix names no known form.
        """
        if path.suffix.lower() not in OUTPUT_SUFFIXES:
            raise ConfigError(
                f"{path}: rows are written as {' or '.join(OUTPUT_SUFFIXES)}, not {path.suffix!r}"
            )
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="", buffering=1)
        self.write = self._csv_writer() if path.suffix.lower() == ".csv" else self._write_json

    def _csv_writer(self) -> Callable[[QualityScore], None]:
        writer = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        return lambda result: writer.writerow(_printable(result))

    def _write_json(self, result: QualityScore) -> None:
        self._file.write(json.dumps(_printable(result), ensure_ascii=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _printable(result: QualityScore) -> dict[str, Cell]:
    return result.to_dict() | {"path": _valid_text(result.path)}


def printable_path(path: str) -> str:
    """Return a file name as one line of valid text, whatever bytes the file system holds."""
    return "".join(repr(c)[1:-1] if c in "\n\r\t" else c for c in _valid_text(path))


def _valid_text(path: str) -> str:
    """Return a file name that UTF-8 can hold, undecodable bytes escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
