"""Files that are small and ask for minutes or gigabytes are refused before a pixel is decoded."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ORIGINAL, encode
from PIL import Image

import mspt
from mspt.errors import ConfigError, DecodeError, ImageTooLargeError
from mspt.image import cost
from mspt.image.decode import decode_rgb


def jpeg(**options: object) -> bytes:
    return encode(Image.open(ORIGINAL).convert("RGB"), "JPEG", **options)


def many_scans() -> bytes:
    """Repeat the last scan of a progressive JPEG."""
    data = jpeg(progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * 200 + data[-2:]


def many_exif() -> bytes:
    data = jpeg()
    return data[:2] + b"\xff\xe1\x00\x0aExif\0\0II" * 1000 + data[2:]


def much_fill() -> bytes:
    data = jpeg()
    return data[:2] + b"\xff" * 200_000 + data[2:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def many_profiles() -> bytes:
    data = encode(Image.open(ORIGINAL), "PNG")
    profile = chunk(b"iCCP", b"k\0\0" + zlib.compress(b"A" * 1000))
    return data[:33] + profile * 10 + data[33:]


def run_length_bomb() -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 9000, 9000, 1, 8, 1, 0, 0, 0, 256, 0)
    pixels = b"\xff\x07" * 36 + b"\0\1"
    size = 14 + len(header) + 1024 + len(pixels)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, 14 + 40 + 1024) + header + bytes(1024) + pixels


def tiff(*entries: tuple[int, int, int, int]) -> bytes:
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0\x08\0\0\0" + directory + bytes(4) + bytes(400_000)


SIZE = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]


def giant_tile() -> bytes:
    tile = [(322, 4, 1, 30_000), (323, 4, 1, 30_000), (324, 4, 1, 8), (325, 4, 1, 64)]
    return tiff(*SIZE, (277, 3, 1, 1), *tile)


def many_strips() -> bytes:
    return tiff(*SIZE, (273, 4, 50_000, 8), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 50_000, 8))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (many_scans, "scans of a JPEG, but at most 100"),
        (many_exif, "1000 Exif segments of a JPEG, but at most 32"),
        (much_fill, "65536 fill bytes in a row"),
        (many_profiles, "10 colour profiles of a PNG, but at most 4"),
        (run_length_bomb, "81000000 pixels of"),
        (giant_tile, "900000000 pixels of a tile"),
        (many_strips, "50000 strips of a TIFF"),
    ],
)
def test_what_would_cost_too_much_is_named(make: Callable[[], bytes], says: str) -> None:
    with pytest.raises(ImageTooLargeError, match=says):
        decode_rgb(make())


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF"])
def test_usual_files_pass(form: str) -> None:
    assert decode_rgb(encode(Image.open(ORIGINAL).convert("RGB"), form)).shape == (320, 320, 3)


def hidden_scans() -> bytes:
    """Hide scans from whoever takes TEM, which has no length, for a segment."""
    data = jpeg(progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + b"\xff\x01" + data[start:-2] * 200 + data[-2:]


def many_segments() -> bytes:
    data = jpeg()
    return data[:2] + b"\xff\xe3\x00\x02" * 5000 + data[2:]


def text_for_a_tile() -> bytes:
    strips = [(273, 4, 1, 200), (277, 3, 1, 1), (278, 4, 1, 64), (279, 4, 1, 4096)]
    return tiff(*SIZE, *strips, (322, 2, 4, 0x787878), (323, 4, 1, 10**8))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (hidden_scans, "scans of a JPEG"),
        (many_segments, "more than 2048 segments"),
        (text_for_a_tile, "tiles have a size that is no number"),
    ],
)
def test_what_hides_its_cost_is_named_too(make: Callable[[], bytes], says: str) -> None:
    with pytest.raises(ImageTooLargeError, match=says):
        decode_rgb(make())


def test_fill_behind_a_photo_is_harmless() -> None:
    assert decode_rgb(jpeg() + b"\xff" * 200_000).shape == (320, 320, 3)


def test_a_tiff_of_many_pages_is_read_by_its_first(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    pages = [Image.open(ORIGINAL).convert("RGB")] * 3
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    assert decode_rgb(buffer.getvalue()).shape == (320, 320, 3)


def test_an_even_lower_part_behind_restart_markers_is_the_photos() -> None:
    rgb = np.array(Image.open(ORIGINAL).convert("RGB"))
    rgb[220:] = 255
    data = encode(rgb, "JPEG", restart_marker_rows=1)
    place = data.index(b"\xff\xd2") + 40
    assert decode_rgb(data[:place] + data[place + 3 :]).shape == (320, 320, 3)


def test_a_video_behind_a_photo_is_not_counted() -> None:
    motion_photo = jpeg(progressive=True) + b"\xff\xda\x00\x02" * 500
    assert decode_rgb(motion_photo).shape == (320, 320, 3)


def test_a_run_length_coded_picture_passes() -> None:
    flat = Image.new("P", (640, 640), 7)
    header = struct.pack("<IiiHHIIiiII", 40, 640, 640, 1, 8, 1, 0, 0, 0, 256, 0)
    pixels = (b"\xff\x07\xff\x07\x82\x07\0\0") * 640 + b"\0\1"
    offset = 14 + 40 + 1024
    data = b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header
    data += bytes(1024) + pixels
    assert decode_rgb(data).shape == (*flat.size, 3)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.85])
def test_a_jpeg_that_ends_early_is_no_photo_though_it_has_an_end(share: float) -> None:
    data = jpeg(quality=85)
    cut = data[: int(share * len(data))] + b"\xff\xd9"
    with pytest.raises(DecodeError, match="cut short: the lower .* of the picture is missing"):
        decode_rgb(cut)


def test_a_few_lost_bytes_at_the_end_are_harmless() -> None:
    data = jpeg(quality=85)
    assert decode_rgb(data[:-40] + b"\xff\xd9").shape == (320, 320, 3)


def test_an_operator_may_allow_fewer_pixels() -> None:
    scorer = mspt.load(max_pixels=320 * 320)
    assert scorer.score(ORIGINAL).score > 0
    large = io.BytesIO()
    Image.fromarray(np.zeros((321, 320, 3), dtype=np.uint8)).save(large, "PNG")
    with pytest.raises(ImageTooLargeError, match="102720 pixels are more than the 102400 allowed"):
        scorer.score(large.getvalue())


def test_an_operator_may_allow_fewer_bytes(tmp_path: Path) -> None:
    size = ORIGINAL.stat().st_size
    scorer = mspt.load(max_bytes=size)
    assert scorer.score(ORIGINAL).score > 0
    longer = tmp_path / "longer.png"
    longer.write_bytes(ORIGINAL.read_bytes() + b"\0")
    for image in (longer, longer.read_bytes(), io.BytesIO(longer.read_bytes())):
        with pytest.raises(ImageTooLargeError, match=f"{size + 1} bytes are more than the {size}"):
            scorer.score(image)


@pytest.mark.parametrize("limit", ["max_pixels", "max_bytes"])
@pytest.mark.parametrize("wrong", [0, 10**10])
def test_no_limit_is_above_the_default(limit: str, wrong: int) -> None:
    with pytest.raises(ConfigError, match=rf"{limit} .* must lie in 1\.\."):
        mspt.load(**{limit: wrong})


def test_scans_are_counted_no_further_than_needed() -> None:
    assert cost._count_scans(many_scans()) == cost.MAX_SCANS + 1


@pytest.mark.parametrize("rows", [33, 170, 320, 10_000])
def test_a_tiff_whose_strips_cover_a_part_is_no_photo(rows: int) -> None:
    """Its height says more than there is; Pillow would leave the rest black."""
    data = bytearray(encode(Image.open(ORIGINAL).convert("RGB").crop((0, 0, 320, 32)), "TIFF"))
    entry = struct.pack("<HHII", 257, 4, 1, 32)
    place = bytes(data).index(entry)
    data[place : place + 12] = struct.pack("<HHII", 257, 4, 1, rows)
    if rows == 33:  # a lost row is harmless
        assert decode_rgb(bytes(data)).shape == (33, 320, 3)
    else:
        with pytest.raises(DecodeError, match=r"cut short: \d+% of the picture is missing"):
            decode_rgb(bytes(data))
