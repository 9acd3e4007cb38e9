"""Which image formats are read, by what suffix they go, and what the others are called.

In:   an encoded file's bytes.
Out:  the true reason why they are not read, where there is a better one than "unknown format".
"""

import io
import struct

from PIL import Image, TiffImagePlugin

from mspt.errors import DecodeError

# Pillow's name of every format that is read, and the suffixes of its files.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),  # by the extra [heif]
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
}
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

# Known, but not read: they are named in the row's error.
RAW_SUFFIXES = frozenset(
    {".dng", ".nef", ".nrw", ".cr2", ".cr3", ".arw", ".sr2", ".rw2", ".orf", ".raf", ".pef", ".srw"}
)
CAMERA_RAW = "camera RAW, which is not developed here"
_RAW_REMEDY = (
    "save it as JPEG, score the camera's own JPEG, or let the extra [raw] find that in the file: "
    'pip install ".[raw]" in the checkout'
)
_RAW_MAGIC = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"FOVb")
_PACKED_MAGIC = (
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"PK\x03\x04",
    b"7z\xbc\xaf",
)
_JXL_MAGIC = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a")
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_ANY_CODEC = frozenset({b"mif1", b"msf1"})  # of the brands: HEIC's or AVIF's
_LONGEST_BRANDS = 512  # bytes
_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

# TIFF's tags (TIFF 6.0, TIFF/EP and DNG 1.7)
_SUBFILE, _COMPRESSION, _PHOTOMETRIC, _SUB_IFDS, _SAMPLE_FORMAT, _DNG_VERSION = (
    254, 259, 262, 330, 339, 50706,
)  # fmt: skip
_REDUCED_COPY = 1  # bit of _SUBFILE
_MAX_PAGES = 64  # of a TIFF that are looked at
_CAMERA_PIXELS = frozenset({32803, 34892})  # _PHOTOMETRIC: a sensor's colour filters, linear RAW
_IEEE_FLOAT = 3  # _SAMPLE_FORMAT
_UNREADABLE = {50001: "WebP", 50002: "JPEG XL", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard"}


class CameraRawError(DecodeError):
    """A camera's RAW file; a preview in it may stand for the photo (raw.py)."""

    def __init__(self, message: str = f"{CAMERA_RAW}; {_RAW_REMEDY}") -> None:
        """Say what to do; `message` may have a file's name before it."""
        super().__init__(message)


def heif_is_installed() -> bool:
    """Make Pillow read HEIC, if the extra [heif] is there; tell whether it is."""
    try:
        import pi_heif
    except ModuleNotFoundError:
        return False
    pi_heif.register_heif_opener()
    return True


def is_heif(data: bytes) -> bool:
    """Tell whether bytes begin as a HEIC or HEIF file does; AVIF may begin so, too."""
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIC_BRANDS:
        return False
    compatible = data[16 : min(int.from_bytes(data[:4], "big"), _LONGEST_BRANDS)]
    brands = {compatible[i : i + 4] for i in range(0, len(compatible), 4)}
    return not brands & {b"avif", b"avis"} or bool(brands & (_HEIC_BRANDS - _ANY_CODEC))


def unread(data: bytes) -> DecodeError:
    """Return the error that says what a file is that Pillow does not know."""
    reason = _explain_unread(data)
    return CameraRawError() if reason == CAMERA_RAW else DecodeError(reason)


def _explain_unread(data: bytes) -> str:
    if data.startswith(_JXL_MAGIC):
        return "JPEG XL, which is not read here; save it as PNG or JPEG"
    if is_heif(data) and not heif_is_installed():
        return 'HEIC needs the extra [heif]: pip install ".[heif]" in the checkout'
    if data[4:8] == b"ftyp" and data[8:11] == b"crx":
        return CAMERA_RAW
    if data.startswith(_RAW_MAGIC):
        return CAMERA_RAW
    if data.startswith(b"PAR1"):
        return "a table: `mspt score --from` takes its paths, `mspt cluster score` its images"
    if data.startswith(_PACKED_MAGIC):
        return "a packed file; unpack it first: shards are .tar files, not packed as a whole"
    if data.startswith(_TIFF_MAGIC):
        return _explain_tiff(data)
    if data.startswith(b"\xff\xd8") and _jpeg_bits(data) == 12:
        return "JPEG with 12 bits a colour, which is not read here; save it with 8 bits"
    return f"not an image of a known format ({', '.join(FORMATS)})"


def _jpeg_bits(data: bytes) -> int:
    """Return the bits per colour that a JPEG's frame header tells, 0 if it has none."""
    place = 2
    while place + 5 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[place + 4]
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return 0


def _explain_tiff(data: bytes) -> str:
    """Return why Pillow does not know a TIFF: by the tags of its first page."""
    try:
        header = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(header.next)
        header.load(file)
    except (OSError, ValueError, SyntaxError, struct.error, TypeError):
        return "TIFF, damaged or cut short"
    if reason := _not_a_photo(header):
        return reason
    if _IEEE_FLOAT in _as_tuple(header.get(_SAMPLE_FORMAT)):
        return "TIFF of float pixels, whose range is not defined; save the image in 8 bits"
    return "TIFF of a form that is not read here; save it in 8 bits"


def find_tiff_page(image: Image.Image) -> None:
    """Seek the first page that is a photo: no reduced copy, no camera's RAW.

    Raises:
        DecodeError: if there is none, saying what the file is.
    """
    reason = ""
    for page in range(_MAX_PAGES):  # one by one: to count them all takes time that grows faster
        try:
            image.seek(page)
        except EOFError:
            break
        tags = image.tag_v2  # type: ignore[attr-defined]
        reason = _not_a_photo(tags)
        if not reason and (packed := _UNREADABLE.get(tags.get(_COMPRESSION, 1))):
            raise DecodeError(f"TIFF packed with {packed}, which is not read here; save it anew")
        if reason == CAMERA_RAW:
            raise CameraRawError
        if not reason:
            return
    raise DecodeError(reason)


def _not_a_photo(tags: TiffImagePlugin.ImageFileDirectory_v2) -> str:
    """Return what a TIFF's page is instead of a photo; "" for a photo."""
    if tags.get(_PHOTOMETRIC) in _CAMERA_PIXELS or _DNG_VERSION in tags:
        return CAMERA_RAW
    kind = tags.get(_SUBFILE, 0)
    if not isinstance(kind, int) or not kind & _REDUCED_COPY:
        return ""
    has_more = _SUB_IFDS in tags  # where cameras put what the thumbnail is of
    return CAMERA_RAW if has_more else "TIFF that holds a reduced copy only; save the photo itself"


def _as_tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)
