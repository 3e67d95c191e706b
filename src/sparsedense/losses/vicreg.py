"""VICReg: agreement of two views without negatives; spread and independence of the dimensions hold off collapse.

Shapes: B videos, E embedding length.
"""

import torch
from torch import nn
from torch.nn import functional as F

VARIANCE_FLOOR = 1e-4  # under the root, which has no finite slope at 0 (published)


class VICRegLoss(nn.Module):
    """Mean square distance of both views, and for each view a hinge on the deviations and the squared covariances.

    Bardes et al., "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", ICLR 2022
    (arXiv 2105.04906). As in the authors' code, the invariance is the mean over the dimensions as well, and the
    variance term the mean of both views; the covariance term is the sum of both.

    Args:
        invariance: weight of the distance; 25 as published.
        variance: weight of the hinge that lifts each dimension's standard deviation to 1; 25 as published.
        covariance: weight of the squared covariances between dimensions; 1 as published.

    Raises:
        ValueError: a negative weight.
    """

    def __init__(self, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> None:
        super().__init__()
        for name, weight in (("invariance", invariance), ("variance", variance), ("covariance", covariance)):
            if not weight >= 0:
                raise ValueError(f"{name} ({weight}) must be at least 0")
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance

    def forward(self, first_BE: torch.Tensor, second_BE: torch.Tensor) -> torch.Tensor:
        """Scalar loss.

        Args:
            first_BE: embeddings of one clip of each video; not normalised, for their spread counts.
            second_BE: embeddings of another clip of the same videos.

        Raises:
            ValueError: the shapes do not agree, or there are fewer than 2 videos.
        """
        shapes = f"{tuple(first_BE.shape)} and {tuple(second_BE.shape)}"
        if first_BE.ndim != 2 or first_BE.shape != second_BE.shape:
            raise ValueError(f"both embeddings must have the same shape (B, E), got {shapes}")
        if len(first_BE) < 2:
            raise ValueError(f"variances need at least 2 videos a batch, got embeddings of shapes {shapes}")
        with torch.autocast(device_type=first_BE.device.type, enabled=False):
            first, second = first_BE.float(), second_BE.float()
            variance = (_variance_term(first) + _variance_term(second)) / 2
            covariance = _covariance_term(first) + _covariance_term(second)
            invariance = F.mse_loss(first, second)
            return self.invariance * invariance + self.variance * variance + self.covariance * covariance


def _variance_term(embeddings_BE: torch.Tensor) -> torch.Tensor:
    """Mean over the dimensions of what their standard deviation lacks to 1."""
    deviation_E = (embeddings_BE.var(dim=0) + VARIANCE_FLOOR).sqrt()
    return F.relu(1 - deviation_E).mean()


def _covariance_term(embeddings_BE: torch.Tensor) -> torch.Tensor:
    """Sum of the squared covariances of all pairs of dimensions, over the number of dimensions."""
    num_videos, num_dims = embeddings_BE.shape
    centred_BE = embeddings_BE - embeddings_BE.mean(dim=0)
    squares_EE = (centred_BE.mT @ centred_BE / (num_videos - 1)).square()
    return (squares_EE.sum() - squares_EE.diagonal().sum()) / num_dims
