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
from mspt.synthesis.pixel_ops import resize_to_side

_CAPTION_PX = 14
_ROWS = 10


def write_contact_sheet(
    entries: Sequence[Entry], out: Path, *, thumb_px: int = 160, columns: int = 10
) -> None:
    """Draw up to ten rows of entries, spread evenly over the order of `mos`, worst first."""
    ordered = sorted(entries, key=lambda entry: (entry.mos, str(entry.path)))
    count = min(len(ordered), columns * _ROWS)
    chosen = [ordered[i] for i in np.linspace(0, len(ordered) - 1, count).round().astype(int)]
    rows = -(-count // columns)
    cell_height = thumb_px + _CAPTION_PX
    sheet = Image.new("RGB", (columns * thumb_px, rows * cell_height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, entry in enumerate(chosen):
        row, column = divmod(index, columns)
        corner = (column * thumb_px, row * cell_height)
        thumb = resize_to_side(crop_centre_square(read_rgb(entry.path)), thumb_px)
        sheet.paste(Image.fromarray(thumb), corner)
        kind = (entry.degradation or entry.source)[:18]
        caption_at = (corner[0] + 2, corner[1] + thumb_px + 1)
        draw.text(caption_at, f"{entry.mos:.2f} {kind}", fill="black")
    sheet.save(out, quality=90)
