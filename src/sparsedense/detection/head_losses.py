"""What a detection head is trained by: focal loss of the classes, distance-IoU of the segments.

Shapes: B videos, P positions, M points, L classes, N points with a segment to find.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsedense.detection.head import HeadOutput

_FOCAL_ALPHA, _FOCAL_GAMMA = 0.25, 2.0  # as published
_EPSILON = 1e-6


@dataclass(frozen=True)
class HeadTargetBatch:
    """Targets of a batch; see `HeadTargets`.

    Attributes:
        classes_BML: 1 where a point is told to find a segment of the class.
        distances_BM2: to the start and to the end, in positions.
        positive_BM: points with a segment to find.
        ignored_BM: points that count for nothing.
        position_labels_BP: class of each position, L for background; -1 where it is not known.
    """

    classes_BML: Tensor
    distances_BM2: Tensor
    positive_BM: Tensor
    ignored_BM: Tensor
    position_labels_BP: Tensor


@dataclass(frozen=True)
class HeadLoss:
    """The terms of the loss, each a scalar."""

    classes: Tensor
    distances: Tensor
    positions: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return self.classes + self.distances + self.positions


def head_loss(output: HeadOutput, targets: HeadTargetBatch, *, num_positive: float) -> HeadLoss:
    """Judge what a head says.

    Args:
        output: what it says.
        targets: what it should say.
        num_positive: points with a segment to find, as there are in a batch on average, that sums are divided by.
    """
    counts_BM = output.valid_BM & ~targets.ignored_BM
    classes = focal_loss(output.class_logits_BML[counts_BM], targets.classes_BML[counts_BM]).sum() / num_positive
    positive_BM = targets.positive_BM & output.valid_BM
    distances = distance_iou_loss(output.distances_BM2[positive_BM], targets.distances_BM2[positive_BM])
    logits_BAP = output.position_logits_BPA.transpose(1, 2)
    known = (targets.position_labels_BP >= 0).sum().clamp(min=1)
    positions = F.cross_entropy(logits_BAP, targets.position_labels_BP, ignore_index=-1, reduction="sum") / known
    return HeadLoss(classes, distances.sum() / num_positive, positions)


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each logit, that of the easy ones scaled down (Lin et al., ICCV 2017), with alpha 0.25, gamma 2.

    Args:
        logits: any shape; a sigmoid makes probabilities.
        targets: 0 or 1, of the same shape.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    true_probability = torch.exp(-cross_entropy)
    weight = _FOCAL_ALPHA * targets + (1 - _FOCAL_ALPHA) * (1 - targets)
    return weight * (1 - true_probability) ** _FOCAL_GAMMA * cross_entropy


def distance_iou_loss(distances_N2: Tensor, targets_N2: Tensor) -> Tensor:
    """1 - IoU + (distance of the middles / length of the hull)^2 of each segment (Zheng et al., AAAI 2020).

    Args:
        distances_N2: from a point that lies inside both, back to the start and on to the end of a segment.
        targets_N2: the same of the true one.

    Returns:
        of each segment (N,), in 0..2.
    """
    intersection = torch.minimum(distances_N2, targets_N2).sum(dim=1)
    union = distances_N2.sum(dim=1) + targets_N2.sum(dim=1) - intersection
    hull = torch.maximum(distances_N2, targets_N2).sum(dim=1)
    middles = ((distances_N2[:, 1] - distances_N2[:, 0]) - (targets_N2[:, 1] - targets_N2[:, 0])) / 2
    return 1 - intersection / (union + _EPSILON) + (middles / (hull + _EPSILON)) ** 2
