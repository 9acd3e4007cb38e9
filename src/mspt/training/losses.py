"""Training losses: how far scores lie from `mos`.

In:   `score` and `mos`, float tensors, (N,), 0..1.
Out:  a scalar tensor, 0 when perfect.
"""

import torch
from torch import Tensor

RANK_MARGIN = 0.05  # of the scale: pairs that far apart and in order cost nothing


def plcc_loss(score: Tensor, mos: Tensor) -> Tensor:
    """Return (1 - PLCC) / 2: 0 when perfectly linear, 1 when inverted.

    Alone it leaves the scale free, so it stands beside an MSE.

    Args:
        score: (N,), any scale, N at least 2.
        mos: (N,), in the order of `score`.

    Raises:
        ValueError: if shapes differ or N < 2.

    Source: VQualA 2025 winner's student (Efficient-FIQA); our deviation: an epsilon, so that a
    constant batch gives 0.5 and a finite gradient.
    """
    if score.shape != mos.shape or score.ndim != 1 or len(score) < 2:
        raise ValueError(
            f"score {tuple(score.shape)} and mos {tuple(mos.shape)} must both be (N,), N >= 2"
        )
    x, y = score - score.mean(), mos - mos.mean()
    scale = torch.sqrt((x**2).sum() * (y**2).sum() + 1e-12)
    return (1 - (x * y).sum() / scale) / 2


def quality_loss(score: Tensor, mos: Tensor, *, mse_weight: float, plcc_weight: float) -> Tensor:
    """Return the weighted sum of MSE (keeps the scale) and PLCC loss (keeps the order).

    Args:
        score: (N,), 0..1, N at least 2.
        mos: (N,), 0..1, in the order of `score`.
        mse_weight: of the mean squared error.
        plcc_weight: of `plcc_loss`.

    Raises:
        ValueError: as `plcc_loss`.
    """
    mse = ((score - mos) ** 2).mean()
    return mse_weight * mse + plcc_weight * plcc_loss(score, mos)


def rank_loss(score: Tensor, mos: Tensor, identity: Tensor) -> Tensor:
    """Return how far pairs of images that show the same are from their order; 0 when all keep it.

    Each pair costs what its scores lack of the difference of its `mos`, of which at most
    `RANK_MARGIN` is asked for: the order counts, the scale is the MSE's.

    Args:
        score: (N,), 0..1.
        mos: (N,), 0..1, in the order of `score`.
        identity: (N,), whole numbers, equal where images show the same.

    Source: RankIQA's hinge (arXiv:1707.08347); our deviation: a margin that ends at the labels'
    own difference, so that near ties stay near ties.
    """
    better, worse = torch.nonzero(
        (identity[:, None] == identity) & (mos[:, None] > mos), as_tuple=True
    )
    if not len(better):
        return score.sum() * 0
    wanted = (mos[better] - mos[worse]).clamp(max=RANK_MARGIN)
    return (wanted - (score[better] - score[worse])).clamp(min=0).mean()


def spoil_loss(score: Tensor, spoiled: Tensor, lost: Tensor) -> Tensor:
    """Return how much too high mildly damaged views score; 0 when each lost its share.

    Args:
        score: (N,), 0..1, of the images.
        spoiled: (N,), 0..1, of their damaged views.
        lost: (N,), 0..1, share of the image's score that its view lost at least.
    """
    if not len(score):
        return score.sum() * 0
    return (spoiled - score + lost * score.detach()).clamp(min=0).mean()
