"""Mild damage done to a view while training: it must lower the score, if only a little.

In:   a square frame, uint8, and a random stream.
Out:  the frame with fine grain, sharpened too much or made of fewer pixels, and the share of its
      score that this takes at least.

Labels alone do not teach this: grain that eyes just see moves a label by less than a training step
can follow, and a network that learnt detail takes grain for detail. Amounts are those of a photo of
640 px; a smaller frame shows them as reducing that photo would (down to half: of less, nothing
would be seen).
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from mspt.arrays import RGB
from mspt.image.preprocess import resize_rgb

Damage = Callable[[RGB, Generator], tuple[RGB, float]]

_PHOTO_PX = 640  # of the photo whose damage is drawn
_GREY = 0.3  # of the grain: one field for all channels
_LEAST_SD, _MOST_SD = 1.5, 12.0  # grey values; drawn evenly over their logarithm
_LOST_BY_SHARPENING = 0.1  # of its score, by a photo that this changes much
_MUCH = 6.0  # grey values on average
_FEWEST_PX, _MOST_PX = 160, 400  # drawn evenly over their logarithm
_CRISP = 1.0  # grey values: what half the pixels take from a crisp photo's on average


def add_mild_damage(rgb: RGB, rng: Generator) -> tuple[RGB, float]:
    """Return the frame, (S, S, 3), damaged, and the share of its score that is lost at least."""
    kinds: list[Damage] = [_add_grain, _sharpen, _reduce]
    return kinds[rng.choice(len(kinds), p=[0.3, 0.4, 0.3])](rgb, rng)


def share_lost_by_grain(sd: float) -> float:
    """Return the share of its score that grain of `sd` grey values takes from a photo at least.

    A power law, chosen: .014 for 2, .041 for 4, .125 for 8. Real photos score .6 on average and
    ought to lose .004, .02 and .08 (docs/log/2026-11-27-grain.md).
    """
    return float(0.0045 * sd**1.6)


def share_lost_by_reducing(side_px: float) -> float:
    """Return the share that having `side_px` instead of 640 px takes from a crisp photo at least.

    A power law near what labels say of such photos: .10 for 320 px, .19 for 240, .35 for 177
    (docs/log/2026-11-28-sharpening.md).
    """
    return float(0.1 * max(0.0, _PHOTO_PX / side_px - 1) ** 1.3)


def take_pixels(rgb: RGB, side_px: int) -> tuple[RGB, float]:
    """Return a frame with the detail of a photo of `side_px`; a soft frame has less to lose."""
    side = len(rgb)
    reduced = resize_rgb(resize_rgb(rgb, side_px, side_px), side, side)
    return reduced, share_lost_by_reducing(side_px) * min(1.0, _change(rgb, reduced) / _CRISP)


def _add_grain(rgb: RGB, rng: Generator) -> tuple[RGB, float]:
    sd = _between(_LEAST_SD, _MOST_SD, rng)
    channels = 1 if rng.random() < _GREY else 3
    grain = rng.standard_normal((*rgb.shape[:2], channels), dtype=np.float32)
    shown = np.float32(sd * _shown(rgb))
    noisy: RGB = np.clip(np.rint(rgb + shown * grain), 0, 255).astype(np.uint8)
    return noisy, share_lost_by_grain(sd)


def _sharpen(rgb: RGB, rng: Generator) -> tuple[RGB, float]:
    radius = rng.uniform(0.8, 2) * _shown(rgb)
    mask = ImageFilter.UnsharpMask(radius=radius, percent=round(rng.uniform(100, 250)), threshold=0)
    sharpened = np.asarray(Image.fromarray(rgb).filter(mask))
    return sharpened, _LOST_BY_SHARPENING * min(1.0, _change(rgb, sharpened) / _MUCH)


def _reduce(rgb: RGB, rng: Generator) -> tuple[RGB, float]:
    return take_pixels(rgb, min(round(_between(_FEWEST_PX, _MOST_PX, rng)), len(rgb)))


def _change(before: RGB, after: RGB) -> float:
    """Return the mean absolute difference, grey values."""
    return float(np.abs(before.astype(np.int16) - after).mean())


def _shown(rgb: RGB) -> float:
    return float(np.clip(len(rgb) / _PHOTO_PX, 0.5, 1))


def _between(least: float, most: float, rng: Generator) -> float:
    return float(np.exp(rng.uniform(np.log(least), np.log(most))))
