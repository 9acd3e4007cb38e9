"""What a faster way to decode or resize would gain, and how far it would move scores.

    python -m benchmarks.speed.decode_paths

Times each way on JPEGs of astronaut.png (1024 px and 12 megapixels, one core), and compares its
scores with the reference path's (Pillow decodes fully and resizes by its antialiased bicubic) on
photos with none, some and much grain. `half` is libjpeg's decoding at half size (DCT scaling),
where at least twice the network's input remains.
"""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import simplejpeg
from PIL import Image

import mspt
from mspt.arrays import RGB
from mspt.image.crop import crop_centre_square
from mspt.image.preprocess import resize_rgb

PHOTO = Path(__file__).parents[2] / "examples/astronaut.png"
SIZES = {"1024 px": (1024, 1024), "12 MP": (4000, 3000)}
SIDE = 640
ROUNDS = 9


def decode_pillow(data: bytes) -> RGB:
    """Decode by Pillow."""
    return np.asarray(Image.open(io.BytesIO(data)))


def decode_full(data: bytes) -> RGB:
    """Decode by libjpeg-turbo's own API: what mspt does."""
    return simplejpeg.decode_jpeg(data, "RGB")


def decode_half(data: bytes) -> RGB:
    """Decode at half size if twice the input remains."""
    return simplejpeg.decode_jpeg(data, "RGB", min_height=2 * SIDE, min_width=2 * SIDE)


def resize_pillow(square: RGB) -> RGB:
    """Resize by Pillow's antialiased bicubic: the definition."""
    return np.asarray(Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def resize_two_steps(square: RGB) -> RGB:
    """Resize by a box filter first, then bicubic."""
    image = Image.fromarray(square)
    wanted = (SIDE, SIDE)
    return np.asarray(image.resize(wanted, Image.Resampling.BICUBIC, reducing_gap=2.0))


def resize_ours(square: RGB) -> RGB:
    """Resize by fast_image_resize: what mspt does."""
    return resize_rgb(square, SIDE, SIDE)


DECODERS = {"Pillow": decode_pillow, "simplejpeg (ours)": decode_full, "half size": decode_half}
RESIZERS = {
    "Pillow": resize_pillow,
    "Pillow, reducing_gap 2": resize_two_steps,
    "fast_image_resize (ours)": resize_ours,
}


def make_jpeg(size_wh: tuple[int, int], grain: float) -> bytes:
    """Return a photo of a size with noise of that size, quality 85."""
    image = Image.open(PHOTO).convert("RGB").resize(size_wh, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, grain, (size_wh[1], size_wh[0], 3))
    rgb = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def milliseconds(function: Callable[[], object]) -> str:
    """Return the median time of a call."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - started))
    return f"{median(times):.1f}"


def main() -> None:
    """Print the table."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    score = mspt.load().score
    print("| photo | decode | resize | decode, ms | resize, ms | score moves, grain 0 | 15 | 40 |")
    print("|---|---|---|---|---|---|---|---|")
    pairs = [("Pillow", r) for r in RESIZERS] + [(d, "fast_image_resize (ours)") for d in DECODERS]
    for size, size_wh in SIZES.items():
        jpegs = [make_jpeg(size_wh, grain) for grain in (0, 15, 40)]
        expected = [score(resize_pillow(crop_centre_square(decode_pillow(j)))).score for j in jpegs]
        for decoder, resizer in dict.fromkeys(pairs):
            decode, resize = DECODERS[decoder], RESIZERS[resizer]
            square = np.ascontiguousarray(crop_centre_square(decode(jpegs[0])))
            times = (
                milliseconds(lambda d=decode, j=jpegs[0]: d(j)),
                milliseconds(lambda r=resize, s=square: r(s)),
            )
            found = [score(resize(crop_centre_square(decode(jpeg)))).score for jpeg in jpegs]
            moves = [f"{abs(a - b):.4f}" for a, b in zip(found, expected, strict=True)]
            print(f"| {' | '.join((size, decoder, resizer, *times, *moves))} |", flush=True)


if __name__ == "__main__":
    main()
