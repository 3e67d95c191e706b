"""Alignment: the embedding of a dense clip belongs to the interval of its video in which the clip lies.

A sparse clip spans a whole video and its feature map has K temporal slices. Where a dense clip lies is known, so which
slice shows the same action at the same time is known too: the target needs no labels and no RGB similarities.

    slices        |    S0    |    S1    |    S2    |    S3    |      K = 4 intervals; a centre in the middle of each
    dense clip                        |D|
    target             0         .4   .6      0                      linear between the centres of S1 and S2

Shapes: B videos, D dense clips a video, K intervals, E embedding length.
"""

import math

import torch
from torch import nn

from sparsedense.losses.contrast import info_nce
from sparsedense.losses.unit_vectors import unit_vectors


def interval_weights(dense_positions_BD: torch.Tensor, interval_positions_BK: torch.Tensor) -> torch.Tensor:
    """How much each dense clip belongs to each interval of its video, `(B, D, K)` of float32; rows sum to 1.

    Linear between the two neighbouring interval centres; before the first and behind the last centre the outer interval
    gets 1.

    Args:
        dense_positions_BD: positions of the centres of the dense clips in the video, in frames.
        interval_positions_BK: positions of the interval centres, in frames, increasing.

    Raises:
        ValueError: the shapes do not agree.
    """
    dense, intervals = tuple(dense_positions_BD.shape), tuple(interval_positions_BK.shape)
    if len(dense) != 2 or len(intervals) != 2 or dense[0] != intervals[0] or intervals[1] < 1:
        raise ValueError(f"dense and interval positions must have shapes (B, D) and (B, K), got {dense}, {intervals}")
    centres_BK = interval_positions_BK.float().contiguous()
    weights_BDK = centres_BK.new_zeros(*dense, intervals[1])
    if intervals[1] == 1:
        return weights_BDK + 1
    inside_BD = dense_positions_BD.float().clamp(centres_BK[:, :1], centres_BK[:, -1:])
    right_BD = torch.searchsorted(centres_BK, inside_BD.contiguous()).clamp(1, intervals[1] - 1)
    start_BD, end_BD = centres_BK.gather(1, right_BD - 1), centres_BK.gather(1, right_BD)
    share_BD = (inside_BD - start_BD) / (end_BD - start_BD)
    weights_BDK.scatter_(2, (right_BD - 1)[:, :, None], 1 - share_BD[:, :, None])
    return weights_BDK.scatter_(2, right_BD[:, :, None], share_BD[:, :, None])


