"""Decoding: every form that real folders hold, and a plain error for what cannot be used."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import encode
from PIL import Image

from mspt.arrays import RGB
from mspt.errors import DecodeError, ImageError, ImageTooLargeError, ImageTooSmallError
from mspt.image import decode
from mspt.image.decode import decode_rgb, read_rgb, rgb_of_pil


def gradient(width: int = 64, height: int = 48) -> RGB:
    """A picture whose corners differ, so that any turn shows."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, 0 * x], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_lossless_forms_keep_every_pixel(form: str) -> None:
    assert np.array_equal(decode_rgb(encode(gradient(), form)), gradient())


def test_lossless_webp_keeps_every_pixel() -> None:
    assert np.array_equal(decode_rgb(encode(gradient(), "WEBP", lossless=True)), gradient())


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_has_the_pixels_that_pillow_decodes(
    subsampling: int, progressive: bool, face: RGB
) -> None:
    data = encode(face, "JPEG", subsampling=subsampling, progressive=progressive)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(decode_rgb(data), expected)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int, form: str) -> None:
    upright = Image.fromarray(gradient())
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # stored so that turning by 270 degrees mends it
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_rgb(encode(stored, form, quality=95, exif=exif))
    assert decoded.shape == (48, 64, 3)
    assert np.abs(decoded.astype(int) - gradient()).mean() < 4


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_xmps_orientation_turns_nothing_as_in_browsers(form: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    photo = Image.fromarray(gradient())
    assert decode_rgb(encode(photo, form, xmp=xmp)).shape == (48, 64, 3)
    exif = Image.Exif()
    exif[0x0112] = 8
    assert decode_rgb(encode(photo, form, xmp=xmp, exif=exif)).shape == (64, 48, 3)


def test_gray_jpeg_and_png_become_three_equal_channels() -> None:
    gray = Image.fromarray(gradient()).convert("L")
    for form in ("JPEG", "PNG"):
        rgb = decode_rgb(encode(gray, form))
        assert rgb.shape == (48, 64, 3)
        assert np.array_equal(rgb[..., 0], rgb[..., 2])


def test_cmyk_jpeg_keeps_its_colours() -> None:
    red = Image.new("RGB", (64, 64), (220, 30, 30)).convert("CMYK")
    pixel = decode_rgb(encode(red, "JPEG", quality=95))[32, 32].astype(int)
    assert np.abs(pixel - (220, 30, 30)).max() < 12


def test_sixteen_bit_gray_is_scaled_not_clipped() -> None:
    values = np.full((40, 40), 0x8000, dtype=np.uint16)
    for form in ("PNG", "TIFF"):
        assert decode_rgb(encode(Image.fromarray(values), form))[0, 0].tolist() == [128] * 3


def test_palette_and_transparency_are_laid_over_white() -> None:
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    assert (decode_rgb(encode(clear, "PNG")) == 255).all()
    half = Image.new("LA", (40, 40), (0, 128))
    assert abs(int(decode_rgb(encode(half, "PNG"))[0, 0, 0]) - 127) <= 1
    palette = Image.fromarray(gradient()).quantize(16)
    assert decode_rgb(encode(palette, "PNG")).shape == (48, 64, 3)
    palette.info["transparency"] = 0
    with_hole = decode_rgb(encode(palette, "PNG", transparency=0))
    assert (with_hole == 255).all(axis=-1).any()


def test_a_transparent_gray_level_of_sixteen_bits_is_white() -> None:
    values = np.full((40, 40), 300, dtype=np.uint16)
    values[0, 0] = 0x4000
    rgb = decode_rgb(encode(Image.fromarray(values), "PNG", transparency=300))
    assert rgb[0, 0].tolist() == [64] * 3
    assert rgb[1, 1].tolist() == [255] * 3


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_broken_exif_block_spoils_no_pixels(form: str) -> None:
    data = encode(gradient(), form, exif=b"Exif\0\0garbage", quality=100)
    assert np.abs(decode_rgb(data).astype(int) - gradient()).mean() < 6


def test_one_bit_and_gif_are_read_and_gif_by_its_first_frame() -> None:
    assert decode_rgb(encode(Image.new("1", (40, 40), 1), "PNG")).max() == 255
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    gif = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_rgb(gif)[0, 0].tolist() == [255, 0, 0]


def test_an_empty_file_says_so() -> None:
    with pytest.raises(DecodeError, match="the file is empty"):
        decode_rgb(b"")


def test_other_files_are_no_images() -> None:
    for data in (b"path,score\n", b"%PDF-1.7 ...", b"\x00" * 5000):
        with pytest.raises(DecodeError, match="not an image of a known format"):
            decode_rgb(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_file_cut_short_is_refused(form: str, share: float, face: RGB) -> None:
    data = encode(face, form)
    with pytest.raises(DecodeError):
        decode_rgb(data[: int(len(data) * share)])


@pytest.mark.filterwarnings("ignore")  # Pillow has much to say about such files
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_random_damage_gives_an_image_or_an_image_error(form: str) -> None:
    whole = bytearray(encode(gradient(), form))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = whole.copy()
        for position in rng.integers(0, min(len(whole), 400), size=rng.integers(1, 6)):
            damaged[position] = rng.integers(256)
        try:
            assert decode_rgb(bytes(damaged)).dtype == np.uint8
        except ImageError:
            refused += 1
    assert refused > 0


def test_harmless_bytes_around_a_jpeg_do_not_matter(face: RGB) -> None:
    data = encode(face, "JPEG")
    assert np.array_equal(decode_rgb(data + b"\x00" * 100), decode_rgb(data))


def test_premultiplied_gray_is_laid_over_white_too() -> None:
    gray = Image.new("LA", (40, 40), (100, 255))
    assert (decode.rgb_of_pil(gray.convert("La")) == decode.rgb_of_pil(gray)).all()


def test_float_pixels_have_no_range() -> None:
    tiff = encode(Image.fromarray(np.zeros((40, 40), dtype=np.float32)), "TIFF")
    with pytest.raises(DecodeError, match="32-bit float"):
        decode_rgb(tiff)


def test_the_smallest_side_is_the_boundary() -> None:
    assert decode_rgb(encode(gradient(decode.MIN_SIDE_PX, 400), "PNG")).shape[1] == 32
    with pytest.raises(ImageTooSmallError, match="31 x 400 px: the short side is below the 32 px"):
        decode_rgb(encode(gradient(31, 400), "PNG"))
    with pytest.raises(ImageTooSmallError, match="1 x 1 px"):
        decode_rgb(encode(gradient(1, 1), "PNG"))


def test_pixels_are_counted_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(gradient(100, 50), "PNG")
    monkeypatch.setattr(decode, "MAX_PIXELS", 5000)
    assert decode_rgb(data).shape == (50, 100, 3)
    monkeypatch.setattr(decode, "MAX_PIXELS", 4999)
    cut_after_header = data[:60]  # decoding it would fail with another error
    with pytest.raises(ImageTooLargeError, match="100 x 50 px is more than the 4999 pixels"):
        decode_rgb(cut_after_header)


def test_a_decompression_bomb_is_too_large() -> None:
    bomb = encode(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(ImageTooLargeError):
        decode_rgb(bomb)


def test_bytes_are_counted_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(encode(gradient(), "PNG"))
    size = path.stat().st_size
    assert read_rgb(path, max_bytes=size).shape
    with pytest.raises(ImageTooLargeError, match="bytes are more than the"):
        read_rgb(path, max_bytes=size - 1)


def test_a_missing_file_a_folder_and_a_pipe_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DecodeError, match="No such file"):
        read_rgb(tmp_path / "none.jpg")
    with pytest.raises(DecodeError, match="not a regular file, but a folder$"):
        read_rgb(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(DecodeError, match="a folder that you may not read"):
        read_rgb(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DecodeError, match="not a regular file"):
        read_rgb(tmp_path / "pipe.jpg")


def test_pil_images_are_turned_and_flattened_too() -> None:
    image = Image.new("RGBA", (40, 60), (0, 0, 0, 0))
    image.getexif()[0x0112] = 6
    assert rgb_of_pil(image).shape == (40, 60, 3)
    assert (rgb_of_pil(image) == 255).all()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such files")
def test_a_file_of_the_kernels_is_empty_and_is_not_read(tmp_path: Path) -> None:
    """Reading /proc/kmsg waits for ever; the sizes of such files are 0."""
    (tmp_path / "k.jpg").symlink_to("/proc/self/status")
    with pytest.raises(DecodeError, match="the file is empty"):
        read_rgb(tmp_path / "k.jpg")
