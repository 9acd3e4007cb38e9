"""What a stage keeps of the one before, so that a compact network forgets little.

distillation    MSE to the scores of the same images by the previous stage or the start weights
L2-SP           pull of the weights towards those that the stage started from (arXiv:1802.01483)
batch-norm      statistics renewed at the new size before the first step (FixRes, arXiv:1906.06423)

Replay, the fourth means, is a matter of what is drawn: batches.py.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mspt.training.backbones import Network
from mspt.training.batches import to_pixels


class Anchor:
    """The averaged network of the stage before, frozen."""

    def __init__(self, network: Network, side_px: int) -> None:
        """Keep a network and the input side that it was trained at."""
        self._network = network.eval().requires_grad_(False)
        self._side_px = side_px

    @torch.no_grad()
    def score(self, pixels: Tensor) -> Tensor:
        """Score pixels, (N, 3, S, S), at the size that the anchor knows; (N,)."""
        if pixels.shape[-1] != self._side_px:
            pixels = nn.functional.interpolate(
                pixels, size=self._side_px, mode="bicubic", antialias=True
            ).clamp(0, 1)
        score: Tensor = self._network(pixels)
        return score

    def distance(self, network: Network) -> Tensor:
        """Return L2-SP's half squared distance between a network's parameters and the anchor's."""
        squares = [
            ((mine - start) ** 2).sum()
            for mine, start in zip(network.parameters(), self._network.parameters(), strict=True)
        ]
        return torch.stack(squares).sum() / 2


@torch.no_grad()
def reestimate_batch_norm(network: Network, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics by plain means over uint8 batches (N, S, S, 3)."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    network.train()
    for rgb in batches:
        network(to_pixels(rgb))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
