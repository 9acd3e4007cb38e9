"""What a network costs: parameters and GFLOPs, counted as the challenge and the paper do.

fvcore counts a multiply-add as one operation and adds batch-norm; at 640 px it gives the paper's
0.4687 GFLOPs for this network.
"""

import logging
from dataclasses import dataclass

import torch

from mspt.training.network import MsptNetwork


@dataclass(frozen=True, slots=True)
class Cost:
    """What one image costs."""

    params: int
    gflops: float


def measure_cost(network: MsptNetwork, side_px: int) -> Cost:
    """Count parameters, and fvcore's GFLOPs for one image of (side_px, side_px)."""
    from fvcore.nn import FlopCountAnalysis

    was_training = network.training
    analysis = FlopCountAnalysis(network.eval(), torch.zeros(1, 3, side_px, side_px))
    analysis.unsupported_ops_warnings(False)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    gflops = round(analysis.total() / 1e9, 5)
    network.train(was_training)
    return Cost(params=sum(p.numel() for p in network.parameters()), gflops=gflops)
