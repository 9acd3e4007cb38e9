"""The network: MobileNetV3-Small with one output, as the paper names it.

In:   `pixels`, float32, (N, 3, S, S), RGB in 0..1.
Out:  `score`, float32, (N,), 0..1.

Parameter names and shapes are those of timm's `mobilenetv3_small_100`, so that its published
ImageNet weights load; tests/golden/mobilenetv3_small_100.json pins them. 1,518,881 parameters.
Source: Howard et al., Searching for MobileNetV3 (arXiv:1905.02244), table 2.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class BlockShape(NamedTuple):
    """One inverted residual block, a row of the paper's table 2."""

    kernel: int
    expanded: int  # channels inside the block
    out: int
    stride: int
    squeeze: bool  # squeeze-and-excite inside
    hard_swish: bool  # else ReLU


# Grouped by feature level; timm numbers them blocks.<level>.<index>.
LEVELS: tuple[tuple[BlockShape, ...], ...] = (
    (BlockShape(3, 16, 16, 2, True, False),),
    (BlockShape(3, 72, 24, 2, False, False), BlockShape(3, 88, 24, 1, False, False)),
    (
        BlockShape(5, 96, 40, 2, True, True),
        BlockShape(5, 240, 40, 1, True, True),
        BlockShape(5, 240, 40, 1, True, True),
    ),
    (BlockShape(5, 120, 48, 1, True, True), BlockShape(5, 144, 48, 1, True, True)),
    (
        BlockShape(5, 288, 96, 2, True, True),
        BlockShape(5, 576, 96, 1, True, True),
        BlockShape(5, 576, 96, 1, True, True),
    ),
)
_STEM, _LAST, _HEAD = 16, 576, 1024  # channels


def _activation(hard_swish: bool) -> nn.Module:
    return nn.Hardswish() if hard_swish else nn.ReLU()


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def _depthwise(channels: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)


def _squeezed(channels: int) -> int:
    """Return a quarter of the channels in multiples of 8, never 10 % below the quarter."""
    quarter = channels / 4
    rounded = max(8, int(quarter + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * quarter else rounded


class SqueezeExcite(nn.Module):
    """Scale each channel by what the whole image says of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, _squeezed(channels), 1)
        self.conv_expand = nn.Conv2d(_squeezed(channels), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (N, C, H, W), scaled per image and channel."""
        summary = x.mean((2, 3), keepdim=True)
        gate = self.conv_expand(nn.functional.relu(self.conv_reduce(summary)))
        return x * nn.functional.hardsigmoid(gate)


class SeparableBlock(nn.Module):
    """Depthwise then pointwise convolution: the first block, which does not expand."""

    def __init__(self, inputs: int, shape: BlockShape) -> None:
        super().__init__()
        self.conv_dw = _depthwise(inputs, shape.kernel, shape.stride)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.act = _activation(shape.hard_swish)
        self.se = SqueezeExcite(inputs) if shape.squeeze else nn.Identity()
        self.conv_pw = _convolution(inputs, shape.out, 1)
        self.bn2 = nn.BatchNorm2d(shape.out)
        self.residual = shape.stride == 1 and inputs == shape.out

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out, H / stride, W / stride)."""
        y = self.se(self.act(self.bn1(self.conv_dw(x))))
        y = cast(Tensor, self.bn2(self.conv_pw(y)))
        return x + y if self.residual else y


class InvertedResidual(nn.Module):
    """Expand, filter each channel, squeeze and excite, project."""

    def __init__(self, inputs: int, shape: BlockShape) -> None:
        super().__init__()
        self.conv_pw = _convolution(inputs, shape.expanded, 1)
        self.bn1 = nn.BatchNorm2d(shape.expanded)
        self.conv_dw = _depthwise(shape.expanded, shape.kernel, shape.stride)
        self.bn2 = nn.BatchNorm2d(shape.expanded)
        self.se = SqueezeExcite(shape.expanded) if shape.squeeze else nn.Identity()
        self.conv_pwl = _convolution(shape.expanded, shape.out, 1)
        self.bn3 = nn.BatchNorm2d(shape.out)
        self.act = _activation(shape.hard_swish)
        self.residual = shape.stride == 1 and inputs == shape.out

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out, H / stride, W / stride)."""
        y = self.act(self.bn1(self.conv_pw(x)))
        y = self.se(self.act(self.bn2(self.conv_dw(y))))
        y = cast(Tensor, self.bn3(self.conv_pwl(y)))
        return x + y if self.residual else y


class LastConvolution(nn.Module):
    """The 1x1 convolution that ends the feature levels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _convolution(inputs, outputs, 1)
        self.bn1 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H, W)."""
        return nn.functional.hardswish(self.bn1(self.conv(x)))


class MsptNetwork(nn.Module):
    """MobileNetV3-Small with one sigmoid output; normalises its own input."""

    HEAD = ("conv_head.", "classifier.")  # prefixes of the head's parameters

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.drop_rate = 0.0  # before the classifier, while training
        self.conv_stem = _convolution(3, _STEM, 3, stride=2)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.blocks = nn.Sequential(*_feature_levels())
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.conv_head = nn.Conv2d(_LAST, _HEAD, 1)
        self.classifier = nn.Linear(_HEAD, 1)
        register_normalisation(self)
        self.apply(_initialise)
        nn.init.normal_(self.classifier.weight, std=0.01)  # the default saturates the sigmoid

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the scores, (N,) in 0..1, of pixels, (N, 3, S, S) in 0..1."""
        x = (pixels - self.mean) / self.std
        x = nn.functional.hardswish(self.bn1(self.conv_stem(x)))
        x = self.global_pool(self.blocks(x))
        x = nn.functional.hardswish(self.conv_head(x)).flatten(1)
        x = nn.functional.dropout(x, self.drop_rate, self.training)
        return torch.sigmoid(self.classifier(x)).squeeze(1)


def register_normalisation(network: nn.Module) -> None:
    """Give a network the buffers `mean` and `std`, (1, 3, 1, 1): the one place that states them.

    Constants, not weights: kept out of checkpoints, so that the names stay timm's.
    """
    for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
        network.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)


def _feature_levels() -> list[nn.Module]:
    levels: list[nn.Module] = []
    channels = _STEM
    for shapes in LEVELS:
        blocks: list[nn.Module] = []
        for shape in shapes:
            expands = shape.expanded != channels
            block = InvertedResidual if expands else SeparableBlock
            blocks.append(block(channels, shape))
            channels = shape.out
        levels.append(nn.Sequential(*blocks))
    return [*levels, nn.Sequential(LastConvolution(channels, _LAST))]


def _initialise(module: nn.Module) -> None:
    """Start convolutions by He's rule over their fan-out, as MobileNetV3's authors do."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
