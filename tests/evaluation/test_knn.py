import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsedense.data.store import FrameStore
from sparsedense.evaluation.knn import knn_accuracy, knn_predict, nearest_neighbours
from tests.evaluation.colour_model import colour_recogniser, tiny_recogniser

Vectors = NDArray[np.float64]


def by_hand(gallery: Vectors, labels: NDArray[np.int64], query: Vectors, k: int, temperature: float) -> int:
    def cosine(a: Vectors, b: Vectors) -> float:
        return float(a @ b / math.sqrt(float(a @ a) * float(b @ b)))

    nearest = sorted(range(len(gallery)), key=lambda row: -cosine(gallery[row], query))[:k]
    votes = {
        label: sum(math.exp(cosine(gallery[row], query) / temperature) for row in nearest if labels[row] == label)
        for label in set(labels.tolist())
    }
    return int(max(votes, key=lambda label: votes[label]))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), gallery_size=st.integers(1, 30), k=st.integers(1, 30), dim=st.integers(2, 8))
def test_the_vote_is_that_of_a_search_by_hand(seed: int, gallery_size: int, k: int, dim: int) -> None:
    k = min(k, gallery_size)
    rng = np.random.default_rng(seed)
    gallery, queries = rng.normal(size=(gallery_size, dim)), rng.normal(size=(10, dim))
    labels = rng.integers(0, 4, gallery_size)
    predicted = knn_predict(*(torch.from_numpy(part) for part in (gallery, labels, queries)), k=k)
    assert predicted.tolist() == [by_hand(gallery, labels, query, k, 0.07) for query in queries]


def test_nearness_weighs_more_than_number() -> None:
    gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    query, labels = torch.tensor([[1.0, 0.5]]), torch.tensor([0, 1, 1])
    assert knn_predict(gallery, labels, query, k=3).tolist() == [0]
    assert knn_predict(gallery, labels, query, k=3, temperature=10.0).tolist() == [1]


def test_lengths_of_the_vectors_do_not_matter() -> None:
    torch.manual_seed(0)
    gallery, labels, queries = torch.randn(20, 5), torch.arange(20) % 3, torch.randn(9, 5)
    scaled = gallery * torch.rand(20, 1).add(0.1)
    assert torch.equal(knn_predict(gallery, labels, queries, k=4), knn_predict(scaled, labels, 7 * queries, k=4))


def test_neighbours_come_the_nearest_first_with_their_cosine() -> None:
    gallery, query = torch.tensor([[0.0, 2.0], [3.0, 0.0], [1.0, 1.0]]), torch.tensor([[5.0, 1.0]])
    nearest = nearest_neighbours(gallery, query, k=3)
    assert nearest.rows.tolist() == [[1, 2, 0]]
    expected = [5 / 26**0.5, 6 / 52**0.5, 1 / 26**0.5]
    assert nearest.similarities[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("k", [0, 4])
def test_k_must_fit_the_gallery(k: int) -> None:
    with pytest.raises(ValueError, match=rf"k \({k}\) must be in 1\.\.3"):
        knn_predict(torch.eye(3), torch.arange(3), torch.eye(3), k=k)


def test_features_that_tell_the_class_find_all_videos(squares: FrameStore) -> None:
    assert knn_accuracy(colour_recogniser(), squares, num_clips=1) == 1.0


def test_features_that_tell_nothing_do_not(squares: FrameStore) -> None:
    model = tiny_recogniser()
    model.register_module("encoder", _Blind())
    assert knn_accuracy(model, squares, num_clips=1) < 0.8


def test_a_store_without_queries_is_an_error(squares: FrameStore) -> None:
    with pytest.raises(ValueError, match=r"kNN needs labelled videos in the splits train \(12\) and unlabelled \(0\)"):
        knn_accuracy(tiny_recogniser(), squares, query_split="unlabelled")


class _Blind(torch.nn.Module):
    def forward(self, clips_BCTHW: torch.Tensor) -> torch.Tensor:
        noise = torch.Generator().manual_seed(len(clips_BCTHW))
        return torch.rand(len(clips_BCTHW), 4, 1, 1, 1, generator=noise)
