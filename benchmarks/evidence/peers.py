"""What older, hand-made measures say of the same pixels: sharpness alone, BRISQUE, and NIQE.

In:   paths of photos.
Out:  a value for each, (N,), higher is better; of the 640 px square that models see.

BRISQUE (Mittal et al., IEEE TIP 2012) is the package `brisque` with its own weights, NIQE (Mittal
et al., IEEE SPL 2013) that of `scikit-video` with its own parameters. The first needs a C compiler
and reads a pickle, the second was written for an older NumPy, so that nothing here depends on them:
`pip install --no-deps brisque libsvm-official scikit-video`.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import numpy as np
from benchmarks.studies.factors import laplacian_variance
from numpy.typing import NDArray
from PIL import Image

from mspt.arrays import RGB
from mspt.evaluation.metrics import Vector
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.image.preprocess import resize_rgb
from mspt.parallel import map_in_order, usable_cores

SHARPNESS = "variance of Laplacian"
_SIDE_PX = 640


def installed_peers() -> dict[str, Callable[[Sequence[Path]], Vector]]:
    """Return what BRISQUE and NIQE say of photos, by name, as far as packages are installed."""
    known = {"BRISQUE": ("brisque", brisque_of), "NIQE": ("skvideo", niqe_of)}
    return {name: of for name, (package, of) in known.items() if find_spec(package)}


def sharpness_of(paths: Sequence[Path]) -> Vector:
    """Return the variance of the Laplacian on the luma, (N,)."""
    return _of_frames(paths, lambda frame: laplacian_variance(_luma(frame).astype(np.float32)))


def brisque_of(paths: Sequence[Path]) -> Vector:
    """Return BRISQUE's scores, (N,), their sign turned: it calls lower better."""
    import brisque

    class Numbers(brisque.BRISQUE):
        """Some features come as arrays of one number, which numpy 2 does not take for numbers."""

        def scale_features(self, features: Sequence[object]) -> object:
            return super().scale_features([np.ravel(feature)[0] for feature in features])

    measure = Numbers(url=False)
    return _of_frames(paths, lambda frame: -float(measure.score(frame)))


def niqe_of(paths: Sequence[Path]) -> Vector:
    """Return the distances of NIQE from natural images, (N,), their sign turned."""
    import scipy.misc  # which SciPy is to lose

    with (
        patch.object(np, "int", int, create=True),
        patch.object(scipy.misc, "imresize", _resize_as_scipy_did, create=True),
    ):
        from skvideo.measure import niqe

        return _of_frames(paths, lambda frame: -float(niqe(_luma(frame))[0]))


def _resize_as_scipy_did(image: NDArray[np.float32], share: float, **_: str) -> object:
    """Return an image of another size, bicubic, in 32 bits, by Pillow as SciPy up to 1.2 did."""
    height, width = (int(side * share) for side in image.shape)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def _luma(frame: RGB) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(frame).convert("L"))


def _of_frames(paths: Sequence[Path], measure: Callable[[RGB], float]) -> Vector:
    def look(path: Path) -> float:
        return measure(resize_rgb(crop_centre_square(read_rgb(path)), _SIDE_PX, _SIDE_PX))

    return np.array(list(map_in_order(look, paths, workers=usable_cores())))
