"""Formats that people have: read, or named in the row with the way out."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from benchmarks.fuzz.raw_file import dng
from conftest import ORIGINAL, ROOT, encode
from PIL import Image, TiffImagePlugin

from mspt.arrays import RGB
from mspt.errors import DecodeError
from mspt.image import formats
from mspt.image.decode import decode_rgb
from mspt.image.formats import FORMATS, SUFFIXES


def test_avif_that_begins_as_heif_does_is_avif(face: RGB) -> None:
    pytest.importorskip("pi_heif")
    avif = encode(face, "AVIF", quality=95)
    assert avif[8:12] == b"avif"
    general = avif[:8] + b"mif1" + avif[12:]
    assert np.array_equal(decode_rgb(general), decode_rgb(avif))


@pytest.mark.parametrize("form", ["AVIF", "JPEG2000"])
def test_modern_formats_are_read(form: str, face: RGB) -> None:
    options = {"AVIF": {"quality": 95}, "JPEG2000": {}}[form]
    difference = np.abs(decode_rgb(encode(face, form, **options)).astype(int) - face)
    assert difference.mean() < 3


def test_heic_is_read_with_its_extra(face: RGB) -> None:
    """The file was made of examples/faces/original.png, 64 px, by libheif's heif-enc."""
    pytest.importorskip("pi_heif")
    found = decode_rgb((ROOT / "tests/data/face-64px.heic").read_bytes())
    assert found.shape == (64, 64, 3)
    small = np.asarray(Image.fromarray(face).resize((64, 64), Image.Resampling.BICUBIC))
    assert np.abs(found.astype(int) - small).mean() < 8


HEIC_START = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100


def test_heic_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(
        DecodeError, match=r'HEIC needs the extra \[heif\]: pip install "\.\[heif\]"'
    ):
        decode_rgb(HEIC_START)


def test_damaged_heic_is_an_image_error() -> None:
    pytest.importorskip("pi_heif")
    cut = (ROOT / "tests/data/face-64px.heic").read_bytes()[:300]
    for data in (HEIC_START, cut):
        with pytest.raises(DecodeError) as found:
            decode_rgb(data)
        assert "extra" not in str(found.value), "it is installed"


RAW = "camera RAW, which is not developed here"


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"\xff\x0a", "JPEG XL, which is not read here"),
        (b"PAR1\0", "a table: `mspt score --from` takes its paths"),
        (b"\x1f\x8b\x08", "a packed file; unpack it first: shards are .tar files"),
        (b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a", "JPEG XL, which is not read here"),
        (b"\0\0\0\x18ftypcrx ", RAW),
        (b"FUJIFILMCCD-RAW 0201", RAW),
        (b"IIRO\x08\0\0\0", RAW),
        (b"IIU\0\x08\0\0\0", RAW),
        (b"II*\0\xff\xff\xff\x7f", "damaged or cut short"),
        (b"plain text", r"not an image of a known format \(JPEG, PNG, WEBP, AVIF, HEIF"),
    ],
)
def test_what_is_not_read_is_named(start: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode_rgb(start + b"\0" * 200)


def tiff(pages: list[tuple[Image.Image, dict[int, int]]]) -> bytes:
    """Return a TIFF of several pages with tags of their own."""
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer) as writer:
        for image, tags in pages:
            directory = TiffImagePlugin.ImageFileDirectory_v2()
            for tag, value in tags.items():
                directory[tag] = value
            image.save(writer, "TIFF", tiffinfo=directory)
            writer.newFrame()
    return buffer.getvalue()


def test_the_first_page_that_is_no_reduced_copy_is_read(face: RGB) -> None:
    photo = Image.fromarray(face)
    data = tiff([(photo.resize((64, 64)), {254: 1}), (photo, {})])
    assert np.array_equal(decode_rgb(data), face)


@pytest.mark.parametrize("tags", [{254: 1, 330: 8}, {50706: 1}, {254: 1, 330: 8, 50706: 1}])
def test_a_thumbnail_of_camera_raw_never_passes(tags: dict[int, int], face: RGB) -> None:
    with pytest.raises(DecodeError, match=RAW):
        decode_rgb(tiff([(Image.fromarray(face).resize((96, 96)), tags)]))


