"""Decode image bytes to upright RGB.    [decode] -> crop -> preprocess -> session

In:   bytes of a format in formats.py; of a GIF the first frame, of a TIFF the first photo.
Out:  `rgb`, uint8, (height, width, 3): EXIF turned, in sRGB, alpha over white, 16 bits cut to 8.
Not here: colour profiles (colour.py), what to cut out (crop.py), resizing (preprocess.py).

The limits on bytes and pixels are checked before a pixel is decoded.
"""

import ctypes
import io
import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from mspt.arrays import RGB
from mspt.errors import (
    DecodeError,
    ImageError,
    ImageTooLargeError,
    ImageTooSmallError,
    MissingFileError,
)
from mspt.image.colour import has_other_colours, to_srgb
from mspt.image.cost import check_before_opening, check_cost
from mspt.image.formats import (
    FORMATS,
    CameraRawError,
    find_tiff_page,
    heif_is_installed,
    is_heif,
    unread,
)
from mspt.image.raw import raw_is_installed, read_preview
from mspt.limits import MAX_BYTES, MAX_PIXELS

MIN_SIDE_PX = 32  # below, even an eye is less than a pixel

_EMPTY = "the file is empty"
_XMP = ("xmp", "XML:com.adobe.xmp")  # where Pillow keeps it
_EXIF_ORIENTATION = 0x0112
_RESTARTS = b"\xff\xdd\x00\x04"  # JPEG's segment that says how often restart markers come
_MISSING_SHARE = 0.05  # of a JPEG's rows: where more are missing, it is no photo any more

Reserve = Callable[[int], None]  # told how many pixels are to be decoded, before they are


def read_rgb(path: Path, reserve: Reserve | None = None, max_bytes: int = MAX_BYTES) -> RGB:
    """Decode one image file.

    Args:
        path: of the file.
        reserve: called with the number of pixels before they are decoded; it may wait.
        max_bytes: of the file.

    Raises:
        DecodeError: if it cannot be read or is not an image that can be decoded whole.
        ImageTooLargeError: if it exceeds `max_bytes` or MAX_PIXELS.
        ImageTooSmallError: if a side is below MIN_SIDE_PX.
    """
    return decode_rgb(read_file(path, max_bytes), reserve, max_bytes)


