"""What a network costs, counted as the challenge and the paper do, and whether a budget allows it.

fvcore counts a multiply-add as one operation and adds batch-norm; at 640 px it gives the paper's
0.4687 GFLOPs for this network. Torch is imported only to count: comparing needs none.
"""

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mspt.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

_FACTORS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one image costs."""

    params: int
    gflops: float


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper limits."""

    gflops: float
    params: float

    def excess(self, cost: Cost) -> str:
        """Return what exceeds the budget, in words with both values; empty if nothing does."""
        found = []
        if cost.gflops > self.gflops:
            found.append(f"{cost.gflops} GFLOPs > {self.gflops:g}")
        if cost.params > self.params:
            found.append(f"{cost.params} parameters > {self.params:.0f}")
        return ", ".join(found)


def parse_budget(text: str) -> Budget:
    """Read a budget such as `0.5G,5M`: FLOPs, then parameters.

    Raises:
        ConfigError: if the text is of another form.
    """
    parts = text.upper().split(",")
    numbers = [re.fullmatch(r"(\d+\.?\d*)([KMG]?)", part.strip()) for part in parts]
    if len(numbers) != 2 or None in numbers:
        raise ConfigError(f"budget {text!r} is not of the form FLOPS,PARAMS such as 0.5G,5M")
    flops, params = (float(n[1]) * _FACTORS[n[2]] for n in numbers if n)
    return Budget(gflops=flops / 1e9, params=params)


def measure_cost(network: "nn.Module", side_px: int) -> Cost:
    """Count parameters, and fvcore's GFLOPs for one image of (side_px, side_px)."""
    import torch
    from fvcore.nn import FlopCountAnalysis

    was_training = network.training
    analysis = FlopCountAnalysis(network.eval(), torch.zeros(1, 3, side_px, side_px))
    analysis.unsupported_ops_warnings(False)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    gflops = round(analysis.total() / 1e9, 5)
    network.train(was_training)
    return Cost(params=sum(p.numel() for p in network.parameters()), gflops=gflops)
