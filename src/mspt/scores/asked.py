"""What a run asks of its photos, and whether the rows of an earlier one were asked the same.

In:   rows in order, their cells as text.
Out:  ConfigError where a row shows that other options wrote it. Rows tell most, not all: that
      smaller faces were left out shows only where a photo had no others.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from mspt.errors import ConfigError
from mspt.inference.faces import FaceSearch
from mspt.inference.video import NOT_OPENED, split_frame
from mspt.limits import MAX_PIXELS

TextCells = dict[str, str]
_ROUNDED_S = 0.00051  # by which a frame's name may be off its time, and a little


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How photos are scored."""

    model: str  # as rows name it
    faces: FaceSearch | None = None
    max_pixels: int = MAX_PIXELS
    every_s: float | None = None  # from frame to frame; None: videos are not opened

    def check_row(self, file: Path, cells: TextCells, before: TextCells | None) -> None:
        """Refuse a row that these options cannot have written, or not after the one before it.

        Raises:
            ConfigError: naming the option.
            ValueError: if a number is none.
        """
        if cells["model"] != self.model:
            raise ConfigError(
                f"{file}: its rows are by {cells['model']}, not by {self.model}; resume with the "
                "model and backend that it was begun with, or name another file"
            )
        is_about_faces = bool(cells["n_faces"])
        tells = is_about_faces or cells["status"] == "ok"
        if tells and is_about_faces != (self.faces is not None):
            option = "without --detect" if self.faces else "with --detect"
            raise ConfigError(f"{file}: was begun {option}; resume likewise, or name another file")
        option = self._unlike(cells) or (self._unlike_order(before, cells) if before else "")
        if option:
            raise ConfigError(
                f"{file}: was begun with another {option}, as the rows up to {cells['path']} show; "
                "resume with the options that it was begun with, or name another file"
            )

    def _unlike(self, cells: TextCells) -> str:
        """Return the option that was another one; "" if none shows."""
        is_opened = self.every_s is not None
        if cells["error"] == NOT_OPENED if is_opened else split_frame(cells["path"]):
            return "--every"
        if cells["status"] == "ok" and int(cells["width"]) * int(cells["height"]) > self.max_pixels:
            return "--max-megapixels"
        if not self.faces:
            return ""
        if cells["status"] == "no_face" and cells["error"] != self.faces.none_words():
            return "--min-face"
        if not cells["face"]:
            return ""
        x1, y1, x2, y2 = (float(cells[side]) for side in ("x1", "y1", "x2", "y2"))
        if min(x2 - x1, y2 - y1) < self.faces.min_face_px:
            return "--min-face"
        return "--max-faces" if int(cells["face"]) >= self._most_faces(cells) else ""

    def _unlike_order(self, before: TextCells, cells: TextCells) -> str:
        """Return the option that gives other rows in between, such as further faces."""
        if before["path"] == cells["path"]:
            return ""
        if self.lacks_faces(before):
            return "--max-faces"
        first, second = split_frame(before["path"]), split_frame(cells["path"])
        if not (self.every_s and first and second and first[0] == second[0]):
            return ""
        if second[1] < first[1]:  # the video is listed twice
            return ""
        earliest, latest = max(0.0, first[1] - _ROUNDED_S), second[1] + _ROUNDED_S
        is_due = math.floor(latest / self.every_s) > math.floor(earliest / self.every_s)
        return "" if is_due else "--every"

    def lacks_faces(self, last: TextCells) -> bool:
        """Tell whether rows of further faces ought to follow the last row of a photo."""
        return bool(last["face"]) and int(last["face"]) + 1 < self._most_faces(last)

    def _most_faces(self, cells: TextCells) -> int:
        found = int(cells["n_faces"])
        return min(found, self.faces.max_faces or found) if self.faces else found
