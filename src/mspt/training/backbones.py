"""The networks that a run may name: ours, or a backbone of timm for comparison.

In:   a name: "mspt", or "timm:edgenext_xx_small" (timm is part of the extra `dev`).
Out:  a Network: `pixels`, float32 (N, 3, S, S) in 0..1 -> `score`, (N,) in 0..1.
"""

import torch
from torch import Tensor, nn

from mspt.compat import make_torchvision_importable
from mspt.errors import ConfigError, MissingExtraError
from mspt.training.network import MsptNetwork, register_normalisation

OURS = "mspt"
_TRIAL_PX = 96
_HIDDEN = 128  # of a backbone's head, as in the VQualA 2025 winner's student
_LAYER_SCALE = 0.1  # timm: 1e-6, of which 1,200 steps make .005, so that the blocks stay silent


class BackboneNetwork(nn.Module):
    """A backbone of timm, random weights, under the head C -> 128 -> 1 with a sigmoid.

    With edgenext_xx_small it has 1,180,313 parameters: the winner's 1,179,641, the norm that timm
    puts before its head, and a batch-norm behind it, without which a random start learns less
    (docs/log).
    """

    HEAD = ("feature_norm.", "hidden.", "classifier.")

    mean: Tensor
    std: Tensor

    def __init__(self, name: str) -> None:
        """Build timm's model of that name.

        Raises:
            ConfigError: if timm knows no such model.
            MissingExtraError: without timm.
        """
        super().__init__()
        try:
            make_torchvision_importable()
            import timm
        except ImportError as error:
            raise MissingExtraError.of("dev", error) from error
        if not timm.is_model(name):
            raise ConfigError(f"network 'timm:{name}': timm {timm.__version__} has no such model")
        self.drop_rate = 0.0
        self.backbone: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
        features = _features_of(self.backbone, name)
        _wake_blocks(self.backbone)
        self.feature_norm = nn.BatchNorm1d(features)
        self.hidden = nn.Linear(features, _HIDDEN)
        self.classifier = nn.Linear(_HIDDEN, 1)
        nn.init.normal_(self.classifier.weight, std=0.01)  # the default saturates the sigmoid
        nn.init.zeros_(self.classifier.bias)
        register_normalisation(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the scores, (N,) in 0..1, of pixels, (N, 3, S, S) in 0..1."""
        x = self.feature_norm(self.backbone((pixels - self.mean) / self.std))
        x = nn.functional.dropout(nn.functional.gelu(self.hidden(x)), self.drop_rate, self.training)
        return torch.sigmoid(self.classifier(x)).squeeze(1)


def _wake_blocks(backbone: nn.Module) -> None:
    """Let blocks with a layer scale (EdgeNeXt, ConvNeXt) take part from the first step.

    timm starts them for hundreds of epochs on ImageNet: scales of 1e-6 behind weights of .02.
    """
    scales = [p for name, p in backbone.named_parameters() if "gamma" in name.rsplit(".", 1)[-1]]
    if not scales:
        return
    for scale in scales:
        nn.init.constant_(scale, _LAYER_SCALE)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@torch.no_grad()
def _features_of(backbone: nn.Module, name: str) -> int:
    """Return how many features a backbone gives, by trying it."""
    try:
        features = backbone.eval()(torch.zeros(1, 3, _TRIAL_PX, _TRIAL_PX))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"network 'timm:{name}' takes no image of {_TRIAL_PX} px ({error}); stages need a "
            "network for any size, such as a convolutional one"
        ) from error
    backbone.train()
    return int(features.shape[1])


Network = MsptNetwork | BackboneNetwork


def build_network(name: str) -> Network:
    """Return the network of that name with random weights.

    Raises:
        ConfigError: if there is none.
        MissingExtraError: if timm is needed and missing.
    """
    if name == OURS:
        return MsptNetwork()
    return BackboneNetwork(name.removeprefix("timm:"))
