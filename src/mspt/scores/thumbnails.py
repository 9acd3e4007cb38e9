"""Small JPEGs inside a page: the part of the photo that was scored, as a data URI.

In:   a ScoreRow whose photo may still be there.
Out:  `data:image/jpeg;base64,...`, at most THUMB_PX wide and high, upright; None without a photo.
"""

import base64
import io
import math

import numpy as np
from PIL import Image

from mspt.errors import ImageError
from mspt.image.crop import crop_centre_square, crop_face_square
from mspt.image.decode import decode_rgb
from mspt.image.preprocess import resize_rgb
from mspt.results import FaceBox
from mspt.scores.read import ScoreRow, read_photo
from mspt.spec import FACE_MARGIN

THUMB_PX = 160

_JPEG_QUALITY = 72  # 3 to 6 kB a face; above it the page grows and nothing else


def thumbnail_uri(row: ScoreRow) -> str | None:
    """Return the thumbnail of a row, or None if its photo cannot be read."""
    try:
        rgb = decode_rgb(read_photo(row.path))
    except ImageError:
        return None
    box = _box_of(row)
    part = crop_centre_square(rgb) if box is None else crop_face_square(rgb, box, FACE_MARGIN)
    side = min(THUMB_PX, part.shape[0])
    small = Image.fromarray(np.ascontiguousarray(resize_rgb(part, side, side)))
    jpeg = io.BytesIO()
    small.save(jpeg, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode('ascii')}"


def _box_of(row: ScoreRow) -> FaceBox | None:
    """Return the face's box, or None when the whole photo was scored or the box has no area."""
    try:
        left, top, right, bottom = (float(row.cells[name]) for name in ("x1", "y1", "x2", "y2"))
    except (KeyError, TypeError, ValueError, OverflowError):  # no such column, an empty cell
        return None
    is_box = -math.inf < left < right < math.inf and -math.inf < top < bottom < math.inf
    return FaceBox(x1=left, y1=top, x2=right, y2=bottom, det_score=1.0) if is_box else None
