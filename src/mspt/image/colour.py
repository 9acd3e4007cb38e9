"""Colours as the file means them, turned into sRGB.

In:   a Pillow image, with the profile that its file carries.
Out:  the same image in sRGB; untouched where it is in sRGB or says nothing.

ICC profiles are applied by LittleCMS, relative colorimetric. PNG's gAMA and cHRM become a profile
first. Whether a profile changes anything is found out once and remembered, so that the photos of
one camera cost a look-up each.
"""

import io
import struct
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_MODES = {"RGB": "RGB", "RGBA": "RGBA", "L": "RGB", "CMYK": "RGB"}  # of the input, of the result
_SPACE_OF_MODE = {"RGB": "RGB ", "RGBA": "RGB ", "L": "GRAY", "CMYK": "CMYK"}
_REMEMBERED = 64  # profiles
_LARGEST = 4 * 2**20  # bytes of a profile that counts: printers' have up to three million
_STEPS = 6  # levels a channel, of the colours on which a profile is tried
_INVISIBLE = 2  # grey values: a profile that moves colours no further is sRGB

_SRGB_GAMMA = 1 / 2.2  # as PNG's gAMA has it
_SRGB_XY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # white, red, green, blue; as cHRM
_D50 = np.array([0.9642, 1.0, 0.8249])  # the white of profiles
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def to_srgb(image: Image.Image) -> Image.Image:
    """Return an image in sRGB; a profile that cannot be used counts as none."""
    profile = _profile_of(image)
    if not profile:
        return image
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("L", "LA") and "icc_profile" not in image.info:  # PNG's gAMA counts for gray
        image = image.convert("RGB" if image.mode == "L" else "RGBA")
    colours = image.getchannel("L") if image.mode == "LA" else image
    transform = _transform_of(profile, colours.mode) if colours.mode in _MODES else None
    if transform is None:
        return image
    converted = _apply(colours, transform)
    if image.mode == "LA":
        converted.putalpha(image.getchannel("A"))
    converted.info = {k: v for k, v in image.info.items() if k != "icc_profile"}
    return converted


def has_other_colours(image: Image.Image) -> bool:
    """Tell whether an image's profile changes its colours."""
    profile = _profile_of(image)
    return bool(profile) and image.mode in _MODES and _transform_of(profile, image.mode) is not None


def _profile_of(image: Image.Image) -> bytes:
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        return profile if len(profile) <= _LARGEST else b""
    if "srgb" in image.info or image.format != "PNG":
        return b""
    return _profile_of_png(image.info.get("gamma"), image.info.get("chromaticity"))


@lru_cache(_REMEMBERED)
def _transform_of(profile: bytes, mode: str) -> Any:  # noqa: ANN401 - ImageCms' own
    """Return what turns colours into sRGB, or None if nothing needs to be done or can be."""
    try:
        with warnings.catch_warnings(action="ignore"):
            source = ImageCms.getOpenProfile(io.BytesIO(profile))
        if source.profile.xcolor_space != _SPACE_OF_MODE[mode]:
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            _MODES[mode],
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return transform if mode == "CMYK" or _moves_colours(transform, mode) else None


def _apply(image: Image.Image, transform: Any) -> Image.Image:  # noqa: ANN401
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is None only where the image itself is changed
    return converted


def _moves_colours(transform: Any, mode: str) -> bool:  # noqa: ANN401
    levels = np.linspace(0, 255, _STEPS).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(_STEPS**2, _STEPS, 3)
    image = Image.fromarray(grid)
    before = image.convert(mode)
    after = _apply(before, transform).convert("RGB")
    moved = np.abs(np.asarray(after).astype(int) - np.asarray(before.convert("RGB")))
    return int(moved.max()) > _INVISIBLE


@lru_cache(_REMEMBERED)
def _profile_of_png(gamma: float | None, xy: tuple[float, ...] | None) -> bytes:
    """Return a profile for PNG's gAMA and cHRM; nothing where they are sRGB's or make no sense."""
    gamma = gamma or _SRGB_GAMMA
    xy = xy or _SRGB_XY
    is_srgb = abs(gamma / _SRGB_GAMMA - 1) < 0.02 and np.allclose(xy, _SRGB_XY, atol=0.005)
    if is_srgb or not 0.1 < gamma < 10 or min(xy) < 0 or min(xy[1::2]) <= 0:
        return b""
    points = np.array(xy, dtype=np.float64).reshape(4, 2)
    xyz = np.column_stack([points[:, 0], points[:, 1], 1 - points.sum(axis=1)]) / points[:, 1:]
    white, primaries = xyz[0], xyz[1:].T
    try:
        columns = primaries * np.linalg.solve(primaries, white)
    except np.linalg.LinAlgError:
        return b""
    scale = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    adapted = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD @ columns
    return _matrix_profile(adapted, 1 / gamma)


def _matrix_profile(columns: Any, gamma: float) -> bytes:  # noqa: ANN401
    """Return an ICC profile, version 2, of three primaries (3, 3) in XYZ and one power."""
    curve = b"curv" + struct.pack(">4xIH", 1, round(gamma * 256)) + b"\0\0"
    tags = {b"wtpt": _xyz(_D50)}
    tags |= {name: _xyz(c) for name, c in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    tags[b"desc"] = b"desc" + struct.pack(">4xI", 4) + b"PNG\0" + b"\0" * 78
    tags[b"cprt"] = b"text\0\0\0\0none"
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(body), len(tag))
        body += tag + b"\0" * (-len(tag) % 4)
    size = start + len(body)
    header = struct.pack(">I4xI4s4s4s", size, 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28 + _xyz(_D50)[8:]
    return header.ljust(128, b"\0") + table + body


def _xyz(values: Any) -> bytes:  # noqa: ANN401
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))
