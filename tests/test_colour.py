"""Colours come out as the file means them, whatever profile it carries."""

import io

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


def png(face: RGB, **chunks: bytes) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, data in chunks.items():
        info.add(name.encode(), data)
    buffer = io.BytesIO()
    Image.fromarray(face).save(buffer, "PNG", pnginfo=info)
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
