"""Turn an image into the network's input.    decode -> crop -> [preprocess] -> session

In:   `rgb`, uint8, (height, width, 3), upright, any size.
Out:  uint8, (crop_side, crop_side, 3): what every runtime feeds to the network.
Not here: mean and std (inside the network), augmentation (training/batches.py).
"""

import kornia_rs
import numpy as np

from mspt.image.crop import RGB, crop_centre_square
from mspt.spec import InputSpec


def resize_rgb(rgb: RGB, height: int, width: int) -> RGB:
    """Resize with antialiased bicubic in 8 bits: the project's one resize.

    kornia-rs agrees with Pillow's BICUBIC to one grey level on all but single pixels and takes
    half its time; a test pins that agreement.
    """
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(
        kornia_rs.imgproc.resize(np.ascontiguousarray(rgb), (height, width), "bicubic")
    )


def prepare_rgb(rgb: RGB, spec: InputSpec) -> RGB:
    """Return the network's input for a whole photo, uint8 (S, S, 3) with S = `spec.crop_side`.

    Crops before it resizes: the same field of view for less work.
    """
    return resize_square(crop_scored_square(rgb, spec), spec)


def crop_scored_square(rgb: RGB, spec: InputSpec) -> RGB:
    """Return the centred square of a whole photo that its score is about."""
    return crop_centre_square(rgb, round(min(rgb.shape[:2]) * spec.crop_side / spec.short_side))


def resize_square(square: RGB, spec: InputSpec) -> RGB:
    """Return a cut-out square as the network's input, uint8 (S, S, 3)."""
    return resize_rgb(square, spec.crop_side, spec.crop_side)
