"""What older, hand-made measures say of the same pixels: sharpness alone, and BRISQUE.

In:   paths of photos.
Out:  a value for each, (N,), higher is better; of the 640 px square that models see.

BRISQUE (Mittal et al., IEEE TIP 2012) is the package `brisque` with its own weights. It needs a C
compiler and reads a pickle, so that nothing here depends on it:
`pip install --no-deps brisque libsvm-official`.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from benchmarks.studies.factors import laplacian_variance
from PIL import Image

from mspt.arrays import RGB
from mspt.evaluation.metrics import Vector
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.image.preprocess import resize_rgb
from mspt.parallel import map_in_order, usable_cores

SHARPNESS, BRISQUE = "variance of Laplacian", "BRISQUE"
_SIDE_PX = 640


def sharpness_of(paths: Sequence[Path]) -> Vector:
    """Return the variance of the Laplacian on the luma, (N,)."""

    def measure(frame: RGB) -> float:
        luma = np.asarray(Image.fromarray(frame).convert("L"), dtype=np.float32)
        return laplacian_variance(luma)

    return _of_frames(paths, measure)


def has_brisque() -> bool:
    """Tell whether the package is installed."""
    return find_spec("brisque") is not None


def brisque_of(paths: Sequence[Path]) -> Vector:
    """Return BRISQUE's scores, (N,), their sign turned: it calls lower better."""
    import brisque

    class Numbers(brisque.BRISQUE):
        """Some features come as arrays of one number, which numpy 2 does not take for numbers."""

        def scale_features(self, features: Sequence[object]) -> object:
            return super().scale_features([np.ravel(feature)[0] for feature in features])

    measure = Numbers(url=False)
    return _of_frames(paths, lambda frame: -float(measure.score(frame)))


def _of_frames(paths: Sequence[Path], measure: Callable[[RGB], float]) -> Vector:
    def look(path: Path) -> float:
        return measure(resize_rgb(crop_centre_square(read_rgb(path)), _SIDE_PX, _SIDE_PX))

    return np.array(list(map_in_order(look, paths, workers=usable_cores())))
