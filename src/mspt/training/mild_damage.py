"""Mild damage done to a view while training: it must lower the score, if only a little.

In:   a square frame, uint8, and a random stream.
Out:  the frame with fine grain or sharpened too much, and the share of its score that this takes
      at least.

Labels alone do not teach this: grain that eyes just see moves a label by less than a training step
can follow, and a network that learnt detail takes grain for detail.
"""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from mspt.arrays import RGB

_SHARPENED = 0.3  # of the damaged views; the others get grain
_GREY = 0.3  # of the grain: one field for all channels
_LEAST_SD, _MOST_SD = 1.5, 12.0  # grey values; drawn evenly over their logarithm
_LOST_BY_SHARPENING = 0.03


def add_mild_damage(rgb: RGB, rng: Generator) -> tuple[RGB, float]:
    """Return the frame, (S, S, 3), damaged, and the share of its score that is lost at least."""
    if rng.random() < _SHARPENED:
        return _sharpen(rgb, rng.uniform(1, 2.5), rng.uniform(0.8, 2)), _LOST_BY_SHARPENING
    sd = float(np.exp(rng.uniform(np.log(_LEAST_SD), np.log(_MOST_SD))))
    channels = 1 if rng.random() < _GREY else 3
    grain = rng.standard_normal((*rgb.shape[:2], channels), dtype=np.float32)
    noisy: RGB = np.clip(np.rint(rgb + np.float32(sd) * grain), 0, 255).astype(np.uint8)
    return noisy, share_lost_by_grain(sd)


def share_lost_by_grain(sd: float) -> float:
    """Return the share of its score that grain of `sd` grey values takes from a photo at least.

    A power law, chosen: .014 for 2, .041 for 4, .125 for 8. Real photos score .6 on average and
    ought to lose .004, .02 and .08 (docs/log/2026-11-27-grain.md).
    """
    return float(0.0045 * sd**1.6)


def _sharpen(rgb: RGB, amount: float, sigma_px: float) -> RGB:
    percent = round(100 * amount)
    mask = ImageFilter.UnsharpMask(radius=sigma_px, percent=percent, threshold=0)
    return np.asarray(Image.fromarray(rgb).filter(mask))
