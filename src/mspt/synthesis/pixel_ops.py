"""Pixel operations that the degradations are made of: kernels, noise, codecs, light.

In/out: `rgb`, uint8, (height, width, 3); kernels are float64 and sum to 1.
Everything is computed in float64 and rounded once, so that the last bits in which processors
differ do not reach the pixels, and every random number comes from the generator handed in.
"""

import io

import numpy as np
import numpy.typing as npt
from numpy.random import Generator
from PIL import Image

from mspt.arrays import RGB
from mspt.image.preprocess import resize_rgb

Float = npt.NDArray[np.float64]

# Keeps exact ties (n + 0.5), which symmetric kernels produce, away from the rounding edge.
_TIE_BREAK = 1e-6


def round_to_rgb(values: Float) -> RGB:
    """Round grey values (any shape, nominally 0..255) to uint8, clipping."""
    rounded: RGB = np.clip(np.floor(values + 0.5 + _TIE_BREAK), 0, 255).astype(np.uint8)
    return rounded


def convolve(rgb: RGB, kernel: Float) -> RGB:
    """Filter each channel with an odd-sided kernel; borders are mirrored."""
    return round_to_rgb(convolve_float(rgb.astype(np.float64), kernel))


def convolve_float(values: Float, kernel: Float) -> Float:
    """Filter (height, width, channels) with an odd-sided kernel by FFT; borders are mirrored."""
    height, width = values.shape[:2]
    radius = kernel.shape[0] // 2
    padded = np.pad(values, ((radius, radius), (radius, radius), (0, 0)), mode="symmetric")
    shape = (_fast_length(padded.shape[0]), _fast_length(padded.shape[1]))
    spectrum = np.fft.rfft2(padded, s=shape, axes=(0, 1))
    spectrum *= np.fft.rfft2(kernel, s=shape)[:, :, None]
    full = np.fft.irfft2(spectrum, s=shape, axes=(0, 1))
    return full[2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]