def test_the_full_preview_of_a_raw_file_is_read_with_the_extra(face: RGB) -> None:
    pytest.importorskip("rawpy")
    preview = encode(face, "JPEG", quality=95)
    found = decode_rgb(dng(preview, 400, 400))
    assert np.array_equal(found, decode_rgb(preview))


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_a_raw_file_turns_a_preview_that_does_not_say(
    orientation: int, turns: int, face: RGB
) -> None:
    pytest.importorskip("rawpy")
    preview = encode(face, "JPEG", quality=95)
    found = decode_rgb(dng(preview, 400, 400, orientation=orientation))
    assert np.array_equal(found, np.rot90(decode_rgb(preview), turns))


def test_a_thumbnail_in_a_raw_file_is_no_photo(face: RGB) -> None:
    pytest.importorskip("rawpy")
    preview = encode(face[:96, :96], "JPEG", quality=95)
    with pytest.raises(
        DecodeError, match=r"camera RAW.* its preview of 96 x 96 px is no full photo"
    ):
        decode_rgb(dng(preview, 400, 400))


def test_a_raw_file_without_the_extra_is_named(face: RGB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mspt.image.decode.raw_is_installed", lambda: False)
    with pytest.raises(DecodeError, match=RAW):
        decode_rgb(dng(encode(face, "JPEG"), 400, 400))


def test_damaged_raw_files_are_image_errors(face: RGB) -> None:
    pytest.importorskip("rawpy")
    whole = dng(encode(face, "JPEG"), 400, 400)
    for length in (200, 900, 2100):
        with pytest.raises(DecodeError):
            decode_rgb(whole[:length])
    for missing in (1, 100, 5000):
        with pytest.raises(DecodeError, match="its preview is cut short"):
            decode_rgb(whole[:-missing])


def test_a_tiff_whose_kind_is_text_is_an_image_error() -> None:
    entry = struct.pack("<HHI", 254, 2, 4) + b"abc\0"
    with pytest.raises(DecodeError, match="TIFF of a form that is not read here"):
        decode_rgb(b"II*\0" + struct.pack("<IH", 8, 1) + entry + b"\0" * 100)


def test_a_reduced_copy_alone_says_so(face: RGB) -> None:
    with pytest.raises(DecodeError, match="a reduced copy only"):
        decode_rgb(tiff([(Image.fromarray(face), {254: 1})]))


def float_tiff() -> bytes:
    """Return a TIFF of float RGB, which Pillow cannot write."""
    tags = {256: 40, 257: 40, 258: 32, 259: 1, 262: 2, 273: 200, 277: 3, 278: 40, 339: 3}
    entries = b"".join(struct.pack("<HHII", t, 3, 1, v) for t, v in sorted(tags.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0"
    return head.ljust(200, b"\0") + np.zeros((40, 40, 3), np.float32).tobytes()


def test_float_tiffs_and_twelve_bit_jpegs_are_told_apart(face: RGB) -> None:
    with pytest.raises(DecodeError, match="TIFF of float pixels, whose range is not defined"):
        decode_rgb(float_tiff())
    data = bytearray(encode(face, "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12  # bits a colour, in the frame header
    with pytest.raises(DecodeError, match="JPEG with 12 bits a colour"):
        decode_rgb(bytes(data))


def test_libtiff_says_nothing_on_stderr(face: RGB) -> None:
    code = """
import sys
from mspt.errors import ImageError
from mspt.image.decode import decode_rgb
try:
    decode_rgb(sys.stdin.buffer.read())
except ImageError as error:
    print(error)
"""
    whole = encode(face, "TIFF", compression="tiff_adobe_deflate")
    broken = whole[:200] + b"\xff" * 400 + whole[600:]
    done = subprocess.run([sys.executable, "-c", code], input=broken, capture_output=True)
    assert b"damaged or cut short" in done.stdout
    assert done.stderr == b""


def test_a_closed_picture_says_so() -> None:
    from mspt.image.decode import rgb_of_pil

    with Image.open(ORIGINAL) as picture:
        pass
    with pytest.raises(DecodeError, match="the picture's file is closed; hand it over inside"):
        rgb_of_pil(picture)


def test_every_suffix_belongs_to_one_format() -> None:
    every = [suffix for suffixes in FORMATS.values() for suffix in suffixes]
    assert len(every) == len(SUFFIXES)
    assert not SUFFIXES & formats.RAW_SUFFIXES
