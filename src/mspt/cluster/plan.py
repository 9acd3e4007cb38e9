"""Which photos belong to which part, the same whenever it is asked: what restarting relies on.

In:   photos, folders, .tar shards and .parquet tables, as typed.
Out:  numbered parts; of each the rows go to one file, so that a part is done or not done.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Literal
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileType

from mspt.cluster.storage import Place, address_below, without_options
from mspt.errors import ConfigError, DataError
from mspt.inference.inputs import Found, find_images, other_kind
from mspt.scores.lists import PATH_COLUMNS

_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
_IMAGE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "bytes", "img")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Photos whose rows go to one file."""

    kind: Literal["files", "tar", "table"]
    names: tuple[str, ...] = ()  # of kind files: the photos, as rows name them
    source: str = ""  # of the other kinds: the shard or the table
    column: str = ""  # of a table: where the paths or the bytes are
    first: int = 0  # of a table: its first row
    count: int = 0  # of a table: how many rows


@dataclass(slots=True)
class Plan:
    """All parts of a job, in the order of its inputs."""

    parts: list[Part] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)  # by suffix: plainly no photos

    def describe_others(self) -> str:
        """Return how many files were passed over, by kind."""
        return Found([], self.passed_over).describe_others()

    def has_relative_paths(self) -> bool:
        """Tell whether some photos are found from the working directory alone."""
        named = chain.from_iterable((part.source, *part.names) for part in self.parts)
        return any(name and "://" not in name and not os.path.isabs(name) for name in named)

    def digest(self) -> str:
        """Return what changes when the parts do."""
        state = hashlib.sha256()
        for part in self.parts:
            state.update(repr(asdict(part)).encode(errors="surrogateescape"))
        return state.hexdigest()


def make_plan(
    inputs: Sequence[str],
    *,
    listed: Sequence[str] = (),
    column: str = "",
    part_photos: int = 1000,
    output: str = "",
) -> Plan:
    """Divide inputs into parts.

    Args:
        inputs: files, folders, patterns and addresses such as s3://bucket/folder. A .tar is a shard
            (WebDataset) and one part; a .parquet is a table with a column of paths or of encoded
            images, such as `datasets` writes.
        listed: photos of a list.
        column: of the tables; default: the first with a known name.
        part_photos: how many photos a part has; a shard has as many as it has.
        output: where rows will go; what lies there is no input, also where a folder holds it.

    Raises:
        TypeError: if handed one path, not a list.
        ConfigError: if `part_photos` is below 1, or nothing is found.
        DataError: if an input does not exist, or a table has no such column.
    """
    if isinstance(inputs, str):
        raise TypeError(f"inputs takes several paths: [{inputs!r}]")
    if part_photos < 1:
        raise ConfigError(f"part_photos {part_photos} must be at least 1")
    plan, photos, is_output, left_out = Plan(), list[str](), _Below(output), False

    def end_part(at_least: int) -> None:
        while len(photos) >= at_least:
            plan.parts.append(Part(kind="files", names=tuple(photos[:part_photos])))
            del photos[:part_photos]

    for name in _files_of(inputs, listed, plan):
        if output and is_output(name):
            left_out = True
        elif without_options(name).lower().endswith(".tar"):
            end_part(1)
            plan.parts.append(Part(kind="tar", source=name))
        elif _is_table(name):
            end_part(1)
            plan.parts += _parts_of_table(name, column, part_photos)
        else:
            photos.append(name)
            end_part(part_photos)
    end_part(1)
    if not plan.parts:
        shown = ", ".join([*inputs[:3], *(["..."] if len(inputs) > 3 else [])])
        but = f", but for what lies in {output}, where rows go" if left_out else ""
        raise ConfigError(f"nothing to score: no photo, shard or table found at {shown}{but}")
    return plan


def _files_of(inputs: Sequence[str], listed: Sequence[str], plan: Plan) -> Iterator[str]:
    """Yield photos, shards and tables; count what plainly is none of them."""
    for typed in inputs:
        names = _remote_files(typed) if "://" in typed else _local_files(typed)
        if not names:
            raise DataError(f"{typed}: there is no such file, or nothing in the folder")
        for name in names:
            plain = _is_table(name) or name == typed
            kind = "" if plain else other_kind(without_options(name))
            if kind:
                plan.passed_over[kind] += 1
            else:
                yield name
    yield from listed


class _Below:
    """Tells what lies in a folder, however its name and that of a file are written."""

    def __init__(self, folder: str) -> None:
        self._top = _true_folder(without_options(folder))
        self._known = dict[str, bool]()  # folders: many files lie in each

    def __call__(self, name: str) -> bool:
        folder = os.path.dirname(without_options(name))
        if folder not in self._known:
            self._known[folder] = _true_folder(folder).startswith(self._top)
        return self._known[folder]


def _true_folder(name: str) -> str:
    """Return a folder as all that lies in it begins, links followed, escapes undone."""
    if "://" in name:
        name = unquote(name).removeprefix("file://")
    if "://" not in name:
        with suppress(ValueError):  # no folder can have that name: its files' rows will say so
            name = os.path.realpath(name)
    return f"{name.rstrip('/')}/"


def _local_files(typed: str) -> list[str]:
    return find_images([typed], all_files=True).files


def _remote_files(address: str) -> list[str]:
    place = Place.of(address)
    try:
        kind = place.kind
        below = list(place.files()) if kind == FileType.Directory else []
    except OSError as error:
        raise DataError(f"{address}: {error}") from error
    if kind == FileType.File:
        return [address]
    return [address_below(address, name) for name in below]


def _is_table(name: str) -> bool:
    return without_options(name).lower().endswith(".parquet")


def _parts_of_table(address: str, column: str, part_photos: int) -> Iterator[Part]:
    try:
        with Place.of(address).open() as file:
            metadata = pq.ParquetFile(file)
            schema, rows = metadata.schema_arrow, metadata.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{address}: no Parquet table that can be read: {error}") from error
    names = [column] if column else [*_IMAGE_COLUMNS, *PATH_COLUMNS]
    found = next((name for name in names if name in schema.names), "")
    if not found:
        asked = f"no column {column!r}" if column else "no column that is known to hold images"
        raise DataError(f"{address}: {asked}; it has {', '.join(schema.names)}; --column")
    if schema.names.count(found) > 1:
        raise DataError(f"{address}: has two columns {found!r}; name another one by --column")
    kind = schema.field(found).type
    if not holds_paths(kind) and not _holds_images(kind):
        raise DataError(
            f"{address}: column {found!r} holds {kind}, neither paths nor encoded images; name "
            "another one by --column"
        )
    for first in range(0, rows, part_photos):
        count = min(part_photos, rows - first)
        yield Part(kind="table", source=address, column=found, first=first, count=count)


def holds_paths(kind: pa.DataType) -> bool:
    """Tell whether a column of this type is text."""
    return any(is_text(_plain(kind)) for is_text in _TEXT)


def _holds_images(kind: pa.DataType) -> bool:
    """Tell whether a column of this type may be encoded images, or `datasets`' pairs of these."""
    kind = _plain(kind)
    if pa.types.is_struct(kind):
        return "bytes" in {field.name for field in kind}
    return any(is_bytes(kind) for is_bytes in _BYTES)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
