"""An outside set: faces damaged by code and parameters that training never sees.

    python -m benchmarks.evidence.outside_set FACES.csv OUT_DIR --where split=val \
        --where set=pristine

Pillow, scikit-image, AVIF and H.264 do the damage here, never src/mspt/synthesis/pixel_ops.py; the
`mos` is made the same way, by the sight of the kind that looks most like it (ALIKE). A model that
has only learnt the fingerprints of its training's generator falls behind on it. Never train on
this set.

In:   a CSV of photos as for `mspt synthesize`.
Out:  OUT_DIR/images/*.png, contact-sheet.jpg and manifest.csv; its sources are `pristine`,
      `filters` (damage of which training has a counterpart, `photo_filter`) and `foreign`.
"""

import argparse
import io
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from mspt.cli.options import read_conditions
from mspt.errors import ImageError
from mspt.evaluation.manifest import Entry, write_manifest
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.parallel import usable_cores
from mspt.synthesis.contact_sheet import write_contact_sheet
from mspt.synthesis.mos import stored_calibration
from mspt.synthesis.reference_metrics import check_installed, measure_distances, prepare_worker
from mspt.synthesis.synthesize import Photo, read_photos

FRAME_PX = 640
MIN_SIDE_PX = 600
SINGLE, DOUBLE = 8, 3  # images per photo with one kind of damage, and with two

Damage = Callable[[Image.Image, float, Generator], Image.Image]  # strength 0..1


def grow(low: float, high: float, strength: float) -> float:
    """Return the value between low and high, in equal ratios."""
    return float(low * (high / low) ** strength)


