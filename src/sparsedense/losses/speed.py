"""Speed: how fast does this clip play?

Shapes: N clips of all views together, S speeds; or B videos of V clips each.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


class SpeedLoss(nn.Module):
    """Cross-entropy of a clip's playback speed, averaged over all views (L_bin of Dave et al., 2020).

    Two speeds, sparse and dense, in the paper; more are pace prediction: Wang et al., "Self-supervised Video
    Representation Learning by Pace Prediction", ECCV 2020 (arXiv 2008.05861).

    The batch must hold all views mixed: with one view a batch, BatchNorm statistics give the answer away.
    """

    def forward(self, logits_NS: torch.Tensor, speed_N: torch.Tensor) -> torch.Tensor:
        """Scalar loss.

        Args:
            logits_NS: logits of the speed head; column 0 is sparse, the columns from 1 on are the dense speeds.
            speed_N: the column that is right for each clip; where there are two, also "is dense" as truth values.

        Raises:
            ValueError: the shapes do not agree.
        """
        _check(logits_NS, speed_N)
        return F.cross_entropy(logits_NS.float(), speed_N.long())

    @staticmethod
    def guess(num_speeds: int = 2) -> float:
        """The loss of equal logits."""
        return math.log(num_speeds)


class SpeedRankingLoss(nn.Module):
    """Of two clips of one video the faster must get the larger score: softplus(margin - (s_fast - s_slow)).

    Only clips of the same video are compared, so that how fast its action is plays no part, and only those whose speeds
    differ. A batch without such a pair gives a zero that is still connected to the scores.

    Chen et al., "RSPNet: Relative Speed Perception for Unsupervised Video Representation Learning", AAAI 2021 (arXiv
    2011.07949); Duan et al., "TransRank: Self-supervised Video Representation Learning via Ranking-based Transformation
    Recognition", CVPR 2022 (arXiv 2205.02028). Both have a hinge where this has its smooth form, which never goes flat.

    Args:
        margin: by how much the faster clip's score should be larger.

    Raises:
        ValueError: a negative margin.
    """

    def __init__(self, *, margin: float = 0.0) -> None:
        super().__init__()
        if not margin >= 0:
            raise ValueError(f"margin ({margin}) must be at least 0")
        self.margin = margin

    def forward(self, scores_BV: torch.Tensor, speeds_BV: torch.Tensor) -> torch.Tensor:
        """Scalar loss, the mean over all pairs of clips of one video with different speeds.

        Args:
            scores_BV: scores of a speed head with one output.
            speeds_BV: real playback strides in frames; the larger the faster.

        Raises:
            ValueError: the shapes do not agree.
        """
        lead_BVV, faster_BVV = _pairs(scores_BV, speeds_BV)
        return (F.softplus(self.margin - lead_BVV) * faster_BVV).sum() / faster_BVV.sum().clamp_min(1)

    def guess(self) -> float:
        """The loss of equal scores; ln 2 without a margin."""
        return math.log1p(math.exp(-self.margin)) + self.margin


def speed_accuracy(logits_NS: torch.Tensor, speed_N: torch.Tensor) -> torch.Tensor:
    """Share of the clips whose speed is told rightly, a scalar in [0, 1]; 1 / S is chance for balanced views.

    Raises:
        ValueError: the shapes do not agree.
    """
    _check(logits_NS, speed_N)
    return (logits_NS.argmax(dim=1) == speed_N.long()).float().mean()


def ranking_accuracy(scores_BV: torch.Tensor, speeds_BV: torch.Tensor) -> torch.Tensor:
    """Share of the pairs of clips of one video that are ranked rightly, a scalar in [0, 1]; 0.5 is chance.

    Equal scores are half right. A batch without a pair of different speeds gives 0.5.

    Raises:
        ValueError: the shapes do not agree.
    """
    lead_BVV, faster_BVV = _pairs(scores_BV, speeds_BV)
    surplus = (lead_BVV.sign() * faster_BVV).sum() / faster_BVV.sum().clamp_min(1)
    return (1 + surplus) / 2


def _pairs(scores_BV: torch.Tensor, speeds_BV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """By how much clip i's score is above clip j's, and whether clip i is the faster, each `(B, V, V)`."""
    if scores_BV.ndim != 2 or scores_BV.shape != speeds_BV.shape:
        shapes = f"{tuple(scores_BV.shape)} and {tuple(speeds_BV.shape)}"
        raise ValueError(f"scores and speeds must have the same shape (B, V), got {shapes}")
    scores_BV = scores_BV.float()
    return scores_BV[:, :, None] - scores_BV[:, None, :], speeds_BV[:, :, None] > speeds_BV[:, None, :]


def _check(logits_NS: torch.Tensor, speed_N: torch.Tensor) -> None:
    binary = speed_N.dtype == torch.bool
    num_speeds = logits_NS.shape[1] if logits_NS.ndim == 2 else 0
    if num_speeds < 2 or (binary and num_speeds != 2) or speed_N.shape != logits_NS.shape[:1]:
        expected = "(N, 2)" if binary else "(N, S)"
        shapes = f"{tuple(logits_NS.shape)} and {tuple(speed_N.shape)}"
        raise ValueError(f"speed logits and targets must have shapes {expected} and (N,), got {shapes}")
