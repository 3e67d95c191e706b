"""Classification of labelled clips in batches that also hold unlabelled ones.

Shapes: B clips, N classes.
"""

import torch
from torch import nn
from torch.nn import functional as F

UNLABELLED = -1


class ClassificationLoss(nn.Module):
    """Cross-entropy over the labelled clips of a batch (L_cls of Dave et al., 2020).

    A batch without any label gives a zero that is still connected to the logits, so that `backward` works and, in
    distributed training, every parameter takes part.

    Args:
        label_smoothing: share of the target spread over all classes; 0 in the paper.

    Raises:
        ValueError: label_smoothing outside [0, 1).
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing ({label_smoothing}) must be in [0, 1)")
        self.label_smoothing = label_smoothing

    def forward(self, logits_BN: torch.Tensor, label_ids_B: torch.Tensor) -> torch.Tensor:
        """Scalar loss.

        Args:
            logits_BN: logits of the classifier.
            label_ids_B: 0 <= label < N, or -1 where unknown.

        Raises:
            ValueError: the shapes do not agree.
        """
        if logits_BN.ndim != 2 or label_ids_B.shape != logits_BN.shape[:1]:
            shapes = f"{tuple(logits_BN.shape)} and {tuple(label_ids_B.shape)}"
            raise ValueError(f"logits and labels must have shapes (B, N) and (B,), got {shapes}")
        total = F.cross_entropy(
            logits_BN.float(),
            label_ids_B,
            ignore_index=UNLABELLED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        # A division by the number of labels, not torch's mean, which is 0 / 0 where there is none.
        num_labelled = (label_ids_B != UNLABELLED).sum().clamp_min(1)
        return total / num_labelled
