"""One part: its photos read, scored, and their rows written to one file.

In:   a Part and a Scorer.
Out:  a Parquet file with the rows of `mspt score` and the shard, whole or not there.

Photos are read ahead by threads of their own, since a file of an object store takes its time; of
photos in memory there is a bounded number.
"""

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq

from mspt.cluster.plan import Part, holds_paths
from mspt.cluster.storage import Place, without_options
from mspt.errors import DataError, DecodeError, ImageError
from mspt.inference.faces import FaceSearch
from mspt.inference.scorer import Scorer
from mspt.inference.shards import read_members
from mspt.limits import MAX_BYTES
from mspt.parallel import map_in_order
from mspt.results import COLUMNS, FACTOR_COLUMNS, QualityScore
from mspt.scores.write import Row, valid_text, write_parquet

SHARD_COLUMN = "shard"
_READERS = 8  # files of an object store that are fetched at once
_TABLE_ROWS = 32  # of encoded images, in memory at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is done with every photo of a job."""

    factors: bool
    faces: FaceSearch | None
    threads: int  # that score, per actor
    base: str  # folder that relative paths mean
    output: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of all rows."""
        return (*COLUMNS, *(FACTOR_COLUMNS if self.factors else ()), SHARD_COLUMN)


@dataclass(frozen=True, slots=True)
class Item:
    """One photo on its way: how its row names it, and what is scored or why that cannot be."""

    name: str
    image: str | bytes | ImageError


@dataclass(frozen=True, slots=True)
class Count:
    """What became of a part."""

    rows: int
    failed: int  # of them not ok


def name_of_part(number: int) -> str:
    """Return the name of a part's file."""
    return f"part-{number:07d}.parquet"


def score_part(scorer: Scorer, part: Part, number: int, work: Work) -> Count:
    """Score a part and write its rows.

    Raises:
        WriteError: if they cannot be written.
        OSError, pyarrow.ArrowException: if a shard or table cannot be read, so that the part is
            not done.
    """
    rows, failed = list[Row](), 0
    for results in _score_all(_items_of(part, work), scorer, work):
        failed += sum(result.status != "ok" for result in results)
        rows += [r.to_dict() | {SHARD_COLUMN: valid_text(part.source)} for r in results]
    written = io.BytesIO()
    write_parquet(written, work.columns, rows)
    Place.of(work.output).below(name_of_part(number)).write(written.getvalue())
    return Count(len(rows), failed)


def _score_all(items: Iterable[Item], scorer: Scorer, work: Work) -> Iterator[list[QualityScore]]:
    """Yield what was said of each photo; by no more threads than are needed.

    Each thread has a heap of its own, and those begun anew for every part fill one after another.
    """
    score = partial(_score_item, scorer=scorer, faces=work.faces)
    if work.threads == 1:
        return map(score, items)
    return map_in_order(score, items, workers=work.threads)


def _score_item(item: Item, *, scorer: Scorer, faces: FaceSearch | None) -> list[QualityScore]:
    if isinstance(item.image, ImageError):
        results = [QualityScore.failed("", item.image, scorer.label)]
    else:
        results = scorer.score_or_explain(item.image, faces)
    return [replace(result, path=valid_text(item.name)) for result in results]


def _items_of(part: Part, work: Work) -> Iterable[Item]:
    if part.kind == "files":
        return _read_ahead(part.names, work.base)
    if part.kind == "tar":
        return _members(part.source, work.base)
    return _table_rows(part, work.base)


def _read_ahead(names: Iterable[str], base: str) -> Iterator[Item]:
    """Yield photos; local ones are not waited for, so no thread is needed to name them."""
    read = partial(_read, base=base)
    for are_remote, some in groupby(names, key=lambda name: "://" in name):
        if are_remote:
            yield from map_in_order(read, some, workers=_READERS, window=1)
        else:
            yield from map(read, some)


def _read(name: str, base: str) -> Item:
    """Return a photo's bytes; a local one's path, which is read where it is scored."""
    if "://" not in name:
        return Item(name, os.path.join(base, name))
    try:
        return Item(name, Place.of(name).read(MAX_BYTES))
    except ImageError as error:
        return Item(name, error)
    except (OSError, ValueError, DataError) as error:
        return Item(name, DecodeError(f"cannot be read: {error}"))


def _place(address: str, base: str) -> Place:
    return Place.of(address if "://" in address else os.path.join(base, address))


def _members(shard: str, base: str) -> Iterator[Item]:
    """Yield the photos of a tar, one after another; what cuts it off is an item, too."""
    with _place(shard, base).open_in_order() as stream:
        try:
            for name, data in read_members(stream):
                yield Item(f"{without_options(shard)}/{name}", data)
        except DecodeError as error:
            yield Item(shard, error)


def _table_rows(part: Part, base: str) -> Iterator[Item]:
    with _place(part.source, base).open() as file:
        table = pq.ParquetFile(file)
        if holds_paths(table.schema_arrow.field(part.column).type):
            names = (value or f"{part.source}#{row}" for row, value in _cells(table, part))
            yield from _read_ahead(names, base)
        else:
            yield from (_item_of_cell(part, row, value) for row, value in _cells(table, part))


def _cells(table: pq.ParquetFile, part: Part) -> Iterator[tuple[int, Any]]:
    """Yield the part's cells and the numbers of their rows; groups before it are not read."""
    last, start = part.first + part.count, 0
    for group in range(table.metadata.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        if start + rows > part.first and start < last:
            row = start
            for batch in table.iter_batches(_TABLE_ROWS, row_groups=[group], columns=[part.column]):
                for place in range(max(0, part.first - row), min(len(batch), last - row)):
                    yield row + place, batch.column(0)[place].as_py()
                row += len(batch)
                if row >= last:
                    return
        start += rows


def _item_of_cell(part: Part, row: int, cell: Any) -> Item:  # noqa: ANN401 - any of Parquet's types
    """Return an encoded image: bytes, or `datasets`' pair of bytes and path."""
    name = f"{part.source}#{row}"
    if isinstance(cell, dict):
        # The number stays: a table's own names may be alike, such as image.jpg in every row.
        name = f"{name}/{cell['path']}" if cell.get("path") else name
        cell = cell.get("bytes")
    if not isinstance(cell, bytes):
        return Item(name, DecodeError(f"{part.column} of row {row} holds no encoded image"))
    return Item(name, cell)
