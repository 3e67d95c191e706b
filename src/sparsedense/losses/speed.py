"""Speed: is this clip sparse or dense?

Shapes: N clips of both views together.
"""

import torch
from torch import nn
from torch.nn import functional as F


class SpeedLoss(nn.Module):
    """Cross-entropy of a clip's playback speed, averaged over both views (the paper's L_bin; METHOD section 3).

    The batch must hold both views mixed: with one view a batch, BatchNorm statistics give the answer away.
    """

    def forward(self, logits_N2: torch.Tensor, is_dense_N: torch.Tensor) -> torch.Tensor:
        """Scalar loss.

        Args:
            logits_N2: logits of the speed head; column 0 is sparse, column 1 dense.
            is_dense_N: true (or 1) where the clip is a dense one.

        Raises:
            ValueError: the shapes do not agree.
        """
        _check(logits_N2, is_dense_N)
        return F.cross_entropy(logits_N2.float(), is_dense_N.long())


def speed_accuracy(logits_N2: torch.Tensor, is_dense_N: torch.Tensor) -> torch.Tensor:
    """Share of the clips whose speed is told rightly, a scalar in [0, 1]; 0.5 is chance for two balanced views.

    Raises:
        ValueError: the shapes do not agree.
    """
    _check(logits_N2, is_dense_N)
    return (logits_N2.argmax(dim=1) == is_dense_N.long()).float().mean()


def _check(logits_N2: torch.Tensor, is_dense_N: torch.Tensor) -> None:
    if logits_N2.ndim != 2 or logits_N2.shape[1] != 2 or is_dense_N.shape != logits_N2.shape[:1]:
        shapes = f"{tuple(logits_N2.shape)} and {tuple(is_dense_N.shape)}"
        raise ValueError(f"speed logits and targets must have shapes (N, 2) and (N,), got {shapes}")
