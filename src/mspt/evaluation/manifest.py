"""Manifests: lists of images with their `mos`. The one reader and writer of such files.

A manifest is a CSV with the header `path,mos[,source,split,identity,degradation,severity]`, paths
relative to it. Read as well: VQualA 2025's `train.csv` (no header, `image_name,score`, the
extension may be missing) and the header `Image,raw_score,mapped_score`.
"""

import csv
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mspt.errors import DataError
from mspt.files import TruePaths, whole_file
from mspt.image.formats import SUFFIXES
from mspt.inference.inputs import split_member

SPLITS = ("train", "val", "test")
Labels = Literal["needed", "optional", "ignored"]
_NAMED = 5  # broken images that an error lists
COLUMNS = ("path", "mos", "source", "split", "identity", "degradation", "severity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One labelled image."""

    path: Path  # absolute, or relative to the working directory
    mos: float  # 0..1, higher looks better
    source: str = ""  # the data set or generator it comes from
    split: str = ""  # train, val or test
    identity: str = ""  # who or what is shown; the path if unknown
    degradation: str = ""  # kind of synthetic damage
    severity: float | None = None  # 0..1 within the kind

    @property
    def is_undamaged(self) -> bool:
        """Tell whether nothing was done to the photo: `mspt synthesize` names what it did."""
        return not self.degradation

    @property
    def group(self) -> str:
        """Return what must stay together in splits and bootstraps."""
        return self.identity or str(self.path)


def check_present(entries: Sequence[Entry]) -> None:
    """Refuse entries whose file is missing.

    Raises:
        DataError: naming them.
    """
    paths = [entry.path for entry in entries]
    missing = [path for path in paths if not (path.is_file() or split_member(str(path)))]
    refuse_images([f"{path}: no such file" for path in missing], len(entries))


def find_doubles(entries: Iterable[Entry]) -> list[tuple[int, int]]:
    """Return the places of images that are listed twice, by whatever names: (earlier, later)."""
    first: dict[Path, int] = {}
    twice: list[tuple[int, int]] = []
    true_paths = TruePaths()
    for place, entry in enumerate(entries):
        path = true_paths.of(entry.path)
        earlier = first.setdefault(path.resolve() if path.is_symlink() else path, place)
        if earlier != place:
            twice.append((earlier, place))
    return twice


def refuse_images(problems: Sequence[str], count: int) -> None:
    """Raise DataError, naming the first few, if some of `count` images have problems."""
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise DataError(
            f"{len(problems)} of {count} images cannot be used: "
            f"{'; '.join(problems[:_NAMED])}{more}. Repair them or take them off the manifest"
        )


def read_manifest(
    path: Path,
    *,
    images: Path | None = None,
    mos_scale: tuple[float, float] = (0, 1),
    labels: Labels = "needed",
    path_column: str = "path",
    mos_column: str = "mos",
) -> list[Entry]:
    """Read a manifest in any of the known forms.

    Args:
        path: the manifest.
        images: folder that its names are relative to; default: the manifest's own.
        mos_scale: (worst, best) of the labels as written; they come out mapped to 0..1.
        labels: "optional" lets `mos` be empty, or the column missing, "ignored" does not look at
            them; such entries have NaN.
        path_column: what a header calls the images.
        mos_column: what a header calls the labels.

    Raises:
        DataError: naming the file, the line and the remedy; also if it lists no image.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read as CSV: {reason}") from error
    rows_with_lines = [(line, row) for line, row in enumerate(rows, 1) if any(row)]
    if not rows_with_lines:
        raise DataError(f"{path}: is empty; expected the header path,mos")
    names = rows_with_lines[0][1]
    form = _Form(path, images or path.parent, mos_scale, labels, path_column, mos_column)
    read_row, has_header = _row_reader(form, names)
    entries = [read_row(line, row) for line, row in rows_with_lines[int(has_header) :]]
    if not entries:
        raise DataError(f"{path}: has a header but lists no image")
    return entries


def select_entries(
    entries: Sequence[Entry], *, split: str | None = None, sources: Iterable[str] | None = None
) -> list[Entry]:
    """Return the entries of a split and of some sources, in order; None takes all."""
    wanted = None if sources is None else set(sources)
    return [
        entry
        for entry in entries
        if (split is None or entry.split == split) and (wanted is None or entry.source in wanted)
    ]


def write_manifest(path: Path, entries: Iterable[Entry]) -> None:
    """Write a manifest with all columns, paths relative to it, replacing it at once.

    Raises:
        WriteError: if it cannot be written.
    """
    with (
        whole_file(path) as draft,
        draft.open("w", encoding="utf-8", newline="", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        names = RelativeNames(path.parent)
        for entry in entries:
            severity = "" if entry.severity is None else entry.severity
            labels = (entry.mos, entry.source, entry.split, entry.identity, entry.degradation)
            writer.writerow((names.of(entry.path), *labels, severity))


class RelativeNames:
    """How a file in a folder names images: relative to it, links followed, with slashes."""

    def __init__(self, folder: Path) -> None:
        """Find out where the folder really is."""
        self._true_paths = TruePaths()
        self._folder = Path(os.path.realpath(folder))

    def of(self, path: Path) -> str:
        """Return an image's name, which leads from the folder to it."""
        return relative_name(self._true_paths.of(path), self._folder)


def relative_name(path: Path, folder: Path) -> str:
    """Return a path relative to a folder, with slashes; the path itself on another drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.as_posix()


RowReader = Callable[[int, list[str]], Entry]


@dataclass(frozen=True, slots=True)
class _Form:
    """What all rows of one manifest share."""

    path: Path
    images: Path
    mos_scale: tuple[float, float]  # worst, best
    labels: Labels
    path_column: str
    mos_column: str

    def read_number(self, line: int, column: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise DataError(f"{self.path}, line {line}: {column} {text!r} is not a number")
        return number

    def read_mos(self, line: int, text: str) -> float:
        """Return a label on the scale 0..1."""
        if self.labels == "ignored" or (self.labels == "optional" and not text):
            return math.nan
        raw = self.read_number(line, self.mos_column, text)
        worst, best = self.mos_scale
        mos = (raw - worst) / (best - worst)
        if not 0 <= mos <= 1:
            raise DataError(
                f"{self.path}, line {line}: mos {text} lies outside the scale {worst:g}..{best:g} "
                "(worst..best); correct it, or declare the scale that the labels have, such as "
                "--mos-scale 1,5 (`mos_scale` in a run file)"
            )
        return round(mos, 9)  # 0.38, not 0.38000000000000006


def _row_reader(form: _Form, first_row: list[str]) -> tuple[RowReader, bool]:
    """Return how to read a row of this file, and whether its first row is a header."""
    if first_row[:3] == ["Image", "raw_score", "mapped_score"]:
        return _pair_reader(form, name_column=0, mos_column=2), True
    if twice := sorted({name for name in first_row if name and first_row.count(name) > 1}):
        raise DataError(f"{form.path}: its header names {', '.join(twice)} twice; rename one")
    wanted = (form.path_column, form.mos_column)
    if wanted[0] in first_row and (wanted[1] in first_row or form.labels != "needed"):
        return _named_reader(form, first_row), True
    if wanted != ("path", "mos"):
        raise DataError(
            f"{form.path}: its header {','.join(first_row)!r} has no column "
            f"{' or no column '.join(name for name in wanted if name not in first_row)}"
        )
    if len(first_row) == 2 and _is_number(first_row[1]):
        return _pair_reader(form, name_column=0, mos_column=1), False
    raise DataError(
        f"{form.path}: the first line is {','.join(first_row)!r}; expected a header with path,mos "
        "(or VQualA's image_name,score without a header, or Image,raw_score,mapped_score); name "
        "other columns by --path-column and --mos-column"
    )


def _named_reader(form: _Form, names: list[str]) -> RowReader:
    def read_row(line: int, row: list[str]) -> Entry:
        if len(row) != len(names):
            raise DataError(
                f"{form.path}, line {line}: {len(row)} fields, but the header names {len(names)}"
            )
        fields = dict(zip(names, row, strict=True))
        severity = fields.get("severity", "")
        return Entry(
            path=form.images / fields[form.path_column],
            mos=form.read_mos(line, fields.get(form.mos_column, "")),
            source=fields.get("source", ""),
            split=fields.get("split", ""),
            identity=fields.get("identity", ""),
            degradation=fields.get("degradation", ""),
            severity=form.read_number(line, "severity", severity) if severity else None,
        )

    return read_row


def _pair_reader(form: _Form, *, name_column: int, mos_column: int) -> RowReader:
    files = _files_by_stem(form.images)

    def read_row(line: int, row: list[str]) -> Entry:
        if len(row) <= mos_column:
            raise DataError(f"{form.path}, line {line}: {len(row)} fields are too few")
        name = row[name_column]
        image = form.images / name
        if image.suffix.lower() not in SUFFIXES:
            image = files.get(name, image)
        return Entry(path=image, mos=form.read_mos(line, row[mos_column]))

    return read_row


def _files_by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images")
    return {file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() in SUFFIXES}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
