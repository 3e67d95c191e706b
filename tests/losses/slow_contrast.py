"""Contrast losses written from their formulas, one vector and one candidate at a time."""

from collections.abc import Sequence

import torch

Vector = torch.Tensor


def cosine(a: Vector, b: Vector) -> Vector:
    lengths: Vector = torch.dot(a, a).sqrt() * torch.dot(b, b).sqrt()
    return torch.dot(a, b) / lengths


def cross_entropy(scores: Sequence[Vector], target: Sequence[float]) -> Vector:
    """-sum of target * log softmax(scores), both lists over the candidates."""
    total = torch.stack([score.exp() for score in scores]).sum()
    terms = [-share * (score.exp() / total).log() for score, share in zip(scores, target, strict=True)]
    return torch.stack(terms).sum()


def nt_xent(
    anchors: Sequence[Vector],
    positives: Sequence[Vector],
    own_view: Sequence[Vector],
    queue: Sequence[Vector],
    temperature: float,
) -> Vector:
    """One direction: anchor i against all positives, the others of its own view and the queue."""
    losses = []
    for i, anchor in enumerate(anchors):
        candidates = [*positives, *(key for j, key in enumerate(own_view) if j != i), *queue]
        scores = [cosine(anchor, candidate) / temperature for candidate in candidates]
        losses.append(cross_entropy(scores, [float(j == i) for j in range(len(candidates))]))
    return torch.stack(losses).mean()


def interval_weights(position: float, centres: Sequence[float]) -> list[float]:
    weights = [0.0] * len(centres)
    if position <= centres[0]:
        weights[0] = 1.0
    elif position >= centres[-1]:
        weights[-1] = 1.0
    else:
        for left in range(len(centres) - 1):
            if centres[left] <= position < centres[left + 1]:
                share = (position - centres[left]) / (centres[left + 1] - centres[left])
                weights[left], weights[left + 1] = 1.0 - share, share
    return weights


def alignment(
    dense: torch.Tensor,
    slices: torch.Tensor,
    weights: Sequence[Sequence[Sequence[float]]],
    temperature: float,
    *,
    across_videos: bool,
) -> Vector:
    """Both directions from dense embeddings `(B, D, E)` and slices `(B, K, E)`; weights by video, clip and interval."""
    num_videos, num_dense, num_slices = len(dense), dense.shape[1], slices.shape[1]
    of_dense, of_slices = [], []
    for video in range(num_videos):
        others = range(num_videos) if across_videos else [video]
        for clip in range(num_dense):
            places = [(other, k) for other in others for k in range(num_slices)]
            scores = [cosine(dense[video, clip], slices[place]) / temperature for place in places]
            target = [weights[video][clip][k] if other == video else 0.0 for other, k in places]
            of_dense.append(cross_entropy(scores, target))
        for k in range(num_slices):
            column = [weights[video][clip][k] for clip in range(num_dense)]
            if sum(column) > 0:
                places = [(other, clip) for other in others for clip in range(num_dense)]
                scores = [cosine(slices[video, k], dense[place]) / temperature for place in places]
                target = [column[clip] / sum(column) if other == video else 0.0 for other, clip in places]
                of_slices.append((sum(column), cross_entropy(scores, target)))
    total = sum(count for count, _ in of_slices)
    mean_of_slices = torch.stack([count / total * loss for count, loss in of_slices]).sum()
    return (torch.stack(of_dense).mean() + mean_of_slices) / 2
