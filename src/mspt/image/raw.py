"""The photo that a camera puts into its RAW file, beside the sensor's values.    Extra [raw]

In:   bytes of a camera RAW file.
Out:  the encoded preview, if it is about as large as the photo, and how it must be turned.

Nothing is developed: how a RAW file looks is a matter of the developer's taste. LibRaw (rawpy)
finds the preview, a JPEG.
"""

import io
from importlib.util import find_spec

from PIL import Image

from mspt.errors import DecodeError
from mspt.image.formats import CAMERA_RAW

_LEAST_SHARE = 0.5  # of the photo's longer side; below, a preview is a thumbnail
_TAIL_BYTES = 1024
_ORIENTATIONS = {3: 3, 5: 8, 6: 6}  # EXIF's of LibRaw's


def raw_is_installed() -> bool:
    """Tell whether the extra [raw] is there."""
    return find_spec("rawpy") is not None


def read_preview(data: bytes) -> tuple[bytes, int]:
    """Return the preview, an encoded image, and EXIF's orientation 1..8 of the photo.

    Raises:
        DecodeError: if the file is damaged, or holds no preview that stands for the photo.
    """
    import rawpy

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            longest = max(raw.sizes.width, raw.sizes.height)
            orientation = _ORIENTATIONS.get(raw.sizes.flip, 1)
            preview = raw.extract_thumb()
    except (rawpy.LibRawError, ValueError, OSError) as error:
        raise DecodeError(f"{CAMERA_RAW}; its preview cannot be read: {error}") from error
    if not isinstance(preview.data, bytes):  # plain pixels: what cameras keep for their own screen
        raise DecodeError(f"{CAMERA_RAW}; its preview is a thumbnail")
    # Of a file that was cut short LibRaw gives what happened to lie in memory.
    if preview.data[-_TAIL_BYTES:] not in data:
        raise DecodeError(f"{CAMERA_RAW}; its preview is cut short")
    with Image.open(io.BytesIO(preview.data), formats=["JPEG"]) as image:
        size = image.size
    if max(size) < _LEAST_SHARE * longest:
        raise DecodeError(f"{CAMERA_RAW}; its preview of {size[0]} x {size[1]} px is no full photo")
    return preview.data, orientation