def read_file(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of a file, if it may be an image.

    Raises:
        DecodeError: if it cannot be read, is empty or no regular file.
        ImageTooLargeError: if it exceeds `max_bytes`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
            raise DecodeError(_what_it_is(path, status.st_mode))
        if not status.st_size:  # nor may one of the kernel's, whose size is 0
            raise DecodeError(_EMPTY)
        _check_bytes(status.st_size, max_bytes)
        with path.open("rb") as file:
            return file.read(status.st_size + 1)  # no more, should it grow
    except FileNotFoundError as error:
        raise MissingFileError(f"cannot be read: {error.strerror}") from error
    except OSError as error:
        raise DecodeError(f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a name that no file can have
        raise DecodeError(f"cannot be read: {error}") from error


def _what_it_is(path: Path, mode: int) -> str:
    """Say what is no regular file."""
    if not stat.S_ISDIR(mode):
        return "not a regular file"
    which = "" if os.access(path, os.R_OK | os.X_OK) else " that you may not read"
    return f"not a regular file, but a folder{which}"


def decode_rgb(data: bytes, reserve: Reserve | None = None, max_bytes: int = MAX_BYTES) -> RGB:
    """Decode one encoded image to uint8 (height, width, 3).

    Raises:
        As `read_rgb`.
    """
    try:
        return _decode(data, reserve, max_bytes)
    except CameraRawError:
        if not raw_is_installed():
            raise
    return _decode_preview(data, reserve, max_bytes)


def _decode_preview(data: bytes, reserve: Reserve | None, max_bytes: int) -> RGB:
    """Decode what a camera put into its RAW file; it may leave the turning to the file."""
    with _image_errors():
        preview, orientation = read_preview(data)
    rgb = _decode(preview, reserve, max_bytes)
    has_own = _EXIF_ORIENTATION in read_exif(preview)
    return rgb if has_own else _turn_upright(rgb, orientation)


def _decode(data: bytes, reserve: Reserve | None, max_bytes: int) -> RGB:
    with _open(data, max_bytes) as image:
        if image.format == "TIFF":
            find_tiff_page(image)
        check_size(*image.size)  # before a pixel is decoded
        check_cost(image, data, MAX_PIXELS)
        if reserve:
            reserve(image.width * image.height)
        return _decode_pixels(image, data)


def read_exif(data: bytes) -> Image.Exif:
    """Return what an encoded image's EXIF says; no pixel is decoded.

    Raises:
        ImageError: if it is no image, or asks too much to be opened.
    """
    with _open(data, MAX_BYTES) as image:
        exif = _exif_of(image)
        exif.get_ifd(ExifTags.IFD.Exif)  # read while the file is open
        return exif


@contextmanager
def _open(data: bytes, max_bytes: int) -> Iterator[Image.Image]:
    """Open an encoded image, if it is of a known format and cheap to open."""
    if not data:
        raise DecodeError(_EMPTY)
    _check_bytes(len(data), max_bytes)
    check_before_opening(data)
    _silence_libraries()
    formats = [name for name in FORMATS if name != "HEIF"]
    if is_heif(data) and heif_is_installed():
        formats = ["HEIF"]
    with _image_errors(data), Image.open(io.BytesIO(data), formats=formats) as image:
        yield image


def rgb_of_pil(image: Image.Image) -> RGB:
    """Return a PIL image of any mode as upright RGB, uint8 (height, width, 3).

    Raises:
        ImageError: if its size, its range of values or its file is beyond what can be scored.
    """
    with _image_errors():
        check_size(*image.size)
        few_bits = _reduce_to_8_bits(image) if image.mode.startswith("I") else image
        rgb = np.asarray(_lay_over_white(to_srgb(few_bits)))
        return _turn_upright(rgb, _orientation_of(image))


@contextmanager
def _image_errors(data: bytes = b"") -> Iterator[None]:
    """Turn whatever decoding raises into an ImageError: a bad image must never end a run."""
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise unread(data) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"more than the {MAX_PIXELS} pixels allowed") from error
    except MemoryError as error:
        raise ImageTooLargeError("not enough memory to decode it") from error
    except Exception as error:  # damaged files make Pillow's plugins raise nearly anything
        if isinstance(error, AssertionError) or "closed" in str(error):
            raise DecodeError(
                "the picture's file is closed; hand it over inside its `with` block, or load() it"
            ) from error
        raise DecodeError(f"damaged or cut short: {error or type(error).__name__}") from error


def check_size(width: int, height: int) -> None:
    """Raise unless an image of this size can be scored."""
    if width * height > MAX_PIXELS:
        raise ImageTooLargeError(
            f"{width} x {height} px is more than the {MAX_PIXELS} pixels allowed; make it smaller"
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageTooSmallError(
            f"{width} x {height} px: the short side is below the {MIN_SIDE_PX} px needed"
        )


def _check_bytes(count: int, most: int) -> None:
    if count > most:
        raise ImageTooLargeError(f"{count} bytes are more than the {most} allowed")


def _decode_pixels(image: Image.Image, data: bytes) -> RGB:
    """Decode an opened image: JPEG by libjpeg-turbo's own API, the rest by Pillow."""
    # MPO is what some cameras and phones put several JPEGs into; the first is the photo.
    if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
        return _decode_jpeg(image, data)
    return rgb_of_pil(image)


def _decode_jpeg(image: Image.Image, data: bytes) -> RGB:
    """Decode a colour or gray JPEG: the same pixels as Pillow's, a third faster."""
    try:
        rgb: RGB = simplejpeg.decode_jpeg(data, "RGB")
    except ValueError as error:
        # simplejpeg refuses what libjpeg merely warns of; Pillow tells the cut from the harmless.
        rgb = rgb_of_pil(image)
        # Behind a restart marker decoding finds its way again: an even part may be the photo's.
        if "premature end" in str(error) and _RESTARTS not in data:
            _refuse_missing_part(np.asarray(image))
        return rgb
    if has_other_colours(image):
        gray_or_colour = Image.fromarray(rgb[:, :, 0] if image.mode == "L" else rgb)
        gray_or_colour.info = dict(image.info)
        rgb = np.asarray(to_srgb(gray_or_colour).convert("RGB"))
    return _turn_upright(rgb, _orientation_of(image))


def _refuse_missing_part(pixels: npt.NDArray[np.uint8]) -> None:
    """Raise if the lower part of a picture that ends early is nothing but one row repeated."""
    changes = np.flatnonzero((pixels[1:] != pixels[:-1]).reshape(len(pixels) - 1, -1).any(axis=1))
    missing = 1 - (changes[-1] + 2) / len(pixels) if changes.size else 1.0
    if missing > _MISSING_SHARE:
        raise DecodeError(f"cut short: the lower {missing:.0%} of the picture is missing")


@cache
def _silence_libraries() -> None:
    """Keep Pillow's and libtiff's lines off stderr: they name no file; the row says what is wrong.

    Whoever listens to the log of "PIL" still hears it.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(OSError, AttributeError):  # Pillow built in another way
        library = ctypes.CDLL(import_module("PIL._imaging").__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


def _orientation_of(image: Image.Image) -> int:
    """Return EXIF's orientation 1..8; a broken EXIF block says nothing, and spoils no pixels."""
    try:
        return int(_exif_of(image).get(_EXIF_ORIENTATION, 1))
    except Exception:  # as for pixels: Pillow's parser raises nearly anything
        return 1


def _exif_of(image: Image.Image) -> Image.Exif:
    """Return an image's EXIF alone: Pillow adds the orientation of XMP, which browsers ignore."""
    info = image.info
    image.info = {k: v for k, v in info.items() if k not in _XMP}
    try:
        return image.getexif()
    finally:
        image.info = info


def _turn_upright(rgb: RGB, orientation: int) -> RGB:
    """Undo the rotation and mirroring that EXIF's orientation 1..8 describes."""
    if orientation in (5, 6, 7, 8):
        rgb = rgb.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    return rgb


def _lay_over_white(image: Image.Image) -> Image.Image:
    """Return any Pillow mode of 8 bits as RGB, transparency over white."""
    if image.mode == "F":
        raise DecodeError("32-bit float pixels have no defined range; save the image in 8 bits")
    if image.mode == "La":
        image = image.convert("LA")  # the one way that Pillow has from there
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _reduce_to_8_bits(image: Image.Image) -> Image.Image:
    """Return a gray image of 16 bits (also when held in 32) as 8 bits, in the same colours."""
    values = np.asarray(image)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values = np.where(values == transparent, 0xFFFF, values)  # over white
    if values.size and (values.min() < 0 or values.max() > 0xFFFF):
        raise DecodeError("gray values beyond 16 bits; save the image in 8 or 16 bits")
    reduced = Image.fromarray((values.astype(np.uint32) >> 8).astype(np.uint8))
    reduced.format = image.format
    reduced.info = {k: v for k, v in image.info.items() if k != "transparency"}
    return reduced
