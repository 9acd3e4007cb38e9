"""Cut the part of an image that is scored.    decode -> [crop] -> preprocess -> session

In:   `rgb`, uint8, (height, width, 3), upright.
Out:  a view of it.
Not here: resizing (preprocess.py).
"""

import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]  # uint8 (height, width, 3)


def crop_centre_square(rgb: RGB, side_px: int | None = None) -> RGB:
    """Return the centred square view of `side_px` (default: the whole short side)."""
    height, width = rgb.shape[:2]
    side = min(height, width) if side_px is None else side_px
    top, left = (height - side) // 2, (width - side) // 2
    return rgb[top : top + side, left : left + side]
