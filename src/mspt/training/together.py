"""Several processes as one: what depends on the whole batch is taken over the parts of all.

In:   tensors of this process's part; a network.
Out:  gather(): the whole batch's, through which gradients flow back; share_statistics(): a network
      whose batch-norm is over all processes' images, if it is torch's own: timm's kinds stay with
      their part. Alone, both change nothing.

The loss of the whole batch is then the same in every process. Gradients of a sum over processes go
back through all_reduce, and DistributedDataParallel takes their mean: the gradient of one process.
"""

import torch
import torch.distributed
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


def gather(part: Tensor, processes: int) -> Tensor:
    """Return the values of all processes, in the order of their ranks.

    Args:
        part: this process's, of the same shape everywhere.
        processes: how many there are.

    Returns:
        (processes, *shape of the part), of the same type.
    """
    if processes == 1:
        return part[None]
    places = torch.arange(processes, device=part.device) == torch.distributed.get_rank()
    mine = places.view(-1, *[1] * part.ndim)
    number = part.to(torch.uint8) if part.dtype == torch.bool else part
    whole = _Sum.apply(torch.where(mine, number, 0))  # type: ignore[no-untyped-call]
    assert isinstance(whole, Tensor)
    return whole.to(part.dtype)


def _added_up(part: Tensor) -> Tensor:
    whole = part.contiguous().clone()
    torch.distributed.all_reduce(whole)
    return whole


class _Sum(torch.autograd.Function):
    """The sum over processes; each one's gradient is the sum of all of theirs."""

    @staticmethod
    def forward(_: FunctionCtx, part: Tensor) -> Tensor:
        return _added_up(part)

    @staticmethod
    def backward(_: FunctionCtx, gradient: Tensor) -> Tensor:
        return _added_up(gradient)


def share_statistics(network: nn.Module, processes: int) -> None:
    """Let a network's batch-norm see the images of all processes; its tensors stay."""
    if processes == 1:
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SharedBatchNorm
            module.processes = processes  # type: ignore[assignment]


class _SharedBatchNorm(nn.BatchNorm2d):
    """Batch-norm over all processes; torch has it for GPUs only (SyncBatchNorm)."""

    processes: int

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (N, C, H, W), normalised; parts are of the same size."""
        if not self.training:
            return super().forward(x)
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        parts = gather(torch.stack([mean, variance]), self.processes)
        means, variances = parts[:, 0], parts[:, 1]
        mean = means.mean(0)
        variance = variances.mean(0) + ((means - mean) ** 2).mean(0)
        self._remember(mean, variance, self.processes * x.numel() // x.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics, as batch-norm does; the variance is the unbiased one."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        # Without momentum the running statistics are the mean over all batches.
        weight = self.momentum or 1 / int(self.num_batches_tracked)
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance * (count / (count - 1)), weight)
