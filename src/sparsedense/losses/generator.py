"""Generator: from the sparse clip's map the dense map of every interval is predicted.

The future work that the paper names (Dave et al., 2020): no temporal pooling, all dense clips that span the video are
encoded, and generated and real maps are compared interval by interval.

Shapes: B videos, K intervals, C channels, T temporal positions of a dense map, H x W spatial ones.
"""

import torch
from torch import nn

from sparsedense.losses.unit_vectors import unit_vectors


class GeneratorLoss(nn.Module):
    """1 - cosine similarity over the channels at every position of every interval; the real maps are fixed targets.

    Directions rather than distances: the scale of the maps drifts with the weights, and a small map would be a cheap
    target. Where a real map is 0 in all channels it has no direction; that position costs 1 and gives no gradient. Let
    a teacher encode the targets (`models.teacher`): nothing in this loss holds off collapse.
    """

    def forward(self, predicted_BKCTHW: torch.Tensor, target_BKCTHW: torch.Tensor) -> torch.Tensor:
        """Scalar loss in [0, 2], the mean over the intervals; for the arguments see `per_interval`."""
        return self.per_interval(predicted_BKCTHW, target_BKCTHW).mean()

    def per_interval(self, predicted_BKCTHW: torch.Tensor, target_BKCTHW: torch.Tensor) -> torch.Tensor:
        """Loss of each interval, `(K,)`, each in [0, 2].

        Args:
            predicted_BKCTHW: dense maps that were predicted from the sparse maps.
            target_BKCTHW: real dense maps; they get no gradient.

        Raises:
            ValueError: the shapes do not agree.
        """
        if predicted_BKCTHW.ndim != 6 or predicted_BKCTHW.shape != target_BKCTHW.shape:
            shapes = f"{tuple(predicted_BKCTHW.shape)} and {tuple(target_BKCTHW.shape)}"
            raise ValueError(f"predicted and real maps must have the same shape (B, K, C, T, H, W), got {shapes}")
        # No product of matrices and no convolution: autocast lowers nothing here.
        cosine_BKTHW = (unit_vectors(predicted_BKCTHW, dim=2) * unit_vectors(target_BKCTHW.detach(), dim=2)).sum(dim=2)
        return 1 - cosine_BKTHW.mean(dim=(0, 2, 3, 4))

    @staticmethod
    def guess() -> float:
        """The loss of directions that have nothing to do with the targets'."""
        return 1.0
