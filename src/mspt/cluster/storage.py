"""Files wherever they lie: local paths, and s3://, gs://, hdfs:// ... by pyarrow's file systems.

In:   paths and addresses, as typed.
Out:  their bytes, what a folder holds, and files that appear whole or not at all.
"""

import os
import re
import time
import uuid
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

from pyarrow import NativeFile, fs

from mspt.errors import DataError, MissingFileError, WriteError

_WHOLE_WHEN_CLOSED = ("s3", "gcs", "abfs")  # object stores show a file once it is complete
_DRAFT = ".mspt-draft-"
_WRITTEN_S = 3600  # within which a draft has become a file
_STAYS = "%/:?@!$&'()*+,;=~"  # in an address; a blank, a # or an umlaut is escaped for pyarrow


@dataclass(frozen=True, slots=True)
class Place:
    """A file or a folder on some file system."""

    system: fs.FileSystem
    path: str

    @classmethod
    def of(cls, address: str) -> "Place":
        """Find the file system of an address, such as s3://bucket/name, or of a local path.

        Raises:
            DataError: if there is no such file system, saying why.
        """
        if "://" not in address:
            return cls(_local(), os.path.abspath(address))
        try:
            scheme, _, rest = address.partition("://")
            server, slash, path = rest.partition("/")
            return cls(*fs.FileSystem.from_uri(f"{scheme}://{server}{slash}{quote(path, _STAYS)}"))
        except (OSError, ValueError) as error:
            raise DataError(f"{address}: {error}") from error

    def below(self, name: str) -> "Place":
        """Return what is called `name` in this folder."""
        return Place(self.system, f"{self.path.rstrip('/')}/{name}")

    @property
    def kind(self) -> fs.FileType:
        """Say whether this is a file, a folder or nothing."""
        return self.system.get_file_info(self.path).type

    def files(self) -> dict[str, int]:
        """Return all files in this folder and below it, in order, with their sizes in bytes.

        Hidden ones are left out.
        """
        found = self.system.get_file_info(fs.FileSelector(self.path, recursive=True))
        top = len(self.path.rstrip("/")) + 1
        sizes = {info.path[top:]: info.size for info in found if info.type == fs.FileType.File}
        seen = (n for n in sizes if not any(part.startswith(".") for part in n.split("/")))
        return {name: sizes[name] for name in sorted(seen)}

    def read(self, limit: int) -> bytes:
        """Return a file's bytes; of one with more than `limit` the first `limit` + 1.

        Raises:
            MissingFileError: if there is none.
            OSError: if it cannot be read.
        """
        try:
            with self.system.open_input_stream(self.path) as file:
                data: bytes = file.read(limit + 1)
        except FileNotFoundError as error:
            raise MissingFileError("there is no such file") from error
        return data

    def open(self) -> NativeFile:
        """Open a file for reading in any order."""
        return self.system.open_input_file(self.path)

    def open_in_order(self) -> NativeFile:
        """Open a file for reading from its start to its end."""
        return self.system.open_input_stream(self.path)

    def make(self) -> None:
        """Make this folder, where file systems have folders."""
        self.system.create_dir(self.path, recursive=True)

    def write(self, data: bytes) -> None:
        """Write a file that is seen here when it is whole, not before.

        Raises:
            WriteError: if it cannot be written, saying why.
        """
        at_once = self.system.type_name.startswith(_WHOLE_WHEN_CLOSED)
        folder = self.path.rpartition("/")[0]
        draft = self.path if at_once else f"{folder}/{_DRAFT}{uuid.uuid4().hex}"
        try:
            with self.system.open_output_stream(draft) as file:
                file.write(data)
            if not at_once:
                self.system.move(draft, self.path)
        except OSError as error:
            if not at_once and self.system.get_file_info(draft).type == fs.FileType.File:
                self.system.delete_file(draft)
            raise WriteError(f"{self.path}: cannot be written: {error}") from error

    def remove_drafts(self) -> None:
        """Delete what killed runs left half-written in this folder, not what one writes now."""
        for info in self.system.get_file_info(fs.FileSelector(self.path)):
            is_old = info.mtime_ns is None or time.time() - info.mtime_ns / 1e9 > _WRITTEN_S
            if info.base_name.startswith(_DRAFT) and is_old:
                self.system.delete_file(info.path)


def address_below(address: str, name: str) -> str:
    """Return the address of what is called `name` in the folder at an address.

    The characters that mean something in an address are escaped; the options stay at its end.
    """
    folder, mark, options = address.partition("?")
    escaped = re.sub(r"[%?]", lambda found: quote(found[0]), name)
    return f"{folder.rstrip('/')}/{escaped}{mark}{options}"


def without_options(address: str) -> str:
    """Return a path as it is, an address without what may follow it: `?region=eu-west-1`."""
    return address.partition("?")[0] if "://" in address else address


@cache
def _local() -> fs.LocalFileSystem:
    return fs.LocalFileSystem()