def box_blur(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """Pillow's box blur."""
    return image.filter(ImageFilter.BoxBlur(grow(0.7, 14, strength)))


def median(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """Pillow's median filter, as a cheap retouching does."""
    return image.filter(ImageFilter.MedianFilter(1 + 2 * round(grow(1, 7, strength))))


def tv_smooth(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """Total-variation denoising of a clean face: a beauty filter."""
    from skimage.restoration import denoise_tv_chambolle

    weight = grow(0.03, 0.5, strength)
    return from_float(denoise_tv_chambolle(np.asarray(image) / 255, weight, channel_axis=2))


def zoom_blur(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """Mean of copies, smaller and larger: the photographer moved. Centred, as a label needs it."""
    side = image.width
    margin = side // 8
    pad = ((margin, margin), (margin, margin), (0, 0))
    padded = Image.fromarray(np.pad(np.asarray(image), pad, mode="symmetric"))
    reach = grow(0.006, 0.12, strength) / 2
    total = np.zeros((side, side, 3))
    scales = np.linspace(1 - reach, 1 + reach, 12)
    for scale in scales:
        near = margin + side * (1 - 1 / scale) / 2
        far = padded.width - near
        box = (near, near, far, far)
        total += np.asarray(padded.resize((side, side), Image.Resampling.BILINEAR, box))
    return from_float(total / len(scales) / 255)


def speckle(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """Multiplicative noise."""
    return noisy(image, rng, mode="speckle", var=grow(0.002, 0.3, strength))


def salt_and_pepper(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """Dead and hot pixels."""
    return noisy(image, rng, mode="s&p", amount=grow(0.0005, 0.12, strength))


def noisy(image: Image.Image, rng: Generator, **options: object) -> Image.Image:
    """Apply scikit-image's random_noise."""
    from skimage.util import random_noise

    return from_float(random_noise(np.asarray(image) / 255, rng=rng, **options))


def progressive_jpeg(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """Pillow's JPEG without chroma subsampling, progressive."""
    quality = round(grow(55, 3, strength))
    return recoded(image, "JPEG", quality=quality, subsampling=0, progressive=True)


def avif(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """AV1's still images."""
    return recoded(image, "AVIF", quality=round(grow(50, 2, strength)), speed=9)


def fast_webp(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """WebP by its fastest method."""
    return recoded(image, "WEBP", quality=round(grow(40, 1, strength)), method=0)


def recoded(image: Image.Image, form: str, **options: object) -> Image.Image:
    """Encode and decode by Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return Image.open(buffer).convert("RGB")


def h264_frame(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """The last of four H.264 frames of a shaking still."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=25)
        stream.width = stream.height = image.width
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(round(24 + 27 * strength)), "preset": "veryfast"}
        for shift in (2, 0, 1, 0):
            moved = np.roll(np.asarray(image), shift, axis=1)
            video.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        video.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as video:
        *_, last = video.decode(video=0)
    return Image.fromarray(last.to_ndarray(format="rgb24"))


def pixelate(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """Shrink by box means, enlarge by nearest or bilinear."""
    small = round(image.width / grow(1.4, 10, strength))
    back = Image.Resampling.NEAREST if rng.random() < 0.5 else Image.Resampling.BILINEAR
    shrunk = image.resize((small, small), Image.Resampling.BOX)
    return shrunk.resize(image.size, back)


def gamma(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """scikit-image's gamma: a wrong tone curve, darker or paler."""
    from skimage.exposure import adjust_gamma

    value = grow(1.2, 4.5, strength) if rng.random() < 0.5 else grow(0.8, 0.2, strength)
    return from_float(adjust_gamma(np.asarray(image) / 255, value))


def vignette(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """A photo filter: dark corners."""
    axis = np.linspace(-1, 1, image.width)
    radius = np.hypot(*np.meshgrid(axis, axis)) / np.sqrt(2)
    light = 1 - np.clip(grow(0.15, 1.1, strength) * radius**2, 0, 0.97)
    return from_float(np.asarray(image) / 255 * light[..., None])


def tinted(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """A photo filter: blended with a sepia, or with one colour."""
    gray = ImageOps.grayscale(image)
    white = "#ffe8c0" if rng.random() < 0.5 else "#c0e0ff"
    return Image.blend(image, ImageOps.colorize(gray, "#101018", white), grow(0.15, 0.9, strength))


def posterized(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """Few bits per channel."""
    return ImageOps.posterize(image, 5 - round(3 * strength))


def unsharp(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """Pillow's unsharp mask, wide."""
    percent = round(grow(80, 600, strength))
    return image.filter(ImageFilter.UnsharpMask(rng.uniform(3, 8), percent, 0))


def harsh_contrast(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """Pillow's contrast, too much of it."""
    return ImageEnhance.Contrast(image).enhance(grow(1.25, 4, strength))


def haze(image: Image.Image, strength: float, rng: Generator) -> Image.Image:
    """A pale veil that thickens to one side."""
    slope = np.linspace(0.6, 1.4, image.width)[:, None, None]
    veil = np.clip(grow(0.12, 0.8, strength) * slope, 0, 0.95)
    return from_float(np.asarray(image) / 255 * (1 - veil) + 0.85 * veil)


FILTERS = ("gamma", "vignette", "tinted", "harsh_contrast")

# By whose sight (labels.py) a label says what eyes see of the damage: that of the kind of the
# synthesis which looks most like it.
ALIKE = {
    "box_blur": "gaussian_blur",
    "median": "skin_smoothing",
    "tv_smooth": "skin_smoothing",
    "zoom_blur": "motion_blur",
    "speckle": "shot_noise",
    "salt_and_pepper": "gaussian_noise",
    "progressive_jpeg": "jpeg",
    "avif": "webp",
    "fast_webp": "webp",
    "h264_frame": "jpeg",
    "pixelate": "low_resolution",
    "posterized": "banding",
    "unsharp": "oversharpening",
    "haze": "haze",
} | dict.fromkeys(FILTERS, "photo_filter")

KINDS: tuple[Damage, ...] = (
    box_blur, median, tv_smooth, zoom_blur, speckle, salt_and_pepper, progressive_jpeg, avif,
    fast_webp, h264_frame, pixelate, gamma, vignette, tinted, posterized, unsharp, harsh_contrast,
    haze,
)  # fmt: skip


def from_float(values: np.ndarray) -> Image.Image:
    """Return an image of values in 0..1."""
    return Image.fromarray(np.clip(values * 255 + 0.5, 0, 255).astype(np.uint8))


def make_photo(photo: Photo, out_dir: Path) -> list[Entry]:
    """Write all versions of a photo; return their entries."""
    try:
        rgb = crop_centre_square(read_rgb(photo.path))
    except ImageError as error:
        raise SystemExit(f"{photo.path}: {error}") from error
    if rgb.shape[0] < MIN_SIDE_PX:
        return []
    size = (FRAME_PX, FRAME_PX)
    reference = Image.fromarray(rgb).resize(size, Image.Resampling.BOX, reducing_gap=None)
    rng = np.random.default_rng([7, zlib.crc32(photo.name.encode())])
    entries = [save(photo, out_dir, 0, reference, 1.0, "", None)]
    order = rng.permutation(len(KINDS))
    jobs = [(order[i : i + 1], rng.random()) for i in range(SINGLE)]
    jobs += [(rng.permutation(len(KINDS))[:2], 0.7 * rng.random()) for _ in range(DOUBLE)]
    for number, (kinds, strength) in enumerate(jobs, 1):
        image = reference
        for kind in kinds:
            image = KINDS[kind](image, strength, rng)
        distances = measure_distances(np.asarray(reference), np.asarray(image))
        names = [KINDS[kind].__name__ for kind in kinds]
        mos = stored_calibration().mos(distances, *(ALIKE[name] for name in names))
        name = "+".join(names)
        entries.append(save(photo, out_dir, number, image, mos, name, round(strength, 3)))
    return entries


def source_of(degradation: str) -> str:
    """Tell whether training has seen the like of a damage, such as `gamma+haze`."""
    if not degradation:
        return "pristine"
    return "filters" if set(FILTERS) & set(degradation.split("+")) else "foreign"


def save(
    photo: Photo,
    out_dir: Path,
    number: int,
    image: Image.Image,
    mos: float,
    degradation: str,
    severity: float | None,
) -> Entry:
    """Write one image; return its entry."""
    path = out_dir / "images" / f"{photo.name}_{number:02d}.png"
    image.save(path, compress_level=1)
    return Entry(
        path=path,
        mos=mos,
        source=source_of(degradation),
        split="test",
        identity=photo.identity,
        degradation=degradation,
        severity=severity,
    )


def main() -> None:
    """Make the set of all photos that the conditions leave."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE")
    options = parser.parse_args()
    check_installed()
    photos = read_photos(options.photos, read_conditions(options.where))
    (options.out_dir / "images").mkdir(parents=True, exist_ok=True)
    spawn = get_context("spawn")
    with ProcessPoolExecutor(usable_cores(), spawn, initializer=prepare_worker) as pool:
        made = pool.map(make_photo, photos, [options.out_dir] * len(photos))
        entries = [entry for part in made for entry in part]
    write_manifest(options.out_dir / "manifest.csv", entries)
    write_contact_sheet(entries, options.out_dir / "contact-sheet.jpg")
    print(f"{len(entries)} images: {os.fspath(options.out_dir / 'manifest.csv')}")


if __name__ == "__main__":
    main()
