"""records.jsonl of a made set: the plan, then a line per finished photo, with all of its images.

In:   what synthesize.py made of each photo.
Out:  Journal, by which a killed run goes on; read_records for those who fit labels to distances.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mspt.errors import ConfigError
from mspt.files import whole_file

Record = dict[str, Any]  # what is known of one image


class Journal:
    """records.jsonl: the plan, then per finished photo its images; the last line may be torn."""

    def __init__(self, out_dir: Path, header: Record) -> None:
        """Read what an earlier run left, or begin.

        Args:
            out_dir: the data set.
            header: the version and the plan; images of another one are not mixed in.

        Raises:
            ConfigError: if the earlier run had another plan.
        """
        self.path = out_dir / "records.jsonl"
        self.done: dict[str, list[Record]] = {}
        self._bytes: dict[str, int] = {}  # of the photos' files, to know them again
        (out_dir / "images").mkdir(parents=True, exist_ok=True)
        self._header = header
        lines = list(_whole_lines(self.path))
        if any(line["images"] for line in lines[1:]) and lines[0] != self._header:
            raise ConfigError(
                f"{out_dir} holds images of another plan ({_difference(lines[0], self._header)}); "
                "choose another folder or delete this one"
            )
        if lines and lines[0] == self._header:
            self.done = {line["photo"]: line["images"] for line in lines[1:]}
            self._bytes = {line["photo"]: line["bytes"] for line in lines[1:] if "bytes" in line}
        self._rewrite()

    def has(self, photo: str, size: int) -> bool:
        """Tell whether a photo is finished and its file has the size, bytes, that it had then."""
        return photo in self.done and self._bytes.get(photo, size) == size

    def add(self, photo: str, size: int, images: list[Record]) -> None:
        """Note that a photo is finished, whose file has so many bytes."""
        self.done[photo], self._bytes[photo] = images, size
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self._line(photo)) + "\n")

    def _line(self, photo: str) -> Record:
        size = {"bytes": self._bytes[photo]} if photo in self._bytes else {}
        return {"photo": photo, **size, "images": self.done[photo]}

    def _rewrite(self) -> None:
        """Write the whole journal again: drops a torn last line."""
        lines: list[Record] = [self._header]
        lines += map(self._line, self.done)
        with whole_file(self.path) as draft:
            draft.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _difference(before: Record, now: Record) -> str:
    """Name what differs between two headers, such as `seed was 0, now 1`."""
    old, new = ({"version": h.get("version")} | dict(h.get("plan", {})) for h in (before, now))
    changed = [name for name in new if old.get(name) != new[name]]
    return ", ".join(f"{name} was {old.get(name)}, now {new[name]}" for name in changed)


def read_records(out_dir: Path) -> list[Record]:
    """Return the record of every image made in `out_dir` so far, in the order they were done."""
    lines = list(_whole_lines(out_dir / "records.jsonl"))
    return [image for line in lines[1:] for image in line["images"]]


def _whole_lines(path: Path) -> Iterator[Record]:
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if line.endswith("\n"):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ConfigError(
                    f"{path}, line {number}: damaged ({error}); delete that line to have its "
                    "photo made again"
                ) from error
