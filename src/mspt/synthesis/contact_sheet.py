"""One picture of a data set, sorted by `mos`, for eyes to judge the labels.

In:   manifest entries.
Out:  a JPEG; each thumbnail carries its `mos` and the kind of damage.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mspt.evaluation.manifest import Entry
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.synthesis.filters import resize_square

_THUMB_PX = 160
_CAPTION_PX = 14
_COLUMNS = 10
_ROWS = 10


def write_contact_sheet(entries: Sequence[Entry], out: Path) -> None:
    """Draw up to 100 entries, spread evenly over the order of `mos`, worst first."""
    ordered = sorted(entries, key=lambda entry: (entry.mos, str(entry.path)))
    count = min(len(ordered), _COLUMNS * _ROWS)
    chosen = [ordered[i] for i in np.linspace(0, len(ordered) - 1, count).round().astype(int)]
    rows = -(-count // _COLUMNS)
    cell_height = _THUMB_PX + _CAPTION_PX
    sheet = Image.new("RGB", (_COLUMNS * _THUMB_PX, rows * cell_height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, entry in enumerate(chosen):
        row, column = divmod(index, _COLUMNS)
        corner = (column * _THUMB_PX, row * cell_height)
        thumb = resize_square(crop_centre_square(read_rgb(entry.path)), _THUMB_PX)
        sheet.paste(Image.fromarray(thumb), corner)
        kind = (entry.degradation or entry.source)[:18]
        caption_at = (corner[0] + 2, corner[1] + _THUMB_PX + 1)
        draw.text(caption_at, f"{entry.mos:.2f} {kind}", fill="black")
    sheet.save(out, quality=90)
