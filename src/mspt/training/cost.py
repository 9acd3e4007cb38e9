"""What a network costs, counted as the challenge and the paper do.

fvcore counts a multiply-add as one operation and adds batch-norm; at 640 px it gives the paper's
0.4687 GFLOPs for this network.
"""

import logging

import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from mspt.budget import Cost


def measure_cost(network: nn.Module, side_px: int) -> Cost:
    """Count parameters, and fvcore's GFLOPs for one image of (side_px, side_px)."""
    was_training = network.training
    analysis = FlopCountAnalysis(network.eval(), torch.zeros(1, 3, side_px, side_px))
    analysis.unsupported_ops_warnings(False)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    gflops = round(analysis.total() / 1e9, 5)
    network.train(was_training)
    return Cost(params=sum(p.numel() for p in network.parameters()), gflops=gflops)
