"""Full-reference metrics (piq): how far a degraded image lies from its pristine reference.

In:   two `rgb`, uint8, (height, width, 3), same shape.
Out:  `DISTANCES`, one number each, 0 for identical images, larger is worse.
Both images are first brought to FRAME_PX, because most of these metrics shrink their input by
round(side / 256): their values change with the frame.
Needs the extra `synth`.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from mspt.arrays import RGB
from mspt.compat import make_torchvision_importable
from mspt.errors import MissingExtraError
from mspt.parallel import keep_freed_memory
from mspt.synthesis.pixel_ops import resize_to_side

if TYPE_CHECKING:
    from torch import Tensor

FRAME_PX = 512  # side at which the metrics compare
SMALL_PX = 256  # side for the metrics that would be too fine-grained at FRAME_PX

# What `d` stands for, in the order in which the metrics are fused.
# Left out by measurement, absurd across kinds: PSNR, SSIM, MS-SSIM.
DISTANCES = ("vsi", "mdsi", "haarpsi", "srsim", "dss", "vif_256", "gmsd", "ms_gmsd_256")


@cache
def _piq() -> Any:  # noqa: ANN401 - piq ships no types
    """Import piq, which imports torchvision."""
    try:
        make_torchvision_importable()
        import piq
    except ImportError as error:
        raise MissingExtraError.of("synth", error) from error
    return piq


def check_installed() -> None:
    """Raise MissingExtraError now rather than in a worker, if piq cannot be had."""
    _piq()


def prepare_worker() -> None:
    """Keep torch to one thread, and its memory: for worker processes, which fill the cores."""
    import torch

    torch.set_num_threads(1)
    keep_freed_memory()


def _metric_functions() -> dict[str, tuple[int, Callable[["Tensor", "Tensor"], "Tensor"]]]:
    """Return, for each distance, the side it is computed at and its function."""
    piq = _piq()
    return {
        "vsi": (FRAME_PX, lambda x, y: 1 - piq.vsi(x, y)),
        "mdsi": (FRAME_PX, piq.mdsi),
        "haarpsi": (FRAME_PX, lambda x, y: 1 - piq.haarpsi(x, y)),
        "srsim": (FRAME_PX, lambda x, y: 1 - piq.srsim(x, y, chromatic=True)),
        "dss": (FRAME_PX, lambda x, y: 1 - piq.dss(x, y)),
        "vif_256": (SMALL_PX, lambda x, y: 1 - piq.vif_p(x, y)),
        "gmsd": (FRAME_PX, piq.gmsd),
        "ms_gmsd_256": (SMALL_PX, lambda x, y: piq.multi_scale_gmsd(x, y, chromatic=True)),
    }


def _to_tensor(rgb: RGB, side_px: int) -> "Tensor":
    """Return (1, 3, side, side) in 0..1."""
    import torch

    small = resize_to_side(rgb, side_px)
    return torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() / 255


def measure_distances(reference: RGB, degraded: RGB) -> dict[str, float]:
    """Return every distance of DISTANCES between two square images of the same shape.

    Raises:
        ValueError: if the shapes differ.
        MissingExtraError: without the extra `synth`.
    """
    if reference.shape != degraded.shape:
        raise ValueError(f"shapes differ: reference {reference.shape}, degraded {degraded.shape}")
    functions = _metric_functions()
    sides = {side for side, _ in functions.values()}
    pairs = {side: (_to_tensor(degraded, side), _to_tensor(reference, side)) for side in sides}
    return {
        name: float(functions[name][1](*pairs[functions[name][0]]).item()) for name in DISTANCES
    }
