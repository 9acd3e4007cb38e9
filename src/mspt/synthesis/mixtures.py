"""Degradations of several kinds in a row: what one finds in the wild.

`second_order` follows Real-ESRGAN (arXiv:2107.10833): blur, resize, noise and JPEG, twice.
`chained` puts two or three of the single kinds in a row.
`capture` follows a photo from the scene to a platform: light, lens, sensor, phone, upload.
`photo_filter` edits it as photo apps do, too much.
`small` keeps the photo at fewer pixels, as thumbnails and cut-out faces come.
Same signature as the single kinds, but that `small` returns a smaller square; severity 0..1 widens
the ranges that the steps draw from.
"""

import numpy as np
from numpy.random import Generator
from PIL import Image

from mspt.arrays import RGB
from mspt.synthesis import pixel_ops
from mspt.synthesis.degradations import SINGLE, Degradation, between, haze

_FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
_KERNEL_KINDS = ("iso", "aniso", "iso", "aniso", "iso", "aniso")
_KERNEL_BETAS = ("1", "1", "general", "general", "plateau", "plateau")
_KERNEL_CHANCES = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)  # Real-ESRGAN's


def _up_to(low: float, high: float, severity: float, rng: Generator) -> float:
    """Draw between `low` and the point that `severity` reaches on the way to `high`."""
    return float(low + (high - low) * severity * rng.random())


def _chance(probability: float, rng: Generator) -> bool:
    return bool(rng.random() < probability)


def _random_kernel(max_sigma: float, severity: float, rng: Generator) -> pixel_ops.Float:
    """Draw one of Real-ESRGAN's blur kernels."""
    if _chance(0.1, rng):
        return pixel_ops.sinc_kernel(rng.uniform(np.pi / (1 + 3 * severity), np.pi), 10)
    choice = rng.choice(len(_KERNEL_CHANCES), p=_KERNEL_CHANCES)
    sigma = _up_to(0.2, max_sigma, severity, rng)
    ratio = rng.uniform(0.3, 1) if _KERNEL_KINDS[choice] == "aniso" else 1.0
    angle = rng.uniform(0, np.pi)
    if _KERNEL_BETAS[choice] == "plateau":
        return pixel_ops.plateau_kernel(sigma, sigma * ratio, angle, rng.uniform(1, 2))
    beta = rng.uniform(0.5, 4) if _KERNEL_BETAS[choice] == "general" else 1.0
    return pixel_ops.gaussian_kernel(sigma, sigma * ratio, angle, beta)


def _random_noise(
    rgb: RGB, max_sigma: float, max_variance: float, severity: float, rng: Generator
) -> RGB:
    """Add white or shot noise, grey in 40 % of cases."""
    grey = _chance(0.4, rng)
    if _chance(0.5, rng):
        return pixel_ops.add_gaussian_noise(rgb, _up_to(1, max_sigma, severity, rng), rng, grey)
    return pixel_ops.add_shot_noise(rgb, _up_to(0.02, max_variance, severity, rng), rng, grey)


def _random_resize(rgb: RGB, side_px: int, rng: Generator) -> RGB:
    return pixel_ops.resize_with(rgb, max(24, side_px), _FILTERS[rng.integers(len(_FILTERS))])


