"""What goes wrong when people photograph each other with phones: one fault, continuous severity.

Same signature and rules as the single kinds in degradations.py: a square `rgb`, a severity in 0..1
and a generator; one seed gives a ladder of the same fault. Lengths are px of the 640 frame.
The face is taken to be about the middle, where portraits and selfies have it.
"""

import numpy as np
from numpy.random import Generator
from PIL import Image

from mspt.arrays import RGB
from mspt.synthesis import pixel_ops
from mspt.synthesis.degradations import Degradation, between


def _face_mask(side_px: int, rng: Generator) -> pixel_ops.Float:
    """Draw about where the face is, (side, side, 1)."""
    x, y = rng.uniform(-0.1, 0.1), rng.uniform(-0.15, 0.1)
    return pixel_ops.oval(side_px, x, y, rng.uniform(0.35, 0.6))


def _blend(inside: RGB, outside: RGB, mask: pixel_ops.Float) -> RGB:
    return pixel_ops.round_to_rgb(mask * inside + (1 - mask) * outside)


def hand_shake(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Move the camera along a crooked path while the shutter is open."""
    turns = np.cumsum(rng.normal(0, 0.12, 200)) + rng.uniform(0, 2 * np.pi)
    pace = np.abs(rng.normal(1, 0.5, 200))
    x, y = np.cumsum(pace * np.cos(turns)), np.cumsum(pace * np.sin(turns))
    scale = between(2.5, 45, severity) / max(np.ptp(x), np.ptp(y))
    return pixel_ops.convolve(rgb, pixel_ops.path_kernel(x * scale, y * scale))


def moving_face(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Blur the face alone along a streak: the scene stands still."""
    mask, angle = _face_mask(rgb.shape[0], rng), rng.uniform(0, np.pi)
    kernel = pixel_ops.motion_kernel(between(3.5, 40, severity), angle)
    return _blend(pixel_ops.convolve(rgb, kernel), rgb, mask)


def missed_focus(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Focus on something else: the face is soft, what is around it less so."""
    mask, share = _face_mask(rgb.shape[0], rng), rng.uniform(0, 0.6)
    radius = between(1.2, 12, severity)
    face = pixel_ops.convolve(rgb, pixel_ops.disk_kernel(radius))
    scene = pixel_ops.convolve(rgb, pixel_ops.disk_kernel(max(0.5, share * radius)))
    return _blend(face, scene, mask)


def _take_in_low_light(rgb: RGB, severity: float, rng: Generator, most_grain: float) -> RGB:
    """Return what a small sensor sees with little light: darker, warmer, noisy in the shadows."""
    warmth, regained = rng.uniform(0, 0.25), rng.uniform(0.4, 0.9)
    light = between(0.8, 0.05, severity)
    dark = pixel_ops.scale_light(rgb, light * np.exp(warmth * severity * np.array([1, 0, -1.5])))
    noisy = pixel_ops.add_iso_noise(dark, between(0.8, most_grain, severity), rng)
    return pixel_ops.scale_light(noisy, np.full(3, light**-regained))


def low_light(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Take the photo with little light and brighten it, noise included."""
    return _take_in_low_light(rgb, severity, rng, most_grain=6)


def smeared_low_light(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Take the photo with little light and wipe the noise away, the texture with it."""
    radius, amount = int(rng.integers(3, 7)), rng.uniform(0, 1.5)
    noisy = _take_in_low_light(rgb, severity, rng, most_grain=3)
    smooth = pixel_ops.smooth_inside_edges(noisy, radius, between(0.0008, 0.015, severity))
    return pixel_ops.sharpen(smooth, amount, 1.5)


def flash(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Flash from the front: the near burns out, the far sinks into the dark, cold light."""
    mask = _face_mask(rgb.shape[0], rng)
    cold = np.exp(rng.uniform(0, 0.3) * severity * np.array([-0.6, 0, 0.6]))
    near, far = between(1.25, 4.5, severity), between(0.75, 0.08, severity)
    gains: pixel_ops.Float = cold * np.exp(np.log(far) + np.log(near / far) * mask)
    return pixel_ops.scale_linear_light(rgb, gains)


def backlight(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Stand before a window: the face is dark, what is behind it burns out and veils it."""
    mask, veil = _face_mask(rgb.shape[0], rng), rng.uniform(0, 0.25) * severity
    face, scene = between(0.7, 0.07, severity), between(1.2, 4, severity)
    lit = pixel_ops.scale_linear_light(rgb, np.exp(np.log(scene) + np.log(face / scene) * mask))
    return pixel_ops.round_to_rgb((1 - veil) * lit.astype(np.float64) + veil * 235)


def two_lamps(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Light one side warm, the other cold, as bulb and screen or window do."""
    slope = pixel_ops.gradient(rgb.shape[0], rng.uniform(0, 2 * np.pi))
    warm, cold = np.array([0.8, 0.0, -1.0]), np.array([-0.8, rng.uniform(-0.3, 0.3), 0.9])
    strength = between(0.12, 1.0, severity)
    share = np.clip(0.5 + rng.uniform(0.5, 1) * slope, 0, 1)
    return pixel_ops.scale_linear_light(rgb, np.exp(strength * (share * warm + (1 - share) * cold)))


def greasy_lens(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Look through a fingerprint: highlights glow, contrast and crispness fade."""
    sigma = rng.uniform(8, 22)
    share = between(0.1, 0.75, severity)
    values = rgb.astype(np.float64)
    glow = pixel_ops.convolve_float(values, pixel_ops.gaussian_kernel(sigma, sigma, 0))
    near = pixel_ops.convolve_float(values, pixel_ops.gaussian_kernel(1.5, 1.5, 0))
    veiled: pixel_ops.Float = (1 - share) * (values + near) / 2 + share * (glow + 8)
    return pixel_ops.round_to_rgb(veiled)


def digital_zoom(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Zoom by enlarging: few pixels, their grain enlarged with them, sharpened, compressed."""
    amount, grain = rng.uniform(0.2, 1.5), rng.uniform(0.5, 6)
    small = pixel_ops.resize_to_side(rgb, max(48, round(rgb.shape[0] / between(1.3, 7, severity))))
    small = pixel_ops.add_iso_noise(small, grain * (0.3 + severity), rng)
    large = pixel_ops.resize_with(small, rgb.shape[0], Image.Resampling.BICUBIC)
    sharp = pixel_ops.sharpen(large, amount * (0.3 + severity), 1.5)
    return pixel_ops.recompress(sharp, "JPEG", round(between(92, 60, severity)))


def avif(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Compress as AVIF, fast."""
    return pixel_ops.recompress(
        rgb, "AVIF", round(between(70, 4, severity)), speed=9, max_threads=1
    )


def fast_webp(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Compress as WebP as apps do that must not wait."""
    return pixel_ops.recompress(rgb, "WEBP", round(between(75, 1, severity)), method=0)


PHONE: dict[str, Degradation] = {
    function.__name__: function
    for function in (
        hand_shake,
        moving_face,
        missed_focus,
        low_light,
        smeared_low_light,
        flash,
        backlight,
        two_lamps,
        greasy_lens,
        digital_zoom,
        avif,
        fast_webp,
    )
}
