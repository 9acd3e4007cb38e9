"""A model as a differentiable torch module: a metric or a loss for researchers.

In:   an embedded model's name, an .onnx file, or a checkpoint's folder.
Out:  QualityMetric: (N, 3, H, W), RGB in 0..1 -> (N,), 0..1, higher looks better.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from mspt.errors import ModelError
from mspt.inference.models import ModelInfo, find_model
from mspt.spec import InputSpec
from mspt.training.checkpoint import load_network, load_state
from mspt.training.network import InvertedResidual, LastConvolution, MsptNetwork, SeparableBlock
from mspt.training.networks import Network

# The exporter folds every batch-norm into the convolution before it; this says which is which.
_NORMS: dict[type[nn.Module], dict[str, str]] = {
    MsptNetwork: {"conv_stem": "bn1"},
    SeparableBlock: {"conv_dw": "bn1", "conv_pw": "bn2"},
    InvertedResidual: {"conv_pw": "bn1", "conv_dw": "bn2", "conv_pwl": "bn3"},
    LastConvolution: {"conv": "bn1"},
}


class QualityMetric(nn.Module):
    """Perceptual quality of faces, differentiable with respect to the images.

    Its weights are frozen and it stays in evaluation mode: gradients reach the images only.
    """

    lower_better = False

    def __init__(self, network: Network, spec: InputSpec) -> None:
        """Wrap a network that was trained at the spec's size."""
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.spec = spec

    def train(self, mode: bool = True) -> "QualityMetric":
        """Stay in evaluation mode: batch statistics would make scores depend on neighbours."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Score images, (N, 3, H, W) in 0..1; returns (N,).

        Of images of another shape than the model's the centred square is taken and resized
        (antialiased bicubic, clamped to 0..1). At the model's own size scores equal those of the
        .onnx file to 1e-3; elsewhere the float resize differs a little from the 8-bit one.

        Raises:
            ValueError: if the tensor has another form.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"images {images.dtype} {tuple(images.shape)} must be float (N, 3, H, W), RGB in "
                "0..1; divide uint8 by 255 and permute NHWC"
            )
        score: Tensor = self.network(self._fit(images))
        return score

    def _fit(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = images[:, :, top : top + side, left : left + side]
        if side == self.spec.crop_side:
            return square
        return nn.functional.interpolate(
            square, size=self.spec.crop_side, mode="bicubic", antialias=True
        ).clamp(0, 1)


def load_metric(model: str | Path = "base") -> QualityMetric:
    """Return a model as a differentiable metric, `lower_better = False`.

    Args:
        model: an embedded model's name, an .onnx file of the network `mspt`, or a checkpoint.

    Raises:
        ModelError: if it cannot be loaded, or the file holds another network.
    """
    if Path(model).is_dir():
        return QualityMetric(load_network(Path(model)), load_state(Path(model)).spec)
    path = find_model(model)
    network, spec = _read_onnx(path)
    return QualityMetric(network, spec)


def _read_onnx(path: Path) -> tuple[MsptNetwork, InputSpec]:
    import onnx
    from onnx import numpy_helper

    try:
        file = onnx.load(path)
    except Exception as error:  # protobuf's own kinds
        raise ModelError(f"{path}: cannot be read as ONNX: {error}") from error
    info = ModelInfo.from_metadata({p.key: p.value for p in file.metadata_props}, str(path))
    tensors = {
        tensor.name.removeprefix("network."): torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in file.graph.initializer
    }
    network = MsptNetwork()
    try:
        _unfold(network, tensors)
    except (KeyError, RuntimeError) as error:
        raise ModelError(
            f"{path}: holds no network 'mspt' of this version ({error}); give the checkpoint's "
            "folder instead"
        ) from error
    return network, info.spec


@torch.no_grad()
def _unfold(network: MsptNetwork, folded: dict[str, Tensor]) -> None:
    """Load weights whose batch-norms were folded: each norm is left to add a bias only."""
    state = network.state_dict()
    for prefix, module in network.named_modules():
        for conv, norm in _NORMS.get(type(module), {}).items():
            start = f"{prefix}." if prefix else ""
            state[f"{start}{norm}.bias"] = folded.pop(f"{start}{conv}.weight_bias")
            state[f"{start}{norm}.running_mean"].zero_()
            epsilon = module.get_submodule(norm).eps
            state[f"{start}{norm}.running_var"].fill_(1 - float(epsilon))
            state[f"{start}{norm}.weight"].fill_(1)
    weights = [name for name in state if name in folded]
    missing = [name for name, _ in network.named_parameters() if _is_unfilled(name, weights)]
    if missing:
        raise KeyError(missing[0])
    network.load_state_dict(state | {name: folded[name] for name in weights})


def _is_unfilled(name: str, weights: list[str]) -> bool:
    """Tell whether a parameter was neither in the file nor a norm's, which are set above."""
    return name not in weights and ".bn" not in f".{name}"
