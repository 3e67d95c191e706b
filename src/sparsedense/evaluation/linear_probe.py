"""Linear probe: logistic regression on frozen features.

The encoder is not touched: its features are computed in evaluation mode, so its BatchNorm statistics are those of its
training. The training samples are clips; a video is judged by the mean softmax over its clips.

Shapes: N videos, M clips a video, D features, L classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

# Factors of half the squared norm of the weights, beside the mean cross-entropy of a clip; features have unit variance.
STRENGTHS = (1.0, 0.1, 0.01, 0.001)
FIXED_STRENGTH = 0.01  # where the groups are too few to choose by
NUM_FOLDS = 3
_MOST_ITERATIONS = 100


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe: standardisation by the training clips and a linear map.

    Attributes:
        mean_D, std_D: of the training clips.
        weight_DL, bias_L: logits of standardised features.
        strength: of the L2 penalty.
    """

    mean_D: Tensor
    std_D: Tensor
    weight_DL: Tensor
    bias_L: Tensor
    strength: float

    def probabilities(self, features_NMD: Tensor) -> Tensor:
        """Softmax of each video (N, L), averaged over its clips."""
        logits_NML = (features_NMD - self.mean_D) / self.std_D @ self.weight_DL + self.bias_L
        return logits_NML.softmax(dim=-1).mean(dim=1)

    def share_right(self, features_NMD: Tensor, labels_N: Tensor) -> float:
        """Accuracy over videos, in 0..1."""
        return float((self.probabilities(features_NMD).argmax(dim=1) == labels_N).double().mean())


def fit_linear_probe(
    features_NMD: Tensor,
    labels_N: Tensor,
    groups: Sequence[str],
    *,
    num_classes: int,
    strengths: Sequence[float] = STRENGTHS,
) -> LinearProbe:
    """Fit a probe whose L2 strength is chosen within the training videos.

    The groups (actors, scenes) are dealt into 3 folds, and the strength is the one with the most held-out videos right;
    of equals, the strongest. No group is on both sides. Where fewer than half of the videos can be held out with
    their class still in another fold, nothing can be chosen and the strength is 0.01.

    Args:
        features_NMD: features of the clips of the labelled training videos.
        labels_N: their classes, 0..L-1.
        groups: the group of each video.
        num_classes: number of classes L.
        strengths: the grid.

    Raises:
        ValueError: there is no video or no strength, or labels and groups are not as many as the videos.
    """
    if features_NMD.ndim != 3 or not len(features_NMD) or not len(features_NMD) == len(labels_N) == len(groups):
        raise ValueError(
            f"features must have shape (N, M, D) with N of at least 1, and come with N labels and groups; got "
            f"{tuple(features_NMD.shape)}, {len(labels_N)} labels and {len(groups)} groups"
        )
    if not strengths:
        raise ValueError("strengths must name at least one L2 strength")
    strength = choose_strength(features_NMD, labels_N, groups, num_classes=num_classes, strengths=strengths)
    return _fit_path(features_NMD, labels_N, num_classes, [strength])[0]


def choose_strength(
    features_NMD: Tensor, labels_N: Tensor, groups: Sequence[str], *, num_classes: int, strengths: Sequence[float]
) -> float:
    """The L2 strength that tells the most videos of held-out groups; arguments as in `fit_linear_probe`."""
    grid = sorted(strengths, reverse=True)
    right = dict.fromkeys(grid, 0)
    judged = 0
    folds_N = torch.from_numpy(group_folds(groups, labels_N.cpu().numpy(), num_folds=NUM_FOLDS)).to(labels_N.device)
    for fold in range(NUM_FOLDS):
        train = folds_N != fold
        # A class that no other fold holds cannot be told, whatever the strength.
        held_out = ~train & torch.isin(labels_N, labels_N[train])
        if not held_out.any():
            continue
        judged += int(held_out.sum())
        for probe in _fit_path(features_NMD[train], labels_N[train], num_classes, grid):
            predicted = probe.probabilities(features_NMD[held_out]).argmax(dim=1)
            right[probe.strength] += int((predicted == labels_N[held_out]).sum())
    if 2 * judged < len(labels_N):
        return FIXED_STRENGTH
    return max(grid, key=lambda strength: (right[strength], strength))


def group_folds(groups: Sequence[str], labels_N: NDArray[np.int64], *, num_folds: int) -> NDArray[np.int64]:
    """Fold (N,) of each video: groups stay whole, and each class is spread over the folds as evenly as they allow.

    The groups, largest first, go where the videos of their classes are fewest.
    """
    names, group_of_N = np.unique(np.asarray(groups), return_inverse=True)
    counts_GL = np.zeros((len(names), int(labels_N.max()) + 1), dtype=np.int64)
    np.add.at(counts_GL, (group_of_N, labels_N), 1)
    held_FL = np.zeros((num_folds, counts_GL.shape[1]), dtype=np.int64)
    fold_of_group = np.zeros(len(names), dtype=np.int64)
    for group in np.argsort(-counts_GL.sum(axis=1), kind="stable"):
        met_F = held_FL @ counts_GL[group]
        fold = min(range(num_folds), key=lambda number: (met_F[number], held_FL[number].sum()))
        fold_of_group[group] = fold
        held_FL[fold] += counts_GL[group]
    folds_N: NDArray[np.int64] = fold_of_group[group_of_N]
    return folds_N


def _fit_path(
    features_NMD: Tensor, labels_N: Tensor, num_classes: int, strengths: Sequence[float]
) -> list[LinearProbe]:
    """Probes of several strengths, each started from the solution before it."""
    features_SD = features_NMD.flatten(0, 1).float()
    labels_S = labels_N.repeat_interleave(features_NMD.shape[1])
    mean_D, std_D = features_SD.mean(dim=0), features_SD.std(dim=0, unbiased=False)
    std_D = torch.where(std_D > 0, std_D, 1.0)  # a feature that never changes stays 0
    standardised_SD = (features_SD - mean_D) / std_D
    weight_DL = torch.zeros(features_SD.shape[1], num_classes, device=features_SD.device)
    bias_L = torch.zeros(num_classes, device=features_SD.device)
    probes = []
    for strength in strengths:
        weight_DL, bias_L = _minimise(standardised_SD, labels_S, weight_DL, bias_L, strength)
        probes.append(LinearProbe(mean_D, std_D, weight_DL, bias_L, strength))
    return probes


def _minimise(
    features_SD: Tensor, labels_S: Tensor, weight_DL: Tensor, bias_L: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    """Weights and bias at the minimum of mean cross-entropy + strength / 2 * |weights|^2, which is convex."""
    weight_DL, bias_L = weight_DL.clone().requires_grad_(), bias_L.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([weight_DL, bias_L], max_iter=_MOST_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(features_SD @ weight_DL + bias_L, labels_S) + strength / 2 * weight_DL.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weight_DL.detach(), bias_L.detach()