def _fast_length(length: int) -> int:
    """Return the next multiple of 32: its small prime factors keep the FFT quick."""
    return -(-length // 32) * 32


def _grid(radius: int) -> tuple[Float, Float]:
    axis = np.arange(-radius, radius + 1, dtype=np.float64)
    return axis[None, :], axis[:, None]


def _rotated_squared_radius(sigma_x: float, sigma_y: float, angle_rad: float) -> Float:
    """Return (u / sigma_x)^2 + (v / sigma_y)^2 on a grid turned by the angle."""
    x, y = _grid(max(1, int(np.ceil(3 * max(sigma_x, sigma_y)))))
    u = x * np.cos(angle_rad) + y * np.sin(angle_rad)
    v = y * np.cos(angle_rad) - x * np.sin(angle_rad)
    squared: Float = (u / sigma_x) ** 2 + (v / sigma_y) ** 2
    return squared


def _normalised(kernel: Float) -> Float:
    unit_sum: Float = kernel / kernel.sum()
    return unit_sum


def gaussian_kernel(sigma_x: float, sigma_y: float, angle_rad: float, beta: float = 1.0) -> Float:
    """Return a (generalised, for beta != 1) Gaussian; sigmas in px."""
    kernel = np.exp(-0.5 * _rotated_squared_radius(sigma_x, sigma_y, angle_rad) ** beta)
    return _normalised(kernel)


def plateau_kernel(sigma_x: float, sigma_y: float, angle_rad: float, beta: float) -> Float:
    """Return Real-ESRGAN's flat-topped kernel 1 / (1 + r^(2 beta))."""
    kernel = 1 / (1 + _rotated_squared_radius(sigma_x, sigma_y, angle_rad) ** beta)
    return _normalised(kernel)


def disk_kernel(radius_px: float) -> Float:
    """Return the disk of a lens out of focus, its edge antialiased over one px."""
    x, y = _grid(int(np.ceil(radius_px)) + 1)
    kernel = np.clip(radius_px + 0.5 - np.sqrt(x**2 + y**2), 0, 1)
    return _normalised(kernel)


def motion_kernel(length_px: float, angle_rad: float) -> Float:
    """Return a straight, one px wide streak of the given length."""
    x, y = _grid(int(np.ceil(length_px / 2)) + 1)
    along = np.abs(x * np.cos(angle_rad) + y * np.sin(angle_rad))
    across = np.abs(y * np.cos(angle_rad) - x * np.sin(angle_rad))
    kernel = np.clip(length_px / 2 + 0.5 - along, 0, 1) * np.clip(1 - across, 0, 1)
    return _normalised(kernel)


def path_kernel(x_px: Float, y_px: Float) -> Float:
    """Return the streak of a path, such as a hand draws; its points are spread over 2 px each.

    Args:
        x_px: (N,), across.
        y_px: (N,), down.
    """
    x, y = x_px - x_px.mean(), y_px - y_px.mean()
    radius = int(np.ceil(max(np.abs(x).max(), np.abs(y).max()))) + 1
    axis = np.arange(-radius, radius + 1)
    across = np.clip(1 - np.abs(axis[None, :] - x[:, None]), 0, 1)
    down = np.clip(1 - np.abs(axis[None, :] - y[:, None]), 0, 1)
    return _normalised(down.T @ across)


def sinc_kernel(cutoff_rad: float, radius: int) -> Float:
    """Return the circular low-pass whose ringing imitates codecs and over-sharpening.

    Source: Real-ESRGAN (arXiv:2107.10833), eq. 6. J1 by its integral, exact to 1e-12 here.
    """
    x, y = _grid(radius)
    r = np.sqrt(x**2 + y**2)
    tau = (np.arange(128) + 0.5) * np.pi / 128
    bessel_j1 = np.cos(tau - (cutoff_rad * r)[..., None] * np.sin(tau)).mean(axis=-1)
    kernel = cutoff_rad * bessel_j1 / (2 * np.pi * np.where(r == 0, 1, r))
    kernel[radius, radius] = cutoff_rad**2 / (4 * np.pi)
    return _normalised(kernel)


def sharpen(rgb: RGB, amount: float, sigma_px: float) -> RGB:
    """Add `amount` times the difference from a Gaussian blur (unsharp mask)."""
    values = rgb.astype(np.float64)
    blurred = convolve_float(values, gaussian_kernel(sigma_px, sigma_px, 0))
    return round_to_rgb(values + amount * (values - blurred))


def add_gaussian_noise(rgb: RGB, sigma: float, rng: Generator, grey: bool) -> RGB:
    """Add white noise of `sigma` grey values, one field for all channels if `grey`."""
    height, width, channels = rgb.shape
    field = rng.standard_normal((height, width, 1 if grey else channels))
    return round_to_rgb(rgb + sigma * field)


def add_shot_noise(rgb: RGB, variance_per_level: float, rng: Generator, grey: bool) -> RGB:
    """Add noise whose variance grows with the signal (the Gaussian limit of Poisson noise)."""
    height, width, channels = rgb.shape
    field = rng.standard_normal((height, width, 1 if grey else channels))
    return round_to_rgb(rgb + np.sqrt(variance_per_level * rgb.astype(np.float64)) * field)


def add_iso_noise(rgb: RGB, strength: float, rng: Generator) -> RGB:
    """Add a small sensor's noise: stronger in shadows, grained luma, blotched chroma.

    Args:
        rgb: (height, width, 3).
        strength: luma standard deviation in grey values at mid grey.
        rng: source of the fields.
    """
    height, width = rgb.shape[:2]
    grain = convolve_float(rng.standard_normal((height, width, 1)), gaussian_kernel(0.7, 0.7, 0))
    blotches = convolve_float(rng.standard_normal((height, width, 3)), gaussian_kernel(2, 2, 0))
    field = grain / grain.std() + 0.7 * blotches / blotches.std()
    luma = rgb.mean(axis=2, keepdims=True) / 255
    return round_to_rgb(rgb + strength * (1.4 - 0.8 * luma) * field)


def box_mean(values: Float, radius: int) -> Float:
    """Return the mean over (2 radius + 1) x (2 radius + 1) px; borders are mirrored."""
    size = 2 * radius + 1
    for axis in (0, 1):
        widths = [(radius + 1, radius) if a == axis else (0, 0) for a in range(values.ndim)]
        sums = np.moveaxis(np.cumsum(np.pad(values, widths, mode="symmetric"), axis=axis), axis, 0)
        values = np.moveaxis((sums[size:] - sums[:-size]) / size, 0, axis)
    return values


def smooth_inside_edges(rgb: RGB, radius: int, strength: float) -> RGB:
    """Smooth texture and keep edges: He et al.'s guided filter, guided by the luma.

    Args:
        rgb: (height, width, 3).
        radius: of the window, px.
        strength: epsilon: contrasts of a variance below it (grey values 0..1) are smoothed away.
    """
    values = rgb.astype(np.float64) / 255
    guide = values.mean(axis=2, keepdims=True)
    mean_guide, mean = box_mean(guide, radius), box_mean(values, radius)
    variance = box_mean(guide**2, radius) - mean_guide**2
    slope = (box_mean(guide * values, radius) - mean_guide * mean) / (variance + strength)
    offset = mean - slope * mean_guide
    return round_to_rgb(255 * (box_mean(slope, radius) * guide + box_mean(offset, radius)))


TONES: Float = np.arange(256) / 255  # every grey value, in 0..1


def map_tones(rgb: RGB, curve: Float) -> RGB:
    """Replace every value by that of a tone curve, (256,), 0..1, the same for all channels."""
    return round_to_rgb(255 * curve)[rgb]


def to_gray(rgb: RGB) -> RGB:
    """Take the colour away (ITU-R 601 luma in all three channels)."""
    return np.asarray(Image.fromarray(rgb).convert("L").convert("RGB"))


def gradient(side_px: int, angle_rad: float) -> Float:
    """Return a slope, (side, side, 1), about -1..1, that rises along the angle."""
    axis = np.linspace(-1, 1, side_px)
    slope: Float = axis[None, :] * np.cos(angle_rad) + axis[:, None] * np.sin(angle_rad)
    return slope[..., None]


def oval(side_px: int, x: float, y: float, radius: float) -> Float:
    """Return a mask, (side, side, 1): 1 in the middle of an upright oval, 0 at twice its size.

    Args:
        side_px: of the image.
        x: of the middle, -1 (left) to 1.
        y: of the middle, -1 (top) to 1.
        radius: half the oval's width, as a share of half the side.
    """
    axis = np.linspace(-1, 1, side_px)
    distance = np.hypot((axis[None, :] - x) / radius, (axis[:, None] - y) / (1.3 * radius))
    mask: Float = np.clip(1.4 - 0.7 * distance, 0, 1)
    return mask[..., None]


def recompress(rgb: RGB, codec: str, quality: int, **options: int) -> RGB:
    """Encode as JPEG (4:2:0), WebP or AVIF at `quality` 0..100 and decode again."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, codec, quality=quality, **options)
    with Image.open(buffer) as image:
        return np.asarray(image.convert("RGB"))


def resize_with(rgb: RGB, side_px: int, resample: Image.Resampling) -> RGB:
    """Resize a square image with one of Pillow's filters: what other software does."""
    return np.asarray(Image.fromarray(rgb).resize((side_px, side_px), resample))


def resize_to_side(rgb: RGB, side_px: int) -> RGB:
    """Resize a square image with the project's own filter."""
    return resize_rgb(rgb, side_px, side_px)


def srgb_to_linear(values: Float) -> Float:
    """Turn sRGB 0..1 into linear light 0..1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: Float) -> Float:
    """Turn linear light 0..1 into sRGB 0..1 (IEC 61966-2-1)."""
    clipped = np.clip(values, 0, 1)
    return np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)


def scale_linear_light(rgb: RGB, gains: Float) -> RGB:
    """Multiply linear light by gains that may differ from pixel to pixel, (height, width, 1|3)."""
    light = srgb_to_linear(rgb / 255.0) * gains
    return round_to_rgb(255 * linear_to_srgb(light))


def scale_light(rgb: RGB, gains: Float) -> RGB:
    """Multiply linear light by one gain per channel, (3,), clipping as a sensor does."""
    levels = srgb_to_linear(TONES)
    tables = round_to_rgb(255 * linear_to_srgb(levels[:, None] * gains))
    return np.stack([tables[:, c][rgb[..., c]] for c in range(3)], axis=-1)
