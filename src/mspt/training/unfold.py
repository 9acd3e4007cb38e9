"""A model file back into a network: to differentiate through, or to train on.

In:   an exported `.onnx`, whose batch-norms have been folded into the convolutions before them.
Out:  `read_model_file`: the same scores in evaluation mode, each batch-norm adding a bias only.
      `learn_statistics`: then the same scores in training mode as well.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from mspt.errors import ModelError
from mspt.inference.models import ModelInfo
from mspt.spec import InputSpec
from mspt.training.batches import to_pixels
from mspt.training.network import InvertedResidual, LastConvolution, MsptNetwork, SeparableBlock

# Which batch-norm was folded into which convolution.
_NORMS: dict[type[nn.Module], dict[str, str]] = {
    MsptNetwork: {"conv_stem": "bn1"},
    SeparableBlock: {"conv_dw": "bn1", "conv_pw": "bn2"},
    InvertedResidual: {"conv_pw": "bn1", "conv_dw": "bn2", "conv_pwl": "bn3"},
    LastConvolution: {"conv": "bn1"},
}


def read_model_file(path: Path) -> tuple[MsptNetwork, InputSpec]:
    """Return the network of an exported file, and what it expects.

    Raises:
        ModelError: if the file is damaged, or holds another network.
    """
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


def _folded_norms(network: MsptNetwork) -> Iterator[tuple[str, str, nn.BatchNorm2d]]:
    """Yield each convolution's name, its batch-norm's name and that batch-norm."""
    for prefix, module in network.named_modules():
        for conv, norm in _NORMS.get(type(module), {}).items():
            start = f"{prefix}." if prefix else ""
            found = module.get_submodule(norm)
            if isinstance(found, nn.BatchNorm2d):
                yield f"{start}{conv}", f"{start}{norm}", found


@torch.no_grad()
def _unfold(network: MsptNetwork, folded: dict[str, Tensor]) -> None:
    """Load weights whose batch-norms were folded: each norm is left to add a bias only."""
    state = network.state_dict()
    for conv, norm, module in _folded_norms(network):
        state[f"{norm}.bias"] = folded.pop(f"{conv}.weight_bias")
        state[f"{norm}.running_mean"].zero_()
        state[f"{norm}.running_var"].fill_(1 - float(module.eps))
        state[f"{norm}.weight"].fill_(1)
    weights = [name for name in state if name in folded]
    missing = [name for name, _ in network.named_parameters() if _is_unfilled(name, weights)]
    if missing:
        raise KeyError(missing[0])
    network.load_state_dict(state | {name: folded[name] for name in weights})


def _is_unfilled(name: str, weights: list[str]) -> bool:
    """Tell whether a parameter was neither in the file nor a norm's, which are set above."""
    return name not in weights and ".bn" not in f".{name}"


@torch.no_grad()
def learn_statistics(network: MsptNetwork, batches: Iterable[Tensor]) -> None:
    """Let the batch-norms of a network just read know the mean and variance of what they get.

    Behind a folded convolution stands x + b. A batch-norm of mean m and variance v computes
    (x - m) / sqrt(v + eps) * gain + offset: the same for gain = sqrt(v + eps), offset = b + m.

    Args:
        network: changed in place; its scores stay.
        batches: uint8, (N, S, S, 3), like those to be trained on; some hundred images suffice.
    """
    norms = [norm for _, _, norm in _folded_norms(network)]
    moments = [_Moments(norm) for norm in norms]
    network.eval()
    for rgb in batches:
        network(to_pixels(rgb))
    for norm, moment in zip(norms, moments, strict=True):
        moment.hook.remove()
        mean, variance = moment.mean_and_variance()
        norm.load_state_dict(
            norm.state_dict()
            | {
                "running_mean": mean,
                "running_var": variance,
                "weight": (variance + norm.eps).sqrt(),
                "bias": norm.bias + mean,
            }
        )


class _Moments:
    """Mean and variance per channel of all that reaches a batch-norm."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        self._sum = self._squares = torch.zeros(norm.num_features, dtype=torch.float64)
        self._count = 0
        self.hook = norm.register_forward_pre_hook(lambda _, inputs: self._add(inputs[0].double()))

    def _add(self, x: Tensor) -> None:
        self._sum = self._sum.to(x) + x.sum((0, 2, 3))
        self._squares = self._squares.to(x) + (x**2).sum((0, 2, 3))
        self._count += x.numel() // x.shape[1]

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        mean = self._sum / self._count
        return mean.float(), (self._squares / self._count - mean**2).clamp(0).float()
