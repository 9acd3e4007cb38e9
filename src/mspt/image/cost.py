"""What decoding would cost, told from a file's bytes before a pixel is decoded.

In:   an encoded file's bytes.
Out:  nothing, or an ImageTooLargeError for files that are small and ask for minutes or gigabytes.

Photos stay far from these bounds: a progressive JPEG has about ten scans, a PNG one profile.
"""

import re
import struct

from PIL import Image, TiffImagePlugin

from mspt.errors import DecodeError, ImageTooLargeError

MAX_SCANS = 100  # of a JPEG: each passes over all pixels
MAX_SEGMENTS = 2048  # of a JPEG before its first scan: profiles and depth maps take some hundred
MAX_EXIF = 32  # segments of a JPEG: Pillow copies all before for each
MAX_PROFILES = 4  # chunks of a PNG: each may unpack to a megabyte
MAX_RUN_PX = 512  # pixels that a byte of a run-length coded BMP may stand for; a run has 255 in two
_FILL = b"\xff" * 2**16  # between a JPEG's segments; Pillow takes it byte by byte
_SCAN = b"\xff\xda"
# Of a segment with a length: no stuffing, no fill, no TEM, restart or start.
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd8]")
_RLE = (1, 2)  # BMP's compression

# TIFF's tags
_TILE_WIDTH, _TILE_LENGTH, _STRIPS, _TILES = 322, 323, 273, 324
_MAX_TILE_SHARE = 1 / 8  # of the pixels of an image: tiles are a few hundred px wide
_LEAST_COVERED = 0.95  # of an image by its strips or tiles
_MAX_PARTS_OF_SIDE = 4  # strips or tiles per pixel of the image's height


def check_jpeg(data: bytes) -> None:
    """Refuse too many scans, too many segments before them, and long fill among these."""
    head = _head_of(data)
    _refuse_above(MAX_EXIF, head.count(b"Exif\0\0"), "Exif segments of a JPEG")
    if _FILL in head:
        raise ImageTooLargeError(f"{len(_FILL)} fill bytes in a row in a JPEG; save it anew")
    if data.count(_SCAN) > MAX_SCANS:  # what is behind the picture, such as a video, has some, too
        _refuse_above(MAX_SCANS, _count_scans(data), "or more scans of a JPEG")


def _head_of(data: bytes) -> bytes:
    """Return a JPEG up to its first scan, refusing too many segments."""
    place = 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, place)
        if not found or found[0] == _SCAN:
            return data[: found.start() if found else len(data)]
        place = _behind(data, found)
    raise ImageTooLargeError(f"more than {MAX_SEGMENTS} segments of a JPEG; save it anew")


def _count_scans(data: bytes) -> int:
    """Return how many scans a JPEG has before its end, counting one more than may be."""
    place, scans = 2, 0
    while scans <= MAX_SCANS:
        found = _MARKER.search(data, place)
        if not found or found[0] == b"\xff\xd9":
            break
        scans += found[0] == _SCAN
        place = _behind(data, found)
    return scans


def _behind(data: bytes, marker: re.Match[bytes]) -> int:
    """Return where a segment ends: a marker, and as many bytes as its next two say."""
    return marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")


def check_png(data: bytes) -> None:
    """Refuse too many colour profiles."""
    _refuse_above(MAX_PROFILES, data.count(b"iCCP"), "colour profiles of a PNG")


def check_bmp(data: bytes) -> None:
    """Refuse run-length coded pictures of far more pixels than their bytes can hold."""
    if len(data) < 34:
        return
    width, height = struct.unpack_from("<ii", data, 18)
    (compression,) = struct.unpack_from("<I", data, 30)
    if compression in _RLE:
        _refuse_above(MAX_RUN_PX * len(data), abs(width * height), f"pixels of {len(data)} bytes")


def check_tiff(image: TiffImagePlugin.TiffImageFile, max_pixels: int) -> None:
    """Refuse tiles larger than an image may be, more of them than rows, and too few to cover it."""
    tags = image.tag_v2
    sides = (tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0))
    if not all(isinstance(side, int) for side in sides):  # text times a number would be long text
        raise ImageTooLargeError("a TIFF's tiles have a size that is no number; save it anew")
    tile = sides[0] * sides[1]
    most = max(round(_MAX_TILE_SHARE * max_pixels), 4 * image.width * image.height)
    _refuse_above(most, tile, "pixels of a tile")
    parts = tags.get(_STRIPS) or tags.get(_TILES) or ()
    count = len(parts) if isinstance(parts, tuple) else 1
    _refuse_above(_MAX_PARTS_OF_SIDE * max(image.size), count, "strips of a TIFF")
    _refuse_fraction(image)


def _refuse_fraction(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse a TIFF whose strips or tiles cover a part of it: Pillow leaves the rest black."""
    boxes = [tile.extents for tile in image.tile if tile.extents]
    covered = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    if boxes and covered < _LEAST_COVERED * image.width * image.height:
        share = 1 - covered / (image.width * image.height)
        raise DecodeError(f"cut short: {share:.0%} of the picture is missing")


def check_cost(image: Image.Image, data: bytes, max_pixels: int) -> None:
    """Refuse a file whose decoding would cost far more than a photo's.

    Args:
        image: as Pillow opened it, no pixel decoded yet.
        data: the file's bytes.
        max_pixels: of an image.

    Raises:
        ImageTooLargeError: naming what there is too much of.
    """
    if image.format == "BMP":
        check_bmp(data)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        check_tiff(image, max_pixels)


def check_before_opening(data: bytes) -> None:
    """Refuse files that are costly to open already.

    Raises:
        ImageTooLargeError: naming what there is too much of.
    """
    if data.startswith(b"\xff\xd8"):
        check_jpeg(data)
    elif data.startswith(b"\x89PNG"):
        check_png(data)


def _refuse_above(most: int, count: int, what: str) -> None:
    if count > most:
        raise ImageTooLargeError(f"{count} {what}, but at most {most} are decoded; save it anew")
