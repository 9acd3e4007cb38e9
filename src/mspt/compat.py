"""What other packages need from us to work: torchvision beside a torch without CUDA.

PyPI's torchvision fails to import there (`operator torchvision::nms does not exist`), and with it
piq and timm, which use none of its compiled operators.
"""

from functools import cache
from typing import Any

_KEPT_ALIVE: list[Any] = []  # a collected torch Library takes its operators with it


@cache
def make_torchvision_importable() -> None:
    """Declare the two operators whose absence stops torchvision's import, if it needs that.

    Raises:
        ImportError: if torch or torchvision is not installed.
    """
    import torch

    try:
        import torchvision  # noqa: F401 - only to see whether it imports
    except RuntimeError:
        new_library: Any = torch.library.Library  # untyped in torch
        library = new_library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT_ALIVE.append(library)
