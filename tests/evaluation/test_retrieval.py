import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.evaluation.knn import knn_share_right
from sparsedense.evaluation.retrieval import RANKS, retrieval


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), gallery_size=st.integers(1, 60), dim=st.integers(2, 6))
def test_recall_is_that_of_a_search_by_hand_and_grows_with_k(seed: int, gallery_size: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    gallery, queries = rng.normal(size=(gallery_size, dim)), rng.normal(size=(12, dim))
    labels, query_labels = rng.integers(0, 5, gallery_size), rng.integers(0, 5, 12)
    found = retrieval(*(torch.from_numpy(part) for part in (gallery, labels, queries, query_labels)))

    def cosine(row: int, query: int) -> float:
        a, b = gallery[row], queries[query]
        return float(a @ b / max(math.sqrt(float(a @ a) * float(b @ b)), 1e-12))

    assert list(found) == [f"r{k}" for k in RANKS if k <= gallery_size]
    for k in (k for k in RANKS if k <= gallery_size):
        hits = 0
        for query, label in enumerate(query_labels):
            nearest = sorted(range(gallery_size), key=lambda row, query=query: -cosine(row, query))[:k]  # type: ignore[misc]
            hits += any(labels[row] == label for row in nearest)
        assert found[f"r{k}"] == pytest.approx(hits / len(query_labels))
    assert list(found.values()) == sorted(found.values())


def test_the_first_rank_is_the_nearest_neighbour() -> None:
    torch.manual_seed(0)
    parts = torch.randn(30, 4), torch.arange(30) % 3, torch.randn(20, 4), torch.arange(20) % 3
    assert retrieval(*parts)["r1"] == pytest.approx(knn_share_right(*parts, k=1))


def test_the_whole_gallery_holds_every_class() -> None:
    torch.manual_seed(0)
    found = retrieval(torch.randn(9, 4), torch.arange(9) % 3, torch.randn(5, 4), torch.arange(5) % 3, ranks=(1, 9, 10))
    assert found["r9"] == 1
    assert "r10" not in found


@pytest.mark.parametrize("ranks", [(0, 1), (4, 5), ()])
def test_ranks_must_fit(ranks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 1, and one at most the gallery's 3"):
        retrieval(torch.eye(3), torch.arange(3), torch.eye(3), torch.arange(3), ranks=ranks)
