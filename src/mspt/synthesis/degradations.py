"""Degradations of one kind, with a continuous severity.

Each takes a square `rgb` (uint8), a severity in 0..1 and a generator, and returns the same shape.
Severity 0 is just visible, 1 is very bad. What severity does not govern (angles, noise fields,
which blocks are lost) is drawn from the generator in the same order whatever the severity, so one
seed gives a ladder of the same damage. Lengths are px of the 640 frame.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image

from mspt.arrays import RGB
from mspt.synthesis import pixel_ops

Degradation = Callable[[RGB, float, Generator], RGB]


def between(low: float, high: float, severity: float) -> float:
    """Return the value at `severity` on a logarithmic path from `low` (0) to `high` (1)."""
    return float(low * (high / low) ** severity)


def gaussian_blur(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Blur evenly."""
    sigma = between(0.8, 10, severity)
    return pixel_ops.convolve(rgb, pixel_ops.gaussian_kernel(sigma, sigma, 0))


def anisotropic_blur(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Blur more along one direction than across it."""
    ratio, angle = rng.uniform(0.25, 0.6), rng.uniform(0, np.pi)
    sigma = between(1.1, 14, severity)
    return pixel_ops.convolve(rgb, pixel_ops.gaussian_kernel(sigma, sigma * ratio, angle))


def defocus_blur(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Blur with the disk of a lens out of focus."""
    return pixel_ops.convolve(rgb, pixel_ops.disk_kernel(between(1.4, 14, severity)))


def motion_blur(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Blur along a straight streak."""
    angle = rng.uniform(0, np.pi)
    return pixel_ops.convolve(rgb, pixel_ops.motion_kernel(between(3.5, 56, severity), angle))


_UP_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def low_resolution(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Make small (native sizes of 560..49 px), enlarge, a third of the time with sharpening.

    Who enlarges little sharpens little: else a mild one looks worse than a stronger one.
    """
    up_filter = _UP_FILTERS[rng.integers(3)]
    amount = severity * rng.uniform(0.3, 1.5) if rng.random() < 1 / 3 else 0.0
    side = rgb.shape[0]
    small = pixel_ops.resize_to_side(rgb, max(8, round(side / between(1.15, 13, severity))))
    large = pixel_ops.resize_with(small, side, up_filter)
    return pixel_ops.sharpen(large, amount, 1.5) if amount else large


def gaussian_noise(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Add white noise, grey or coloured."""
    grey = bool(rng.random() < 0.4)
    return pixel_ops.add_gaussian_noise(rgb, between(1.5, 60, severity), rng, grey)


def shot_noise(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Add signal-dependent noise, grey or coloured."""
    grey = bool(rng.random() < 0.4)
    return pixel_ops.add_shot_noise(rgb, between(0.1, 20, severity), rng, grey)


def iso_noise(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Add a small sensor's grain and colour blotches."""
    return pixel_ops.add_iso_noise(rgb, between(1.5, 22, severity), rng)


def jpeg(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Compress as JPEG."""
    return pixel_ops.recompress(rgb, "JPEG", round(between(80, 4, severity)))


def webp(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Compress as WebP."""
    return pixel_ops.recompress(rgb, "WEBP", round(between(80, 1, severity)))


def double_jpeg(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Compress as JPEG twice, the second block grid shifted against the first."""
    shift_px, ratio = rng.integers(1, 8, size=2), rng.uniform(1, 2)
    quality = between(80, 5, severity)
    first = pixel_ops.recompress(rgb, "JPEG", round(quality))
    moved = np.roll(first, tuple(shift_px), axis=(0, 1))
    second = pixel_ops.recompress(moved, "JPEG", min(95, round(quality * ratio)))
    return np.roll(second, tuple(-shift_px), axis=(0, 1))


def platform_jpeg(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Upload and share: compressed, shrunk to a platform's size, compressed again, enlarged."""
    up_filter = _UP_FILTERS[rng.integers(3)]
    first = pixel_ops.recompress(rgb, "JPEG", int(rng.integers(75, 95)))
    small = pixel_ops.resize_to_side(first, round(rgb.shape[0] * between(0.85, 0.15, severity)))
    shared = pixel_ops.recompress(small, "JPEG", round(between(88, 30, severity)))
    return pixel_ops.resize_with(shared, rgb.shape[0], up_filter)


def damaged_jpeg(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Lose the end of a JPEG: grey below a block row, or shifted and off-colour from there on."""
    side = rgb.shape[0]
    intact_rows = 16 * round(side * (1 - between(0.03, 0.85, severity)) / 16)
    first_block = 16 * int(rng.integers(0, side // 16))
    shift, drift = 16 * int(rng.integers(1, 6)), rng.uniform(-45, 45, 3)
    empty = bool(rng.random() < 0.5)
    broken = np.full_like(rgb, 128)
    if not empty:
        broken = pixel_ops.round_to_rgb(np.roll(rgb, shift, axis=1) + drift)
    result = rgb.copy()
    result[intact_rows + 16 :] = broken[intact_rows + 16 :]
    row = slice(intact_rows, intact_rows + 16)
    result[row, first_block:] = broken[row, first_block:]
    return result


def overexposure(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Multiply the light until highlights clip."""
    return pixel_ops.scale_light(rgb, np.full(3, between(1.3, 6, severity)))


def underexposure(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Take light away, rounding in 8 bits."""
    return pixel_ops.scale_light(rgb, np.full(3, between(0.65, 0.03, severity)))


def low_contrast(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Pull all values towards one grey."""
    grey = rng.uniform(90, 190)
    contrast = between(0.88, 0.22, severity)
    return pixel_ops.round_to_rgb(grey + contrast * (rgb.astype(np.float64) - grey))


def color_cast(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Tint the light; the gains' geometric mean is 1."""
    direction = rng.standard_normal(3)
    direction -= direction.mean()
    direction /= np.abs(direction).max()
    return pixel_ops.scale_light(rgb, np.exp(direction * between(0.12, 1.2, severity)))


def mixed_light(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Light the scene from one side, in two colours."""
    slope = pixel_ops.gradient(rgb.shape[0], rng.uniform(0, 2 * np.pi))
    tint = rng.uniform(-0.5, 0.5, 3)
    return pixel_ops.scale_linear_light(
        rgb, np.exp(between(0.25, 2.5, severity) * slope * (1 + tint - tint.mean()))
    )


def haze(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Look through mist or a dirty lens: a bright veil, uneven, over all."""
    slope = pixel_ops.gradient(rgb.shape[0], rng.uniform(0, 2 * np.pi))
    airlight = rng.uniform(170, 245) + rng.uniform(-8, 8, 3)
    veil = np.clip(between(0.07, 0.75, severity) * (1 + rng.uniform(0, 0.4) * slope), 0, 0.95)
    return pixel_ops.round_to_rgb(rgb * (1 - veil) + airlight * veil)


def skin_smoothing(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Smooth skin as beauty filters do: texture goes, edges stay."""
    radius = int(rng.integers(5, 15))
    return pixel_ops.smooth_inside_edges(rgb, radius, between(0.0006, 0.05, severity))


def restoration(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Restore too much: a small face enlarged, its texture wiped away, its edges sharpened."""
    radius, sigma_px = int(rng.integers(3, 8)), rng.uniform(1.2, 2.5)
    side = rgb.shape[0]
    small = pixel_ops.resize_to_side(rgb, max(16, round(side / between(1.5, 10, severity))))
    large = pixel_ops.resize_with(small, side, Image.Resampling.BICUBIC)
    smooth = pixel_ops.smooth_inside_edges(large, radius, between(0.0005, 0.02, severity))
    return pixel_ops.sharpen(smooth, between(0.5, 3, severity), sigma_px)


def banding(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Leave few levels per channel."""
    steps = between(28, 3, severity)
    return pixel_ops.round_to_rgb(np.floor(rgb / 255 * steps + 0.5 + 1e-6) * (255 / steps))


def oversharpening(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Sharpen until edges carry halos."""
    sigma_px = rng.uniform(0.8, 2.5)
    return pixel_ops.sharpen(rgb, between(0.8, 10, severity), sigma_px)


def lost_blocks(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Lose square blocks, as a broken transmission does: grey, or copied from further up."""
    block = int(rng.choice([16, 32]))
    copied = bool(rng.random() < 0.5)
    side = rgb.shape[0]
    cells = -(-side // block)
    lost = rng.random((cells, cells)) < between(0.004, 0.3, severity)
    mask = np.kron(lost, np.ones((block, block), dtype=bool))[:side, :side, None]
    filling = np.roll(rgb, 3 * block, axis=0) if copied else np.full_like(rgb, 128)
    return np.where(mask, filling, rgb)


SINGLE: dict[str, Degradation] = {
    function.__name__: function
    for function in (
        gaussian_blur,
        anisotropic_blur,
        defocus_blur,
        motion_blur,
        low_resolution,
        gaussian_noise,
        shot_noise,
        iso_noise,
        jpeg,
        webp,
        double_jpeg,
        platform_jpeg,
        damaged_jpeg,
        overexposure,
        underexposure,
        low_contrast,
        color_cast,
        mixed_light,
        haze,
        skin_smoothing,
        restoration,
        banding,
        oversharpening,
        lost_blocks,
    )
}
