"""Retrieval: is a video of the same class among the k gallery videos most similar to a query?

Shapes: G gallery videos, Q query videos, D features.
"""

from collections.abc import Sequence

from torch import Tensor

from sparsedense.evaluation.knn import nearest_neighbours

RANKS = (1, 5, 10, 20, 50)


def retrieval(
    gallery_GD: Tensor,
    gallery_labels_G: Tensor,
    queries_QD: Tensor,
    query_labels_Q: Tensor,
    *,
    ranks: Sequence[int] = RANKS,
) -> dict[str, float]:
    """R@k by cosine: share of the queries with a video of their class among the k nearest gallery videos.

    The protocol of clip retrieval on UCF101 (Xu et al., "Self-supervised Spatiotemporal Learning via Video Clip Order
    Prediction", CVPR 2019): train videos are the gallery, test videos the queries, features averaged over 10 clips.

    Args:
        gallery_GD: features of the gallery.
        gallery_labels_G: their classes.
        queries_QD: features of the queries.
        query_labels_Q: their classes.
        ranks: the values of k; one larger than the gallery is left out.

    Returns:
        the shares, in 0..1, by `r1`, `r5`, ...

    Raises:
        ValueError: a rank is below 1, or no rank fits the gallery.
    """
    fitting = [k for k in ranks if k <= len(gallery_GD)]
    if not fitting or min(fitting) < 1:
        raise ValueError(f"ranks ({list(ranks)}) must be at least 1, and one at most the gallery's {len(gallery_GD)}")
    nearest = nearest_neighbours(gallery_GD, queries_QD, k=max(fitting))
    same_class_QK = gallery_labels_G[nearest.rows] == query_labels_Q[:, None]
    return {f"r{k}": float(same_class_QK[:, :k].any(dim=1).double().mean()) for k in fitting}
