"""Going on behind the rows that a stopped run has left, without a lost or doubled one.

In:   an output file, as a run was killed while writing it: its last row may be half, and the rows
      of its last photo may not be all.
Out:  the file cut back to whole photos, and the names of these; `write.RowWriter` appends to it.

Parquet cannot be appended to: rows wait in NAME.parquet.rows.jsonl until the run is done.
"""

import csv
import json
from collections import Counter
from collections.abc import Collection, Container, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mspt.errors import ConfigError, DataError, MsptError
from mspt.files import check_unclaimed, claim
from mspt.inference.inputs import same_path, split_member
from mspt.inference.shards import is_shard, names_in
from mspt.inference.video import split_frame
from mspt.scores.asked import Asked
from mspt.scores.read import file_of, open_scores, read_table, write_rows
from mspt.scores.write import check_form, journal_of, valid_text

_Place = tuple[int, dict[str, str]]  # where a row ends, in bytes, and its cells as text


class Kept(NamedTuple):
    """What an output has already."""

    photos: Counter[str]  # whose rows it has, and how often: a list may name one twice
    size: int  # in bytes, of the file that rows are added to


NOTHING = Kept(Counter(), 0)


def prepare_output(
    output: Path,
    columns: Sequence[str],
    *,
    resume: bool,
    overwrite: bool,
    asked: Asked,
    images: Sequence[str] | None = None,
) -> Kept:
    """Make an output ready to be written; return what it has already.

    Args:
        output: .csv, .jsonl or .parquet.
        columns: of the rows that will be written.
        resume: go on behind the rows that are there.
        overwrite: replace what is there.
        asked: what wrote the rows that are there, if it can be told, is to have been the same.
        images: that will be scored. The last one that has rows may lack some, so it loses them if
            it is among these; None: in any case.

    Raises:
        ConfigError: if there is a file already and neither is asked for, or if its rows are of
            another model or of other options; or if the suffix names no known form.
        DataError: if it is not a file of rows, which is then left as it is.
        WriteError: if another run writes to it now.
    """
    check_form(output)
    kept = journal_of(output)
    there = [path for path in dict.fromkeys((kept, output)) if path.is_file()]
    if resume or overwrite:
        for path in there:
            check_unclaimed(path)
    if not there or overwrite:
        for path in there:
            path.unlink()
        return NOTHING
    if not resume:
        raise ConfigError(
            f"{there[0]} exists; --resume goes on behind its rows, --overwrite replaces them"
        )
    names = None if images is None else list(map(same_name, images))
    is_packed = not kept.is_file()
    if is_packed:
        _unpack(output, kept, columns)
    try:
        return _cut_back(kept, columns, asked, names)
    except MsptError:
        if is_packed:
            kept.unlink()
        raise


def leave_out(images: Sequence[str], done: Counter[str]) -> list[str]:
    """Return the photos and videos that have no rows yet; the first ones are those that have."""
    left, todo = done.copy(), list[str]()
    for image in images:
        name = same_name(image)
        if left[name] > 0:
            left[name] -= 1
        else:
            todo.append(image)
    return todo


def same_name(path: str) -> str:
    """Return what rows of a photo have in common, however its path was typed."""
    return same_path(valid_text(path))


def _unpack(output: Path, kept: Path, columns: Sequence[str]) -> None:
    """Turn a finished Parquet file back into rows that can be added to."""
    if next(read_table(output), None) is None:  # of a run that was stopped before its first row
        kept.touch()
        return
    file = open_scores(output)
    _check_columns(output, file.columns, columns)
    write_rows(kept, columns, file.rows())  # at once: a part of them would pass for all


def _cut_back(
    path: Path,
    columns: Sequence[str],
    asked: Asked,
    names: Sequence[str] | None,
) -> Kept:
    """Cut a file behind its last whole photo; return what stays."""
    again = None if names is None else Counter(names)
    if again:
        _check_apart(again)
    with path.open("r+", encoding="utf-8") as file:
        claim(file)
        photos, size = _whole_rows(path, columns, asked, again)
        file.truncate(size)
    return Kept(photos, size)


def _check_apart(listed: Counter[str]) -> None:
    """Refuse a shard beside one of its members: whose rows are those of the member?

    Raises:
        ConfigError: naming the member.
    """
    for name in listed:
        if (member := split_member(file_of(name))) and same_name(member[0]) in listed:
            raise ConfigError(
                f"{name} lies in {member[0]}, which is listed, too, so that --resume cannot tell "
                "whose rows are there; list one of them"
            )


