"""Colours come out as the file means them, whatever profile it carries."""

import io
import struct

import numpy as np
import pytest
from conftest import encode
from PIL import Image, ImageCms, PngImagePlugin

from mspt.arrays import RGB
from mspt.image import colour
from mspt.image.colour import _matrix_profile, _profile_of_png
from mspt.image.decode import decode_rgb, rgb_of_pil

# Primaries of sRGB, adapted to D50, as every profile of it has them.
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
SWAPPED = SRGB[:, [1, 2, 0]]  # what is called red is green: shows at once whether it is used


def profile(columns: np.ndarray = SRGB, gamma: float = 2.2) -> bytes:
    return _matrix_profile(columns, gamma)


def differ(first: RGB, second: RGB) -> float:
    return float(np.abs(first.astype(int) - second).mean())


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_profile_is_used_in_every_format(form: str, face: RGB) -> None:
    options = {"quality": 98} if form in ("JPEG", "WEBP", "AVIF") else {}
    plain = decode_rgb(encode(face, form, **options))
    swapped = decode_rgb(encode(face, form, icc_profile=profile(SWAPPED), **options))
    assert differ(swapped, plain[:, :, [2, 0, 1]]) < 4
    assert differ(swapped, plain) > 10


def test_srgb_itself_costs_no_pixel(face: RGB) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode_rgb(encode(face, "PNG", icc_profile=srgb)), face)
    jpeg = encode(face, "JPEG", icc_profile=srgb)
    assert np.array_equal(decode_rgb(jpeg), decode_rgb(encode(face, "JPEG")))


def test_a_profile_is_tried_once(face: RGB, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    build = ImageCms.buildTransform
    monkeypatch.setattr(
        ImageCms, "buildTransform", lambda *a, **k: tried.append(1) or build(*a, **k)
    )
    data = encode(face, "JPEG", icc_profile=profile(gamma=1.51))
    for _ in range(3):
        decode_rgb(data)
    assert len(tried) == 1


def test_gray_profiles_and_transparency_are_kept_apart(face: RGB) -> None:
    linear = profile(gamma=1.0)
    rgba = np.dstack([face, np.full(face.shape[:2], 255, np.uint8)])
    assert (
        differ(
            decode_rgb(encode(rgba, "PNG", icc_profile=linear)),
            decode_rgb(encode(face, "PNG", icc_profile=linear)),
        )
        < 1
    )
    see_through = rgba.copy()
    see_through[:, :, 3] = 0
    white = decode_rgb(encode(see_through, "PNG", icc_profile=linear))
    assert (white == 255).all()


def test_a_profile_of_another_space_or_none_at_all_is_ignored(face: RGB) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for junk in (lab, b"junk", b"\0" * 200, profile()[:150]):
        assert np.array_equal(decode_rgb(encode(face, "PNG", icc_profile=junk)), face)


def png(face: RGB | Image.Image, **chunks: bytes) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, data in chunks.items():
        info.add(name.encode(), data)
    buffer = io.BytesIO()
    image = face if isinstance(face, Image.Image) else Image.fromarray(face)
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def numbers(*values: float) -> bytes:
    return b"".join(round(value * 100_000).to_bytes(4, "big") for value in values)


def test_pngs_gamma_is_used_and_srgb_overrules_it(face: RGB) -> None:
    assert np.array_equal(decode_rgb(png(face, gAMA=numbers(0.45455))), face)
    linear = decode_rgb(png(face, gAMA=numbers(1.0)))
    assert linear.mean() > face.mean() + 20, "linear light looks brighter in sRGB"
    assert np.array_equal(decode_rgb(png(face, gAMA=numbers(1.0), sRGB=b"\0")), face)


def test_pngs_primaries_are_used(face: RGB) -> None:
    wide = numbers(0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)  # Display P3
    richer = decode_rgb(png(face, gAMA=numbers(0.45455), cHRM=wide))
    assert 1 < differ(richer, face) < 20


@pytest.mark.parametrize("xy", [(0.0,) * 8, (0.3, 0.3) * 4, (0.3127, 0.0) * 4])
def test_primaries_that_make_no_sense_are_ignored(xy: tuple[float, ...]) -> None:
    assert _profile_of_png(0.45455, xy) == b""


def test_pil_images_in_memory_are_converted_too(face: RGB) -> None:
    picture = Image.fromarray(face)
    picture.info["icc_profile"] = profile(SWAPPED)
    assert differ(rgb_of_pil(picture), face[:, :, [2, 0, 1]]) < 4
    assert colour.to_srgb(Image.fromarray(face)).getpixel((3, 3)) == tuple(face[3, 3])


def test_gray_in_any_form_follows_its_profile(face: RGB) -> None:
    gray = Image.fromarray(face).convert("L")
    linear = gray_profile(gamma=1.0)
    expected = decode_rgb(encode(gray, "PNG", icc_profile=linear))
    assert differ(expected, decode_rgb(encode(gray, "PNG"))) > 10
    with_alpha = gray.copy()
    with_alpha.putalpha(255)
    assert np.array_equal(decode_rgb(encode(with_alpha, "PNG", icc_profile=linear)), expected)
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) << 8)
    assert np.array_equal(decode_rgb(encode(deep, "PNG", icc_profile=linear)), expected)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_pngs_gamma_counts_for_gray_as_for_colour(mode: str, face: RGB) -> None:
    gray = Image.fromarray(face).convert("L")
    expected = decode_rgb(png(gray.convert("RGB"), gAMA=numbers(1.0)))
    assert differ(expected, np.asarray(gray.convert("RGB"))) > 10
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) << 8)
    image = deep if mode == "I;16" else gray.convert(mode)
    assert differ(decode_rgb(png(image, gAMA=numbers(1.0))), expected) <= 1


def gray_profile(gamma: float) -> bytes:
    """Return an ICC profile of gray with one power."""
    curve = b"curv" + struct.pack(">4xIH2x", 1, round(gamma * 256))
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"wtpt": white, b"kTRC": curve}
    table, body = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(tag))
        body += tag
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4xI4s4s4s", size, 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28 + white[8:]
    return header.ljust(128, b"\0") + table + body
