"""Photos in .tar shards, as WebDataset keeps them: read one after another, or one by name.

In:   a shard, or the name of a member: `shards/000.tar/0001.jpg`.
Out:  the members that may be photos, and their bytes; captions and the like are passed over.
"""

import os
import tarfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO

from mspt.errors import DecodeError, MissingFileError
from mspt.inference.inputs import SHARD_SUFFIX, other_kind
from mspt.limits import MAX_BYTES

_KNOWN_SHARDS = 16  # whose members' places are kept in mind


def is_shard(path: str) -> bool:
    """Tell whether a file is a shard, by its name."""
    return path.lower().endswith(SHARD_SUFFIX) and os.path.isfile(path)


def read_members(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each photo of a shard, in order, without going back.

    Raises:
        DecodeError: where the shard ends early or is damaged, after what could be read.
        OSError: if the stream cannot be read: the shard may be whole all the same.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in filter(_may_be_photo, tar):
                if file := tar.extractfile(member):
                    yield member.name, file.read(MAX_BYTES + 1)
    except (tarfile.TarError, EOFError) as error:
        raise DecodeError(f"the shard ends early or is damaged: {error}") from error


def names_in(shard: str) -> set[str]:
    """Return the names of a shard's photos; none if it cannot be read to its end."""
    try:
        places, is_whole = _places_in(shard, Path(shard).stat().st_mtime_ns)
    except (tarfile.TarError, OSError):
        return set()
    return set(filter(_names_photo, places)) if is_whole else set()


def _may_be_photo(member: tarfile.TarInfo) -> bool:
    return member.isfile() and _names_photo(member.name)


def _names_photo(name: str) -> bool:
    parts = name.removeprefix("./").split("/")
    is_hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return not is_hidden and not other_kind(name)


def read_member(shard: str, name: str) -> bytes:
    """Return the bytes of one member.

    Raises:
        DecodeError: if the shard cannot be read, or has no such member.
    """
    try:
        places, is_whole = _places_in(shard, Path(shard).stat().st_mtime_ns)
        first, size = places.get(name) or places.get(f"./{name}") or (None, 0)
        with Path(shard).open("rb") as file:
            file.seek(first or 0)
            data = file.read(min(size, MAX_BYTES + 1))
    except (tarfile.TarError, OSError) as error:
        raise DecodeError(f"{shard} cannot be read: {error}") from error
    if first is None and is_whole:
        raise MissingFileError(f"{shard} has no member {name}")
    if first is None:
        raise DecodeError(f"{shard} ends early or is damaged, before {name}")
    if len(data) < min(size, MAX_BYTES + 1):
        raise DecodeError(f"{shard} ends early, within {name}")
    return data


@lru_cache(_KNOWN_SHARDS)
def _places_in(shard: str, changed_ns: int) -> tuple[dict[str, tuple[int, int]], bool]:
    """Return where each member's bytes begin and how many there are, and whether that is all.

    It is asked anew if the shard changed. Of a shard that ends early these are the members before
    its end, as in `read_members`.
    """
    places = dict[str, tuple[int, int]]()
    with tarfile.open(shard, mode="r:") as tar:
        try:
            for member in filter(tarfile.TarInfo.isfile, tar):
                places[member.name] = member.offset_data, member.size
        except (tarfile.TarError, EOFError):
            return places, False
    return places, True
