"""Photos in .tar shards, as WebDataset keeps them: read one after another, or one by name.

In:   a shard, or the name of a member: `shards/000.tar/0001.jpg`.
Out:  the members that may be photos, and their bytes; captions and the like are passed over.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO

from mspt.errors import DecodeError, MissingFileError
from mspt.inference.inputs import other_kind
from mspt.limits import MAX_BYTES

SUFFIX = ".tar"
_MEMBER = re.compile(r"\.tar/", re.IGNORECASE)
_KNOWN_SHARDS = 16  # whose members' places are kept in mind


def is_shard(path: str) -> bool:
    """Tell whether a file is a shard, by its name."""
    return path.lower().endswith(SUFFIX) and os.path.isfile(path)


def split_member(path: str) -> tuple[str, str] | None:
    """Return shard and member of a member's name; None for all other names."""
    for match in _MEMBER.finditer(path):
        shard = path[: match.end() - 1]
        if os.path.isfile(shard):
            return shard, path[match.end() :]
    return None


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


def _may_be_photo(member: tarfile.TarInfo) -> bool:
    parts = member.name.removeprefix("./").split("/")
    is_hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return member.isfile() and not is_hidden and not other_kind(member.name)


def read_member(shard: str, name: str) -> bytes:
    """Return the bytes of one member.

    Raises:
        DecodeError: if the shard cannot be read, or has no such member.
    """
    try:
        first, size = _places_in(shard, Path(shard).stat().st_mtime_ns)[name]
        with Path(shard).open("rb") as file:
            file.seek(first)
            return file.read(min(size, MAX_BYTES + 1))
    except KeyError as error:
        raise MissingFileError(f"{shard} has no member {name}") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DecodeError(f"{shard} cannot be read: {error}") from error


@lru_cache(_KNOWN_SHARDS)
def _places_in(shard: str, changed_ns: int) -> dict[str, tuple[int, int]]:
    """Return where each member's bytes begin and how many there are; anew if the shard changed."""
    with tarfile.open(shard, mode="r:") as tar:
        return {member.name: (member.offset_data, member.size) for member in tar if member.isfile()}
