"""What may be scored, and its pixels: paths, members of shards, bytes, files, PIL images, arrays.

In:   ImageLike.
Out:  upright RGB, uint8 (height, width, 3).
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Union

import numpy as np

from mspt.arrays import RGB
from mspt.errors import DecodeError, ImageError, NotAnImageError
from mspt.image.decode import Reserve, check_size, decode_rgb, read_rgb, rgb_of_pil
from mspt.inference.inputs import split_member
from mspt.inference.shards import read_member
from mspt.limits import MAX_BYTES

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

ImageLike = Union[str, os.PathLike[str], bytes, BinaryIO, "PilImage", RGB]


def name_of(image: ImageLike) -> str:
    """Return the path as given, or nothing for images in memory."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else ""


def pixels_held(image: ImageLike) -> int:
    """Return how many pixels an image holds before it is decoded: none but for arrays."""
    return image.size // 3 if isinstance(image, np.ndarray) else 0


def refuse_single(images: object) -> None:
    """Raise TypeError if handed one image where several are wanted: its bytes or rows are none."""
    from PIL.Image import Image as PilImage

    kinds = (str, bytes, bytearray, memoryview, os.PathLike, PilImage)
    is_array = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim <= 3
    if isinstance(images, kinds) or is_array or hasattr(images, "read"):
        raise TypeError("score_many takes several images; for a single one there is score")
    if not (hasattr(images, "__iter__") or hasattr(images, "__getitem__")):
        raise TypeError(f"score_many takes several images; {type(images).__name__} is not iterable")


def to_rgb(image: ImageLike, reserve: Reserve | None = None, max_bytes: int = MAX_BYTES) -> RGB:
    """Return any accepted image as upright RGB, uint8 (height, width, 3).

    Args:
        image: as for `Scorer.score`.
        reserve: called with the number of pixels before they are decoded.
        max_bytes: of an encoded image.

    Raises:
        ImageError: if it cannot be decoded, is too small or too large.
        NotAnImageError: if it is no image.
    """
    if isinstance(image, str | os.PathLike):
        path = os.fspath(image)
        if member := split_member(path):
            return decode_rgb(read_member(*member), reserve, max_bytes)
        return read_rgb(Path(path), reserve, max_bytes)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode_rgb(bytes(image), reserve, max_bytes)
    if not isinstance(image, np.ndarray):
        return _rgb_of_object(image, reserve, max_bytes)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise NotAnImageError(
            f"array of {image.dtype} {image.shape} must be RGB uint8 of shape (height, width, 3); "
            "PIL's Image.fromarray takes other forms"
        )
    check_size(image.shape[1], image.shape[0])
    return image


def _rgb_of_object(image: object, reserve: Reserve | None, max_bytes: int) -> RGB:
    """Return a PIL image, or what a file object holds from where it stands."""
    from PIL.Image import Image as PilImage

    if isinstance(image, PilImage):
        if reserve:
            reserve(image.width * image.height)
        return rgb_of_pil(image)
    read = getattr(image, "read", None)
    if read is None:
        raise NotAnImageError(
            f"{type(image).__name__} is not a path, bytes, binary file, PIL image or RGB array"
        )
    try:
        data = read(max_bytes + 1)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # whatever a class of somebody else's raises
        raise DecodeError(f"cannot be read: {error or type(error).__name__}") from error
    if not isinstance(data, bytes):
        raise NotAnImageError(
            "the file is opened as text; open it in binary mode: open(path, 'rb')"
        )
    return decode_rgb(data, reserve, max_bytes)
