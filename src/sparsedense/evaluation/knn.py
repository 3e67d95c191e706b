"""k nearest neighbours on frozen features: what a representation knows before any label has touched it.

Shapes: G gallery videos, Q query videos, D features.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsedense.data.store import FrameStore
from sparsedense.evaluation.inference import video_features
from sparsedense.models.recogniser import Recogniser


class Neighbours(NamedTuple):
    """The k most similar gallery vectors of each query, the nearest first: cosine and row, both (Q, k)."""

    similarities: Tensor
    rows: Tensor


def nearest_neighbours(gallery_GD: Tensor, queries_QD: Tensor, *, k: int) -> Neighbours:
    """The k gallery vectors most similar to each query (cosine).

    Raises:
        ValueError: k is not in 1..G.
    """
    if not 1 <= k <= len(gallery_GD):
        raise ValueError(f"k ({k}) must be in 1..{len(gallery_GD)}, the number of gallery videos")
    similarity_QG = F.normalize(queries_QD, dim=1) @ F.normalize(gallery_GD, dim=1).T
    nearest = similarity_QG.topk(k, dim=1)
    return Neighbours(nearest.values, nearest.indices)


def knn_predict(
    gallery_GD: Tensor, gallery_labels_G: Tensor, queries_QD: Tensor, *, k: int = 1, temperature: float = 0.07
) -> Tensor:
    """Labels (Q,) by a vote of the k most similar gallery vectors (cosine), weighted by exp(similarity / temperature).

    Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018.

    Raises:
        ValueError: k is not in 1..G.
    """
    nearest = nearest_neighbours(gallery_GD, queries_QD, k=k)
    weights_QK = (nearest.similarities / temperature).exp()
    votes_QL = weights_QK.new_zeros(len(queries_QD), int(gallery_labels_G.max()) + 1)
    votes_QL.scatter_add_(1, gallery_labels_G[nearest.rows], weights_QK)
    return votes_QL.argmax(dim=1)


def knn_share_right(
    gallery_GD: Tensor, gallery_labels_G: Tensor, queries_QD: Tensor, query_labels_Q: Tensor, *, k: int = 1
) -> float:
    """Share of the queries whose k nearest gallery videos tell their class.

    Raises:
        ValueError: k is not in 1..G.
    """
    predicted_Q = knn_predict(gallery_GD, gallery_labels_G, queries_QD, k=k)
    return float((predicted_Q == query_labels_Q).double().mean())


def knn_accuracy(
    model: Recogniser, store: FrameStore, *, query_split: str = "test", k: int = 1, num_clips: int = 3
) -> float:
    """Share of the videos of a split whose nearest labelled training videos tell their class.

    Raises:
        ValueError: the store has no labelled training videos or none in the query split.
    """
    gallery, queries = store.videos(split="train", labelled=True), store.videos(split=query_split, labelled=True)
    if not len(gallery) or not len(queries):
        raise ValueError(
            f"{store.path}: kNN needs labelled videos in the splits train ({len(gallery)}) and "
            f"{query_split} ({len(queries)})"
        )
    return knn_share_right(
        video_features(model, store, gallery, num_clips=num_clips),
        torch.from_numpy(store.label_ids[gallery]),
        video_features(model, store, queries, num_clips=num_clips),
        torch.from_numpy(store.label_ids[queries]),
        k=k,
    )
