"""A model as a differentiable torch module: `from mspt.torch import load_metric`. Needs [train].

In:   an embedded model's name, an .onnx file, or a checkpoint's folder.
Out:  QualityMetric: (N, 3, H, W), RGB in 0..1 -> (N,), 0..1, higher looks better.
"""

from importlib.util import find_spec
from pathlib import Path

from mspt.errors import MissingExtraError

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as missing:
    raise MissingExtraError.of("train", missing) from missing

from mspt.compat import make_torchvision_importable
from mspt.inference.models import embedded_models, find_model
from mspt.spec import InputSpec
from mspt.training.backbones import Network
from mspt.training.checkpoint import load_network, load_state
from mspt.training.unfold import read_model_file

if find_spec("torchvision"):  # torchmetrics, whose metric this often becomes, imports it
    make_torchvision_importable()

# What a network under training may overshoot to; 0..255 and -1..1 lie far beyond.
_DARKEST, _BRIGHTEST = -0.5, 2.0


class QualityMetric(nn.Module):
    """Perceptual quality of faces, differentiable with respect to the images.

    Its weights are frozen and it stays in evaluation mode: gradients reach the images only.
    """

    # As pyiqa and torchmetrics call it.
    lower_better, higher_is_better, is_differentiable = False, True, True

    def __init__(self, network: Network, spec: InputSpec) -> None:
        """Wrap a network that was trained at the spec's size."""
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.spec = spec
        self.train()

    def train(self, mode: bool = True) -> "QualityMetric":
        """Stay in evaluation mode: batch statistics would make scores depend on neighbours."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where images are brought: `metric.to("cuda")` moves them."""
        return next(self.network.parameters()).device

    def forward(self, images: Tensor) -> Tensor:
        """Score images, (N, 3, H, W) in 0..1; returns (N,), on the metric's device.

        Of images of another shape than the model's the centred square is taken and resized
        (antialiased bicubic, clamped to 0..1). At the model's own size scores equal those of the
        .onnx file to 1e-3; elsewhere the float resize differs a little from the 8-bit one.

        Raises:
            ValueError: if the tensor has another form, or values far outside 0..1.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"images {images.dtype} {tuple(images.shape)} must be float (N, 3, H, W), RGB in "
                "0..1; divide uint8 by 255 and permute NHWC"
            )
        if images.numel():
            _check_range(*(float(value) for value in images.detach().aminmax()))
        score: Tensor = self.network(self._fit(images.to(self.device, torch.float32)))
        return score

    def _fit(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        side = round(min(height, width) * self.spec.crop_side / self.spec.short_side)
        top, left = (height - side) // 2, (width - side) // 2
        square = images[:, :, top : top + side, left : left + side]
        if side == self.spec.crop_side:
            return square
        return nn.functional.interpolate(
            square, size=self.spec.crop_side, mode="bicubic", antialias=True
        ).clamp(0, 1)


def _check_range(darkest: float, brightest: float) -> None:
    if brightest > _BRIGHTEST:
        raise ValueError(f"images reach {brightest:g}, but must lie in 0..1; divide 0..255 by 255")
    if darkest < _DARKEST:
        raise ValueError(
            f"images go down to {darkest:g}, but must lie in 0..1; (images + 1) / 2 brings -1..1 "
            "there"
        )


def load_metric(
    model: str | Path = "base", device: str | torch.device | None = None
) -> QualityMetric:
    """Return a model as a differentiable metric, `lower_better = False`.

    Args:
        model: an embedded model's name, an .onnx file of the network `mspt`, or a checkpoint.
        device: where it computes; default: on a GPU where there is one.

    Raises:
        ModelError: if it cannot be loaded, or the file holds another network.
    """
    if str(model) not in embedded_models() and Path(model).is_dir():
        network, spec = load_network(Path(model)), load_state(Path(model)).spec
    else:
        network, spec = read_model_file(find_model(model))
    return QualityMetric(network, spec).to(
        device or ("cuda" if torch.cuda.is_available() else "cpu")
    )