def second_order(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Blur, resize, add noise and compress, twice; then ring or not, and back to size."""
    side = rgb.shape[0]
    image = pixel_ops.convolve(rgb, _random_kernel(3.0, severity, rng))
    scale = 1 / between(1, 6.6, _up_to(0, 1, severity, rng))  # Real-ESRGAN: down to 0.15
    image = _random_resize(image, round(side * scale), rng)
    image = _random_noise(image, 30, 4.0, severity, rng)
    image = pixel_ops.recompress(image, "JPEG", round(_up_to(95, 30, severity, rng)))
    if _chance(0.8, rng):
        image = pixel_ops.convolve(image, _random_kernel(1.5, severity, rng))
    image = _random_resize(image, round(image.shape[0] * rng.uniform(0.5, 1.2)), rng)
    image = _random_noise(image, 25, 3.0, severity, rng)
    if _chance(0.5, rng):
        image = _random_resize(image, side, rng)
        return pixel_ops.recompress(image, "JPEG", round(_up_to(95, 30, severity, rng)))
    image = pixel_ops.recompress(image, "JPEG", round(_up_to(95, 30, severity, rng)))
    return _random_resize(image, side, rng)


def _light_the_scene(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Change exposure, colour and evenness of the light, each now and then."""
    if _chance(0.5, rng):
        stops = _up_to(0, 3, severity, rng) * (1 if _chance(0.3, rng) else -1)
        rgb = pixel_ops.scale_light(rgb, np.full(3, 2.0**stops))
    if _chance(0.3, rng):
        tint = rng.uniform(-1, 1, 3)
        rgb = pixel_ops.scale_light(rgb, np.exp(0.7 * severity * (tint - tint.mean())))
    if _chance(0.3, rng):
        slope = pixel_ops.gradient(rgb.shape[0], rng.uniform(0, 2 * np.pi))
        rgb = pixel_ops.scale_linear_light(rgb, np.exp(_up_to(0.2, 1.5, severity, rng) * slope))
    if _chance(0.15, rng):
        rgb = haze(rgb, _up_to(0, 0.8, severity, rng), rng)
    return rgb


def _look_through_lens(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Defocus or shake, in half of the photos."""
    if _chance(0.5, rng):
        return rgb
    if _chance(0.5, rng):
        return pixel_ops.convolve(rgb, pixel_ops.disk_kernel(_up_to(0.7, 9, severity, rng)))
    streak_px = _up_to(1.5, 30, severity, rng)
    return pixel_ops.convolve(rgb, pixel_ops.motion_kernel(streak_px, rng.uniform(0, np.pi)))


def _process_in_phone(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Smooth the noise away and sharpen what is left, as phones do."""
    if _chance(0.5, rng):
        sigma = _up_to(0.4, 1.8, severity, rng)
        rgb = pixel_ops.convolve(rgb, pixel_ops.gaussian_kernel(sigma, sigma, 0))
    if _chance(0.25, rng):
        radius = int(rng.integers(2, 8))
        rgb = pixel_ops.smooth_inside_edges(rgb, radius, _up_to(0.0005, 0.02, severity, rng))
    if _chance(0.5, rng):
        rgb = pixel_ops.sharpen(rgb, _up_to(0.2, 2.5, severity, rng), rng.uniform(0.7, 1.5))
    return rgb


def capture(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Photograph the face badly, at its own small size, and upload it."""
    side = rgb.shape[0]
    image = _look_through_lens(_light_the_scene(rgb, severity, rng), severity, rng)
    native_px = round(side / between(1, 6.7, _up_to(0, 1, severity, rng)))  # 96 px at the least
    image = pixel_ops.resize_to_side(image, native_px)
    if _chance(0.7, rng):
        image = pixel_ops.add_iso_noise(image, _up_to(0.5, 18, severity, rng), rng)
    image = _process_in_phone(image, severity, rng)
    image = pixel_ops.recompress(image, "JPEG", round(_up_to(96, 35, severity, rng)))
    if _chance(0.5, rng):
        image = _random_resize(image, round(native_px * rng.uniform(0.5, 1)), rng)
        codec = "WEBP" if _chance(0.3, rng) else "JPEG"
        image = pixel_ops.recompress(image, codec, round(_up_to(90, 30, severity, rng)))
    return _random_resize(image, side, rng)


def chained_kinds(rng: Generator) -> list[str]:
    """Draw the two or three single kinds of a chain: the first that `chained` draws."""
    return [str(k) for k in rng.choice(list(SINGLE), size=int(rng.integers(2, 4)), replace=False)]


def chained(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Apply two or three of the single kinds, one after the other."""
    for kind in chained_kinds(rng):
        rgb = SINGLE[kind](rgb, _up_to(0.05, 0.85, severity, rng), rng)
    return rgb


def _bend_tones(rgb: RGB, strength: float, rng: Generator) -> RGB:
    """Raise the values to a power: mid tones sink or rise, black and white stay."""
    power = between(1.12, 4, strength) ** rng.choice([-1, 1])
    return pixel_ops.map_tones(rgb, pixel_ops.TONES**power)


def _harden_contrast(rgb: RGB, strength: float, rng: Generator) -> RGB:
    """Apply an S-curve about a grey: shadows close, lights burn out."""
    curve = 1 / (
        1 + np.exp(between(2.5, 14, strength) * (rng.uniform(0.35, 0.65) - pixel_ops.TONES))
    )
    return pixel_ops.map_tones(rgb, (curve - curve[0]) / (curve[-1] - curve[0]))


def _fade_to_tint(rgb: RGB, strength: float, rng: Generator) -> RGB:
    """Blend with a duotone of the photo, dark to pale in two colours."""
    dark, pale = rng.uniform(0, 0.3, 3), rng.uniform(0.55, 1, 3)
    luma = pixel_ops.to_gray(rgb) / 255
    share = between(0.12, 0.95, strength)
    return pixel_ops.round_to_rgb((1 - share) * rgb + 255 * share * (dark + (pale - dark) * luma))


def _darken_corners(rgb: RGB, strength: float, rng: Generator) -> RGB:
    """Let the light fall off from about the middle, as cos^4 does behind a lens."""
    slopes = [pixel_ops.gradient(rgb.shape[0], a) + rng.uniform(-0.2, 0.2) for a in (0, np.pi / 2)]
    squared_radius = slopes[0] ** 2 + slopes[1] ** 2
    return pixel_ops.scale_linear_light(
        rgb, (1 + between(0.08, 1.2, strength) * squared_radius) ** -2
    )


_FILTER_STEPS = (_bend_tones, _harden_contrast, _fade_to_tint, _darken_corners)


def photo_filter(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Edit as photo apps do, too much: one to three of tone curve, contrast, tint, dark corners."""
    count = rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15])
    for step in rng.choice(len(_FILTER_STEPS), size=int(count), replace=False):
        rgb = _FILTER_STEPS[step](rgb, severity * rng.uniform(0.6, 1), rng)
    return rgb


SMALLEST_PX = 64  # side below which nobody takes a photo for one


def small(rgb: RGB, severity: float, rng: Generator) -> RGB:
    """Reduce to 0.85 .. 0.13 of the side and stay there; half of them compressed, too."""
    side_px = round(rgb.shape[0] * between(0.85, 0.13, severity))
    reduced = pixel_ops.resize_to_side(rgb, max(SMALLEST_PX, side_px))
    if _chance(0.5, rng):
        return reduced
    return pixel_ops.recompress(reduced, "JPEG", int(rng.integers(60, 95)))


MIXED: dict[str, Degradation] = {
    "second_order": second_order,
    "chained": chained,
    "capture": capture,
    "photo_filter": photo_filter,
    "small": small,
}  # new ones to the end: what is drawn for the earlier ones stays
