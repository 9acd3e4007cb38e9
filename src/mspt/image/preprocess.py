"""Turn an image into the network's input.    decode -> crop -> [preprocess] -> session

In:   `rgb`, uint8, (height, width, 3), upright, any size.
Out:  uint8, (crop_side, crop_side, 3): what every runtime feeds to the network.
Not here: mean and std (inside the network), augmentation (training/batches.py).
"""

import threading
from typing import TYPE_CHECKING

import numpy as np

from mspt.arrays import RGB
from mspt.image.crop import Square, centre_square, crop_square
from mspt.spec import InputSpec, Resample

if TYPE_CHECKING:
    from cykooz_resizer import Resizer

_LOCAL = threading.local()  # a Resizer serves one thread at a time


def resize_rgb(rgb: RGB, height: int, width: int, resample: Resample = "catmull_rom") -> RGB:
    """Resize with an antialiased cubic filter (a = -0.5) in 8 bits: the project's one resize.

    Args:
        rgb: uint8 (rows, columns, 3), of any memory layout.
        height: of the result, px.
        width: of the result, px.
        resample: `catmull_rom` computes by fast_image_resize, `bicubic` the same filter by Pillow,
            nine times as slow, for model files that name it. They agree to one grey level.
    """
    if rgb.shape[:2] == (height, width):
        return rgb
    return (_by_pillow if resample == "bicubic" else _by_fast_image_resize)(rgb, height, width)


def _by_fast_image_resize(rgb: RGB, height: int, width: int) -> RGB:
    """Resize without threads of its own, and with the same bytes on every processor."""
    from cykooz_resizer import FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions

    rows, columns = rgb.shape[:2]
    target = ImageData(width, height, PixelType.U8x3)
    options = ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.catmull_rom))
    # tobytes copies what a view covers, so that a crop costs nothing of its own.
    _resizer().resize(ImageData(columns, rows, PixelType.U8x3, rgb.tobytes()), target, options)
    return np.frombuffer(target.get_buffer(), dtype=np.uint8).reshape(height, width, 3)


def _resizer() -> "Resizer":
    if not hasattr(_LOCAL, "resizer"):
        from cykooz_resizer import Resizer

        _LOCAL.resizer = Resizer()
    resizer: Resizer = _LOCAL.resizer
    return resizer


def _by_pillow(rgb: RGB, height: int, width: int) -> RGB:
    from PIL import Image

    photo = Image.fromarray(np.ascontiguousarray(rgb))
    return np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC))


def prepare_rgb(rgb: RGB, spec: InputSpec) -> RGB:
    """Return the network's input for a whole photo, uint8 (S, S, 3) with S = `spec.crop_side`.

    Crops before it resizes: the same field of view for less work.
    """
    return resize_to_input(crop_square(rgb, scored_square(rgb, spec)), spec)


def scored_square(rgb: RGB, spec: InputSpec) -> Square:
    """Return the centred square of a whole photo that its score is about."""
    return centre_square(rgb, round(min(rgb.shape[:2]) * spec.crop_side / spec.short_side))


def resize_to_input(square: RGB, spec: InputSpec) -> RGB:
    """Return a cut-out square as the network's input, uint8 (S, S, 3)."""
    return resize_rgb(square, spec.crop_side, spec.crop_side, spec.resample)
