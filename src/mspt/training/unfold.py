"""A model file back into a network that can be trained on.

In:   an exported `.onnx`, whose batch-norms have been folded into the convolutions, and batches.
Out:  the same scores from a network whose batch-norms know the statistics of those batches.

Behind a folded convolution stands x + b. A batch-norm of mean m and variance v computes
(x - m) / sqrt(v + eps) * gain + offset, which is the same for gain = sqrt(v + eps) and
offset = b + m. With m and v measured, training mode and scoring mode agree from the first step.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mspt.errors import ConfigError
from mspt.inference.models import find_model
from mspt.training.batches import to_pixels
from mspt.training.networks import Network

_PREFIX = "network."  # of the names that export.py leaves in the file
_FOLDED_BIAS = ".weight_bias"  # what the exporter calls the bias that a batch-norm became


@torch.no_grad()
def load_model_file(network: Network, model: str, batches: Iterable[Tensor]) -> None:
    """Give a network the weights of a model file; its scores stay those of the file.

    Args:
        network: changed in place; ours, not a backbone of timm.
        model: an embedded model's name or the path of an exported file.
        batches: uint8, (N, S, S, 3), like those to be trained on; some hundred images suffice.

    Raises:
        ConfigError: if the file's tensors are not this network's.
        ModelError: if there is no such model.
    """
    path = find_model(model)
    tensors = _read_tensors(path)
    wanted = network.state_dict()
    pairs = dict(_folded_pairs(network))
    missing = [f"{name}{_FOLDED_BIAS}" for name in pairs if f"{name}{_FOLDED_BIAS}" not in tensors]
    plain = {n: t for n, t in tensors.items() if n in wanted and t.shape == wanted[n].shape}
    norms = {f"{norm}." for norm in pairs.values()}
    missing += [n for n in wanted if n not in plain and not n.startswith(tuple(norms))]
    if missing:
        raise ConfigError(
            f"init {model!r}: {path} lacks {len(missing)} tensors of this network, such as "
            f'{missing[0]}; name a model exported from network "mspt", or a checkpoint'
        )
    network.load_state_dict(plain, strict=False)
    biases = {norm: tensors[f"{name}{_FOLDED_BIAS}"] for name, norm in pairs.items()}
    _unfold(network, biases, batches)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the file's weights as float32, named as in the network."""
    import onnx
    from onnx import numpy_helper

    weights = onnx.load(path).graph.initializer
    return {
        tensor.name.removeprefix(_PREFIX): torch.from_numpy(
            np.array(numpy_helper.to_array(tensor), dtype=np.float32)
        )
        for tensor in weights
        if tensor.name.startswith(_PREFIX)
    }


def _folded_pairs(network: Network) -> Iterator[tuple[str, str]]:
    """Yield the names of each convolution and the batch-norm behind it, in order."""
    convolution = ""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            convolution = name
        elif isinstance(module, nn.BatchNorm2d):
            yield convolution, name


class _Moments:
    """Mean and variance per channel of all that passes a batch-norm."""

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


def _unfold(network: Network, biases: dict[str, Tensor], batches: Iterable[Tensor]) -> None:
    modules = dict(network.named_modules())
    norms = {name: norm for name in biases if isinstance(norm := modules[name], nn.BatchNorm2d)}
    for name, norm in norms.items():
        norm.reset_running_stats()  # mean 0, variance 1: with the gain below, x + bias
        norm.weight.fill_((1 + norm.eps) ** 0.5)
        norm.bias.copy_(biases[name])
    moments = {name: _Moments(norm) for name, norm in norms.items()}
    network.eval()
    for rgb in batches:
        network(to_pixels(rgb))
    for name, norm in norms.items():
        moments[name].hook.remove()
        mean, variance = moments[name].mean_and_variance()
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(biases[name].to(mean) + mean)