def _whole_rows(
    path: Path, columns: Sequence[str], asked: Asked, again: Counter[str] | None
) -> Kept:
    """Return the photos whose rows are whole, and where they end."""
    done, listed = Counter[str](), again or Counter[str]()
    members = set[str]()  # of the latest photo, if it is a listed shard: whose rows are there
    photo, first, start, end, last = "", None, 0, 0, None
    for stop, cells in _rows_of(path, columns):
        try:
            asked.check_row(path, cells, last)
        except ValueError as error:  # a number that is none
            raise _no_rows(path) from error
        name = _photo_of(cells["path"], listed)
        row = cells["path"], cells["face"]
        if name != photo or (row == first and done[name] < listed[name]):
            if members:
                _check_all_there(path, photo, members)
                members.clear()
            photo, first, start = name, row, end
            done[name] += 1
        if name in listed and is_shard(file_of(name)):
            members.add(cells["path"])
        end, last = stop, cells
    if last is not None:
        if again is None or photo in again or asked.lacks_faces(last):
            done[photo] -= 1  # its rows may not be all: it is scored once more
        else:
            start = end
    return Kept(+done, start if last is not None else _head_of(path, columns))


def _check_all_there(path: Path, shard: str, rows: Collection[str]) -> None:
    """Refuse rows of some members of a shard for the whole: they were listed by name.

    Raises:
        ConfigError: naming the shard.
    """
    lacking = names_in(file_of(shard)) - {
        member[1] for r in rows if (member := split_member(file_of(r)))
    }
    if lacking:
        raise ConfigError(
            f"{path}: has rows of some members of {shard}, such as {min(rows)}, and none of "
            f"{min(lacking)}; list what was listed before, or name another file"
        )


def _photo_of(path: str, listed: Container[str]) -> str:
    """Return what was to be scored when a row was written.

    Of a video's frame it is the video; of a shard's member the shard, unless itself is listed.
    """
    name = same_name(file_of(path))
    if name in listed:
        return name
    if member := split_member(file_of(path)):
        return same_name(member[0])
    frame = split_frame(name)
    return frame[0] if frame else name


def _rows_of(path: Path, columns: Sequence[str]) -> Iterator[_Place]:
    return _csv_rows(path, columns) if path.suffix.lower() == ".csv" else _json_rows(path, columns)


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[_Place]:
    """Yield the whole rows of a CSV; only its last may be half."""
    place = 0

    def lines() -> Iterator[str]:
        nonlocal place
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):  # half-written
                    return
                place += len(line)
                yield line.decode("utf-8", "replace")

    reader = csv.reader(lines())
    try:
        header = next(reader, None)
        if header is None:
            return
        _check_columns(path, header, columns)
        for fields in reader:
            if len(fields) != len(columns):
                if next(reader, None) is None:
                    return
                raise _no_rows(path)
            yield place, dict(zip(columns, fields, strict=True))
    except csv.Error as error:
        raise _no_rows(path) from error


def _json_rows(path: Path, columns: Sequence[str]) -> Iterator[_Place]:
    """Yield the whole rows of JSON lines; only the last may be half."""
    place = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):  # half-written
                return
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError):
                cells = None
            if not isinstance(cells, dict):
                raise _no_rows(path)
            _check_columns(path, tuple(cells), columns)
            place += len(line)
            yield place, {name: "" if c is None else str(c) for name, c in cells.items()}


def _head_of(path: Path, columns: Sequence[str]) -> int:
    """Return where rows begin in a file that has no whole one."""
    is_csv = path.suffix.lower() == ".csv"
    head = f"{','.join(columns)}\n".encode() if is_csv else f'{{"{columns[0]}": '.encode()
    with path.open("rb") as file:
        found = file.read(len(head))
        if not head.startswith(found) or (not is_csv and _is_whole(found + file.read())):
            raise _no_rows(path)
    return len(head) if is_csv and found == head else 0  # half a header is written once more


def _is_whole(line: bytes) -> bool:
    """Tell whether a line without an end is a row all the same: mspt ends its own."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _no_rows(path: Path) -> DataError:
    return DataError(
        f"{path}: is not, or not all, rows that mspt wrote, so it was left as it is; name another "
        "file, or --overwrite it"
    )


def _check_columns(path: Path, found: Sequence[str], columns: Sequence[str]) -> None:
    if found and found[0] == f"\ufeff{columns[0]}":
        raise DataError(
            f"{path}: begins with a byte order mark, so a spreadsheet has saved it anew; resume "
            "with the file that mspt wrote, or name another file"
        )
    if tuple(found) != tuple(columns):
        other = sorted(set(found) ^ set(columns))
        raise DataError(
            f"{path}: its rows have other columns than these options give ({', '.join(other)}); "
            "resume with the options that it was begun with, or name another file"
        )
