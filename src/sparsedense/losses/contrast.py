"""Instance contrast: two clips of one video agree with each other more than with those of any other video.

Shapes: B videos, Q keys of a queue, E embedding length, N vectors that are told apart.
"""

import math

import torch
from torch import nn

from sparsedense.losses.unit_vectors import unit_vectors


class InstanceContrastLoss(nn.Module):
    """NT-Xent between two views of B videos, the mean of both directions; optionally with keys and a queue.

    Candidates of the first view of a video: the second keys of all videos, its own being the positive; the first keys
    of the other videos; and the queue. Where no keys are given the embeddings are the keys, which is SimCLR; with those
    of a momentum encoder and a queue it is MoCo, with negatives of the batch besides.

    Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (SimCLR), ICML 2020
    (arXiv 2002.05709); He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (MoCo), CVPR 2020
    (arXiv 1911.05722).

    Args:
        temperature: of the softmax over cosine similarities; 0.1 in SimCLR, 0.07 in MoCo.

    Raises:
        ValueError: a temperature that is not above 0.
    """

    def __init__(self, *, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature ({temperature}) must be above 0")
        self.temperature = temperature

    def forward(
        self,
        first_BE: torch.Tensor,
        second_BE: torch.Tensor,
        *,
        first_keys_BE: torch.Tensor | None = None,
        second_keys_BE: torch.Tensor | None = None,
        queue_QE: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Scalar loss, the mean over videos and directions.

        Args:
            first_BE: embeddings of one clip of each video, of any length.
            second_BE: embeddings of another clip of the same videos.
            first_keys_BE: a momentum encoder's embeddings of the first clips; they get no gradient. None: `first_BE`.
            second_keys_BE: the same of the second clips.
            queue_QE: keys of other videos, of earlier batches; they get no gradient. Push this batch afterwards, else
                its positives are negatives too.

        Raises:
            ValueError: the shapes do not agree.
        """
        _check(first_BE, second_BE, first_keys_BE, second_keys_BE, queue_QE)
        with torch.autocast(device_type=first_BE.device.type, enabled=False):
            first, second = unit_vectors(first_BE), unit_vectors(second_BE)
            first_keys = first if first_keys_BE is None else unit_vectors(first_keys_BE.detach())
            second_keys = second if second_keys_BE is None else unit_vectors(second_keys_BE.detach())
            queue = None if queue_QE is None else unit_vectors(queue_QE.detach())
            forth_B = info_nce(first, second_keys, first_keys, queue_QE=queue, temperature=self.temperature)
            back_B = info_nce(second, first_keys, second_keys, queue_QE=queue, temperature=self.temperature)
            return (forth_B.mean() + back_B.mean()) / 2

    @staticmethod
    def guess(num_videos: int, queue_size: int = 0) -> float:
        """The loss where all embeddings are alike; `queue_size` counts the keys that are in the queue by now."""
        return math.log(2 * num_videos - 1 + queue_size)


def info_nce(
    anchors_NE: torch.Tensor,
    positives_NE: torch.Tensor,
    others_NE: torch.Tensor,
    *,
    temperature: float,
    queue_QE: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy of finding positive i for anchor i, `(..., N)`; leading dimensions are problems of their own.

    Args:
        anchors_NE: unit vectors, `(..., N, E)`.
        positives_NE: unit vectors, the same shape; those of the other anchors are negatives.
        others_NE: further negatives, the same shape; vector i is no candidate of anchor i, being of the same instance.
        temperature: that the similarities are divided by.
        queue_QE: further negatives of all anchors.
    """
    towards_positives_NN = anchors_NE @ positives_NE.mT
    towards_others_NN = anchors_NE @ others_NE.mT
    itself_NN = torch.eye(anchors_NE.shape[-2], dtype=torch.bool, device=anchors_NE.device)
    candidates = [towards_positives_NN, towards_others_NN.masked_fill(itself_NN, -torch.inf)]
    if queue_QE is not None:
        candidates.append(anchors_NE @ queue_QE.mT)
    positive_N = towards_positives_NN.diagonal(dim1=-2, dim2=-1)
    return (torch.cat(candidates, dim=-1) / temperature).logsumexp(dim=-1) - positive_N / temperature


def _check(
    first_BE: torch.Tensor,
    second_BE: torch.Tensor,
    first_keys_BE: torch.Tensor | None,
    second_keys_BE: torch.Tensor | None,
    queue_QE: torch.Tensor | None,
) -> None:
    views = [view for view in (first_BE, second_BE, first_keys_BE, second_keys_BE) if view is not None]
    if first_BE.ndim != 2 or any(view.shape != first_BE.shape for view in views):
        shapes = ", ".join(str(tuple(view.shape)) for view in views)
        raise ValueError(f"embeddings and keys must have the same shape (B, E), got {shapes}")
    if queue_QE is not None and (queue_QE.ndim != 2 or queue_QE.shape[1] != first_BE.shape[1]):
        raise ValueError(f"the queue must have shape (Q, {first_BE.shape[1]}), got {tuple(queue_QE.shape)}")
