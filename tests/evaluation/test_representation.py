import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparsedense.evaluation import representation
from sparsedense.evaluation.representation import (
    alignment,
    effective_rank,
    feature_std,
    uniform_feature_std,
    uniformity,
)


def random_features(seed: int, samples: int, dim: int) -> Tensor:
    return torch.randn(samples, dim, generator=torch.Generator().manual_seed(seed))


def unit(row: Tensor) -> list[float]:
    length = math.sqrt(sum(float(x) ** 2 for x in row))
    return [float(x) / length for x in row]


def squared_distance(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


sizes = {"seed": st.integers(0, 10**6), "samples": st.integers(2, 12), "dim": st.integers(2, 8)}


@settings(deadline=None, max_examples=30)
@given(**sizes)
def test_alignment_and_uniformity_are_those_of_the_definitions(seed: int, samples: int, dim: int) -> None:
    first, second = random_features(seed, samples, dim), random_features(seed + 1, samples, dim)
    a, b = [unit(row) for row in first], [unit(row) for row in second]
    expected = sum(map(squared_distance, a, b)) / samples
    assert float(alignment(first, second)) == pytest.approx(expected, rel=1e-4)
    pairs = [math.exp(-2 * squared_distance(a[i], a[j])) for i in range(samples) for j in range(samples) if i != j]
    assert float(uniformity(first)) == pytest.approx(math.log(sum(pairs) / len(pairs)), abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(**sizes)
def test_the_standard_deviation_is_that_of_the_definition(seed: int, samples: int, dim: int) -> None:
    features = random_features(seed, samples, dim)
    columns = list(zip(*(unit(row) for row in features), strict=True))
    deviations = []
    for column in columns:
        mean = sum(column) / samples
        deviations.append(math.sqrt(sum((x - mean) ** 2 for x in column) / samples))
    assert float(feature_std(features)) == pytest.approx(sum(deviations) / dim, abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(**sizes)
def test_the_effective_rank_is_that_of_the_gram_matrix(seed: int, samples: int, dim: int) -> None:
    """The singular values are the roots of the eigenvalues of F F^T."""
    features = random_features(seed, samples, dim)
    eigenvalues = torch.linalg.eigvalsh(features.double() @ features.double().T).clamp_min(0)
    values = [math.sqrt(float(value)) for value in eigenvalues if value > 1e-10]
    shares = [value / sum(values) for value in values]
    expected = math.exp(-sum(share * math.log(share) for share in shares))
    rank = float(effective_rank(features))
    assert rank == pytest.approx(expected, rel=1e-3)
    assert 1 <= rank <= min(samples, dim) * 1.0001
    assert float(effective_rank(features * 7)) == pytest.approx(rank, rel=1e-4)


def test_orthogonal_features_have_full_rank() -> None:
    assert float(effective_rank(3 * torch.eye(6))) == pytest.approx(6, rel=1e-5)
    in_a_plane = torch.eye(6)[[0, 1, 0, 1]]
    assert float(effective_rank(in_a_plane)) == pytest.approx(2, rel=1e-4)


def test_a_collapsed_cloud_shows_in_every_figure() -> None:
    collapsed = random_features(0, 1, 16).expand(20, 16)
    assert float(effective_rank(collapsed)) == pytest.approx(1, abs=1e-3)
    assert float(feature_std(collapsed)) == pytest.approx(0, abs=1e-6)
    assert float(uniformity(collapsed)) == pytest.approx(0, abs=1e-5)
    assert float(alignment(collapsed, 2 * collapsed)) == pytest.approx(0, abs=1e-6)
    assert float(effective_rank(torch.zeros(4, 3))) == 1


@pytest.mark.parametrize("dim", [8, 128])
def test_features_spread_evenly_have_the_uniform_deviation(dim: int) -> None:
    features = random_features(1, 4000, dim)
    assert float(feature_std(features)) == pytest.approx(uniform_feature_std(dim), rel=0.02)
    assert uniform_feature_std(dim) == pytest.approx(dim**-0.5)


def test_orthogonal_pairs_have_a_uniformity_of_minus_four() -> None:
    assert float(uniformity(torch.eye(10))) == pytest.approx(-4, abs=1e-4)
    assert float(uniformity(torch.eye(10), scale=1.0)) == pytest.approx(-2, abs=1e-4)


def test_blocks_of_pairs_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    features = random_features(2, 23, 5)
    whole = float(uniformity(features))
    monkeypatch.setattr(representation, "_BLOCK_ROWS", 4)
    assert float(uniformity(features)) == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("figure", [feature_std, effective_rank, uniformity])
def test_one_sample_is_no_cloud(figure: object) -> None:
    assert callable(figure)
    with pytest.raises(ValueError, match=r"must have shape \(N, D\) with N of at least 2, got \(1, 3\)"):
        figure(torch.zeros(1, 3))


def test_the_two_clips_must_belong_together() -> None:
    with pytest.raises(ValueError, match=r"got \(3, 2\) and \(4, 2\)"):
        alignment(torch.zeros(3, 2), torch.zeros(4, 2))