class AlignmentLoss(nn.Module):
    """Soft cross-entropy between dense clips and the slices of sparse clips, the mean of both directions.

    A dense clip must find its interval among all slices, and a slice its dense clips among all dense clips. A slice
    counts by the sum of its weights: one that no dense clip is near says nothing. With one dense clip a video the
    second direction asks in which video a slice lies. The target of a clip between two centres is soft, so the
    smallest loss is the entropy of the targets, not 0.

    Dave et al., "TCLR: Temporal Contrastive Learning for Video Representation", CVIU 2022 (arXiv 2101.07974), whose
    global-local loss has K dense clips a video, one in each interval, and candidates of the own video only.

    Args:
        temperature: of the softmax over cosine similarities; 0.1 in TCLR.
        across_videos: whether the clips and slices of the other videos are candidates too; false in TCLR.

    Raises:
        ValueError: a temperature that is not above 0.
    """

    def __init__(self, *, temperature: float = 0.1, across_videos: bool = True) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature ({temperature}) must be above 0")
        self.temperature = temperature
        self.across_videos = across_videos

    def forward(
        self,
        dense_BDE: torch.Tensor,
        slices_BKE: torch.Tensor,
        dense_positions_BD: torch.Tensor,
        interval_positions_BK: torch.Tensor,
    ) -> torch.Tensor:
        """Scalar loss, the mean over the dense clips.

        Args:
            dense_BDE: embeddings of the dense clips, of any length.
            slices_BKE: embeddings of the slices of the sparse maps, of any length.
            dense_positions_BD: positions of the centres of the dense clips in the video, in frames.
            interval_positions_BK: positions of the interval centres, in frames, increasing.

        Raises:
            ValueError: the shapes do not agree.
        """
        _check_embeddings(dense_BDE, slices_BKE, dense_positions_BD, interval_positions_BK)
        weights_BDK = interval_weights(dense_positions_BD, interval_positions_BK)
        with torch.autocast(device_type=dense_BDE.device.type, enabled=False):
            own_BDK, of_dense_BD, of_slice_BK = self._logits(unit_vectors(dense_BDE), unit_vectors(slices_BKE))
            # A slice's target is its column of weights over their sum, and it counts by that sum: what is left are the
            # weights themselves, which so serve both directions.
            loss_BDK = (of_dense_BD[:, :, None] + of_slice_BK[:, None, :]) / 2 - own_BDK
            return (weights_BDK * loss_BDK).sum() / of_dense_BD.numel()

    def guess(self, num_videos: int, num_dense: int, num_intervals: int) -> float:
        """The loss where all embeddings are alike: B videos of D dense clips and K intervals each."""
        videos = num_videos if self.across_videos else 1
        return (math.log(videos * num_intervals) + math.log(videos * num_dense)) / 2

    def _logits(
        self, dense_BDE: torch.Tensor, slices_BKE: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits within each video, and the log of the sum over all candidates of each dense clip and each slice."""
        if not self.across_videos:
            own_BDK = dense_BDE @ slices_BKE.mT / self.temperature
            return own_BDK, own_BDK.logsumexp(dim=2), own_BDK.logsumexp(dim=1)
        logits_BDBK = torch.einsum("bde,cke->bdck", dense_BDE, slices_BKE) / self.temperature
        own_BDK = logits_BDBK.diagonal(dim1=0, dim2=2).permute(2, 0, 1)
        return own_BDK, logits_BDBK.flatten(2).logsumexp(dim=2), logits_BDBK.flatten(0, 1).logsumexp(dim=0)


class LocalContrastLoss(nn.Module):
    """Two clips of the same interval agree, clips of other intervals of the same video do not (TCLR's local-local).

    NT-Xent within each video: the candidates of a clip are the K clips of the other view, its positive among them, and
    the K - 1 others of its own view. The mean of both directions. Source: as for `AlignmentLoss`.

    Args:
        temperature: of the softmax over cosine similarities; 0.1 in TCLR.

    Raises:
        ValueError: a temperature that is not above 0.
    """

    def __init__(self, *, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature ({temperature}) must be above 0")
        self.temperature = temperature

    def forward(self, first_BKE: torch.Tensor, second_BKE: torch.Tensor) -> torch.Tensor:
        """Scalar loss, the mean over videos, intervals and directions.

        Args:
            first_BKE: embeddings of one clip of each interval, of any length.
            second_BKE: embeddings of another clip, or another augmentation, of the same intervals.

        Raises:
            ValueError: the shapes do not agree.
        """
        if first_BKE.ndim != 3 or first_BKE.shape != second_BKE.shape:
            shapes = f"{tuple(first_BKE.shape)} and {tuple(second_BKE.shape)}"
            raise ValueError(f"both embeddings must have the same shape (B, K, E), got {shapes}")
        with torch.autocast(device_type=first_BKE.device.type, enabled=False):
            first, second = unit_vectors(first_BKE), unit_vectors(second_BKE)
            forth = info_nce(first, second, first, temperature=self.temperature)
            back = info_nce(second, first, second, temperature=self.temperature)
            return (forth.mean() + back.mean()) / 2

    @staticmethod
    def guess(num_intervals: int) -> float:
        """The loss where all embeddings are alike."""
        return math.log(2 * num_intervals - 1)


def _check_embeddings(
    dense_BDE: torch.Tensor,
    slices_BKE: torch.Tensor,
    dense_positions_BD: torch.Tensor,
    interval_positions_BK: torch.Tensor,
) -> None:
    dense, slices = tuple(dense_BDE.shape), tuple(slices_BKE.shape)
    if len(dense) != 3 or len(slices) != 3 or dense[::2] != slices[::2]:
        raise ValueError(f"dense and slice embeddings must have shapes (B, D, E) and (B, K, E), got {dense}, {slices}")
    positions = tuple(dense_positions_BD.shape), tuple(interval_positions_BK.shape)
    if positions != (dense[:2], slices[:2]):
        got = f"got {positions[0]} and {positions[1]}"
        raise ValueError(f"dense and interval positions must have shapes {dense[:2]} and {slices[:2]}, {got}")
