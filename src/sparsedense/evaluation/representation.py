"""What a cloud of features looks like without any label: spread, rank, alignment, uniformity.

Scalar tensors of plain tensors, quick enough for a small batch at every epoch: collapse shows in the first one.

Shapes: N samples, D features.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_BLOCK_ROWS = 1024  # pairwise distances are summed in blocks of rows, so that memory grows with N and not with N^2


def feature_std(features_ND: Tensor) -> Tensor:
    """Standard deviation of the L2-normalised features over the samples, averaged over the dimensions.

    0 is collapse; features spread evenly over the sphere have `uniform_feature_std(D)`. Source: Chen and He,
    "Exploring Simple Siamese Representation Learning", CVPR 2021, figure 2.

    Raises:
        ValueError: fewer than 2 samples.
    """
    _check(features_ND)
    return F.normalize(features_ND.float(), dim=1).std(dim=0, unbiased=False).mean()


def uniform_feature_std(feature_dim: int) -> float:
    """1 / sqrt(D): the `feature_std` of features spread evenly over the sphere."""
    return 1 / math.sqrt(feature_dim)


def effective_rank(features_ND: Tensor) -> Tensor:
    """How many directions the features use: exp of the entropy of the singular values read as a distribution.

    Between 1 (all samples lie on one line through zero: collapse) and min(N, D) (all singular values are equal). The
    features are not centred, because centring a collapsed cloud leaves rounding errors of full rank. Source: Roy and
    Vetterli, "The Effective Rank", EUSIPCO 2007.

    Raises:
        ValueError: fewer than 2 samples.
    """
    _check(features_ND)
    singular_values = torch.linalg.svdvals(features_ND.float())
    # Features that are all zero have nothing to share out: entropy 0, rank 1, as for any other collapse.
    shares = singular_values / singular_values.sum().clamp_min(torch.finfo(torch.float32).tiny)
    rank: Tensor = torch.special.entr(shares).sum().exp()
    return rank


def alignment(first_ND: Tensor, second_ND: Tensor) -> Tensor:
    """Mean squared distance between the L2-normalised features of two clips of the same video: 0 is the same place.

    Source: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere", ICML 2020.

    Args:
        first_ND: features of one clip of each video.
        second_ND: features of another clip of the same videos, in the same order.

    Raises:
        ValueError: the shapes differ, or there is no video.
    """
    if first_ND.ndim != 2 or first_ND.shape != second_ND.shape or not len(first_ND):
        shapes = f"{tuple(first_ND.shape)} and {tuple(second_ND.shape)}"
        raise ValueError(f"the features of two clips must both have shape (N, D) with N of at least 1, got {shapes}")
    first_ND, second_ND = F.normalize(first_ND.float(), dim=1), F.normalize(second_ND.float(), dim=1)
    return (first_ND - second_ND).square().sum(dim=1).mean()


def uniformity(features_ND: Tensor, *, scale: float = 2.0) -> Tensor:
    """How evenly features lie on the sphere: log of the mean of exp(-scale * d^2) over all pairs; lower is more even.

    0 where all are in one place; -4 for scale 2 where all pairs are orthogonal. Source: Wang and Isola, ICML 2020, as
    `alignment`. Take samples of different videos, for the clips of one are meant to be close.

    Raises:
        ValueError: fewer than 2 samples.
    """
    _check(features_ND)
    unit_ND = F.normalize(features_ND.float(), dim=1)
    total = unit_ND.new_zeros(())
    for start in range(0, len(unit_ND), _BLOCK_ROWS):
        distances = torch.cdist(unit_ND[start : start + _BLOCK_ROWS], unit_ND)
        total += (-scale * distances.square()).exp().sum()
    num_samples = len(unit_ND)
    # Each sample is at distance 0 from itself; those pairs do not count.
    return ((total - num_samples) / (num_samples * (num_samples - 1))).log()


def _check(features_ND: Tensor) -> None:
    if features_ND.ndim != 2 or len(features_ND) < 2:
        raise ValueError(f"features must have shape (N, D) with N of at least 2, got {tuple(features_ND.shape)}")
