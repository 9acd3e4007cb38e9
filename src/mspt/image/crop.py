"""Cut the part of an image that is scored.    decode -> [crop] -> preprocess -> session

In:   `rgb`, uint8, (height, width, 3), upright.
Out:  a square view of it: the photo's centre, or one face with some of what is around it.
Not here: where faces are (inference/faces.py), resizing (preprocess.py).
"""

from mspt.arrays import RGB
from mspt.results import FaceBox

Square = tuple[int, int, int, int]  # x1, y1, x2, y2, px


def crop_centre_square(rgb: RGB, side_px: int | None = None) -> RGB:
    """Return the centred square view of `side_px` (default: the whole short side)."""
    return crop_square(rgb, centre_square(rgb, side_px))


def centre_square(rgb: RGB, side_px: int | None = None) -> Square:
    """Return the centred square of `side_px` (default: the whole short side)."""
    height, width = rgb.shape[:2]
    side = min(height, width) if side_px is None else side_px
    top, left = (height - side) // 2, (width - side) // 2
    return left, top, left + side, top + side


def crop_square(rgb: RGB, square: Square) -> RGB:
    """Return the view of a photo that a square frames."""
    x1, y1, x2, y2 = square
    return rgb[y1:y2, x1:x2]


def crop_face_square(rgb: RGB, box: FaceBox, margin: float) -> RGB:
    """Return the view of a photo that the square around a face frames."""
    return crop_square(rgb, face_square(rgb, box, margin))


def face_square(rgb: RGB, box: FaceBox, margin: float) -> Square:
    """Return the square around a face: the one rule for it.

    The square is centred on the box; its side is the box's longer side, widened by `margin` of it
    to both ends. Where it would leave the photo it is moved inside; where it is larger than the
    photo's short side, it is cut down to that. Nothing is ever made up by padding.
    """
    height, width = rgb.shape[:2]
    longer = max(box.x2 - box.x1, box.y2 - box.y1)
    side = max(1, round(min(longer * (1 + 2 * margin), height, width)))
    left = _place((box.x1 + box.x2 - side) / 2, width - side)
    top = _place((box.y1 + box.y2 - side) / 2, height - side)
    return left, top, left + side, top + side


def _place(wanted: float, last: int) -> int:
    """Return the start nearest to the wanted one that lies inside the photo."""
    return round(min(max(wanted, 0), last))
