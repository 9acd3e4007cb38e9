"""Which files a command line's PATHS stand for.

In:   files, folders and glob patterns, as typed.
Out:  paths in the order given; a folder's files by name, sub-folders included.

In a folder every file counts but hidden ones and those that are plainly something else, such as
captions: these are counted, not named. Whatever else is no image gets a row that says so, so that
no photo is lost for an unusual name. What stands for nothing, or cannot be opened, is kept as it
was typed: its row says why. Patterns match names in upper and lower case alike.
"""

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

# What lies beside photos: captions, labels, features, edits, lists, and what systems leave.
_OTHER_SUFFIXES = (
    ".txt .caption .json .jsonl .csv .tsv .parquet .xml .yaml .yml .toml .ini .md .html .htm .pdf "
    ".npy .npz .pt .pth .pkl .safetensors .onnx .mat .h5 .bin .lmdb .mdb .idx .aae .xmp .thm .srt "
    ".vtt .log .lock .py .sh .db .zip .gz .tgz .7z .wav .mp3 .m4a"
)
# Folders that programs keep: what lies in them is theirs, and many copies of it.
LIBRARIES = (".photoslibrary", ".photolibrary", ".aplibrary", ".lrdata")
OTHER_SUFFIXES = frozenset(_OTHER_SUFFIXES.split()) | frozenset(LIBRARIES)
SHARD_SUFFIX = ".tar"  # of photos kept together (shards.py)
_MEMBER = re.compile(r"\.tar/", re.IGNORECASE)
_SYSTEMS = frozenset({"$recycle.bin", "system volume information"})  # Windows'
OTHER_NAMES = frozenset({"thumbs.db", "desktop.ini", "license", "readme", "checksums"})


@dataclass(frozen=True, slots=True)
class Found:
    """What paths stand for."""

    files: list[str]
    passed_over: Counter[str] = field(default_factory=Counter)  # by suffix: plainly no photos

    def describe_others(self) -> str:
        """Return how many files were passed over, such as `3 other files (2 .txt, 1 .json)`."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.passed_over.most_common(4))
        more = ", ..." if len(self.passed_over) > 4 else ""
        return f"{self.passed_over.total()} other files passed over ({kinds}{more})"


def find_images(
    paths: Sequence[str],
    *,
    listed: Sequence[str] = (),
    exclude: Collection[Path] = (),
    all_files: bool = False,
) -> Found:
    """Return all files that the paths stand for; none if not one of them exists.

    Args:
        paths: as typed.
        listed: paths of a list: files, whatever characters their names have.
        exclude: files to leave out, such as the output, which a second run finds in the folder.
        all_files: whether files in folders count that are plainly no photos.
    """
    found = Found([])
    named = ((file, True) for file in listed)
    for file, is_named in chain(chain.from_iterable(map(_files_of, paths)), named):
        if any(_is_same(file, other) for other in exclude):
            continue
        if not all_files and not is_named and (kind := other_kind(file)):
            found.passed_over[kind] += 1
        else:
            found.files.append(file)
    exists = any(os.path.isfile(file) or split_member(file) for file in found.files)
    return found if exists else Found([], found.passed_over)


def same_path(path: str) -> str:
    """Return what all ways to write a path have in common: `./a.jpg` is `a.jpg`."""
    return str(Path(path)) if "./" in path or "//" in path else path


def split_member(path: str) -> tuple[str, str] | None:
    """Return shard and member of a member's name; None for all other names."""
    for match in _MEMBER.finditer(path):
        shard = path[: match.end() - 1]
        if os.path.isfile(shard):
            return shard, path[match.end() :]
    return None


def _files_of(path: str) -> Iterator[tuple[str, bool]]:
    """Yield what a path stands for, and whether it names the kind of file, as `*.txt` does."""
    if os.path.isfile(path):
        yield path, True
        return
    says_kind = os.path.basename(path).strip("*") != "" and not os.path.isdir(path)
    depth = sys.maxsize if "**" in Path(path).parts else len(Path(path).parts)
    for file in list(_expand(path)) or [path]:
        yield file, says_kind and len(Path(file).parts) <= depth  # else of a folder that matched


def other_kind(path: str) -> str:
    """Return what a file is that plainly is no photo; "" for all that may be one."""
    name = os.path.basename(path).lower()
    suffix = os.path.splitext(name)[1]
    return suffix if suffix in OTHER_SUFFIXES else name if name in OTHER_NAMES else ""


def _is_same(path: str, other: Path) -> bool:
    """Tell whether two paths mean one file of one name, whatever folders they go through."""
    same_name = os.path.basename(path) == other.name  # asked first: the rest asks the disk
    return same_name and os.path.realpath(path) == os.path.realpath(other)


def _expand(path: str) -> Iterator[str]:
    if os.path.isdir(path):
        yield from _walk(path)
    elif "**" in Path(path).parts and not os.path.exists(path):
        yield from _match_recursively(path)
    elif glob.has_magic(path) and not os.path.exists(path):
        for match in sorted(glob.glob(_any_case(path))):
            yield from _walk(match) if os.path.isdir(match) else [match]


def _match_recursively(pattern: str) -> list[str]:
    """Return the files that a pattern with ** matches, each once, links to folders not followed."""
    parts = Path(pattern).parts
    first_magic = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root, rest = Path(*parts[:first_magic]), parts[first_magic:]
    tail = [*rest, "*"] if rest[-1] == "**" else rest
    pattern = _any_case(str(Path(*tail)))
    matches = {match for match in root.glob(pattern) if match.is_file()}
    return sorted(str(match) for match in matches if not _is_hidden(match.relative_to(root)))


def _any_case(pattern: str) -> str:
    """Return a pattern whose parts with * or ? match upper and lower case alike."""
    return os.sep.join(map(_part_in_any_case, pattern.split(os.sep)))


def _part_in_any_case(part: str) -> str:
    if not glob.has_magic(part) or "[" in part:
        return part
    return "".join(f"[{c.lower()}{c.upper()}]" if c.lower() != c.upper() else c for c in part)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_private(name: str) -> bool:
    """Tell whether a file or folder is hidden, or belongs to the system."""
    return name.startswith(".") or name.lower() in _SYSTEMS


def _is_folder(path: str) -> bool:
    """Tell whether to look into a path below the folder that was named."""
    return os.path.isdir(path) and not path.lower().endswith(LIBRARIES)


def _walk(top: str) -> Iterator[str]:
    """Yield a folder's files by name, then those below it; each folder once, whatever links say.

    Programs' libraries count as files, unless they are what was named.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [top]  # the next one last: folders may nest deeper than Python may recurse
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            names = sorted(name for name in os.listdir(folder) if not _is_private(name))
        except OSError:
            yield folder  # its row will say that it cannot be read
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        paths = [os.path.join(folder, name) for name in names]
        yield from (path for path in paths if not _is_folder(path))
        waiting += [path for path in reversed(paths) if _is_folder(path)]
