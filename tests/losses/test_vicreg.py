import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.losses.vicreg import VICRegLoss

SEEDS = st.integers(0, 10_000)
COLLAPSED = 25 * (1 - math.sqrt(1e-4))  # the published weight times what a deviation of 0 lacks to 1

LAW = settings(deadline=None, max_examples=50)  # the first call of an operator may take a second


def views(seed: int = 0, *, videos: int = 6, length: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = torch.randn(2, videos, length, generator=torch.Generator().manual_seed(seed)) * 0.8
    return first, second


def decorrelated() -> torch.Tensor:
    """8 videos in 7 dimensions of unit variance and no covariance: a Hadamard matrix without its constant column."""
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    return torch.kron(pair, torch.kron(pair, pair))[:, 1:] * math.sqrt(7 / 8)


def slow_vicreg(first: list[list[float]], second: list[list[float]], weights: tuple[float, float, float]) -> float:
    videos, length = len(first), len(first[0])
    distance = sum((first[b][e] - second[b][e]) ** 2 for b in range(videos) for e in range(length)) / videos / length
    hinge = squares = 0.0
    for view in (first, second):
        means = [sum(row[e] for row in view) / videos for e in range(length)]
        for e in range(length):
            for f in range(length):
                covariance = sum((row[e] - means[e]) * (row[f] - means[f]) for row in view) / (videos - 1)
                if e == f:
                    hinge += max(0.0, 1 - math.sqrt(covariance + 1e-4)) / length / 2
                else:
                    squares += covariance**2 / length
    return weights[0] * distance + weights[1] * hinge + weights[2] * squares


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("videos", [2, 3, 9])
@pytest.mark.parametrize("length", [1, 5])
def test_value_is_the_slow_references(weights: tuple[float, float, float], videos: int, length: int) -> None:
    first, second = views(videos, videos=videos, length=length)
    loss = VICRegLoss(invariance=weights[0], variance=weights[1], covariance=weights[2])
    expected = slow_vicreg(first.double().tolist(), second.double().tolist(), weights)
    assert loss(first, second).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_equal_decorrelated_embeddings_of_unit_variance_cost_nothing() -> None:
    embeddings = decorrelated()
    assert VICRegLoss()(embeddings, embeddings).item() == pytest.approx(0.0, abs=1e-5)
    assert VICRegLoss()(embeddings, embeddings.roll(1, dims=0)).item() > 1.0
    assert VICRegLoss()(embeddings / 2, embeddings / 2).item() == pytest.approx(25 * 0.5, rel=1e-3)
    twins = torch.cat([embeddings, embeddings], dim=1)  # each dimension has one other with covariance 1
    assert VICRegLoss()(twins, twins).item() == pytest.approx(2.0, abs=1e-4)


def test_collapse_costs_the_whole_hinge() -> None:
    constant = torch.full((5, 4), 3.0)
    assert VICRegLoss()(constant, constant).item() == pytest.approx(COLLAPSED, rel=1e-5)


@LAW
@given(SEEDS)
def test_order_of_videos_dimensions_and_views_and_a_shift_do_not_matter(seed: int) -> None:
    first, second = views(seed)
    generator = torch.Generator().manual_seed(seed)
    videos, dims = torch.randperm(6, generator=generator), torch.randperm(4, generator=generator)
    moved = [view[videos][:, dims] + 2.0 for view in (second, first)]
    torch.testing.assert_close(VICRegLoss()(*moved), VICRegLoss()(first, second), rtol=1e-4, atol=1e-4)


@LAW
@given(SEEDS, st.booleans())
def test_gradient_is_finite_and_reaches_both_views(seed: int, collapsed: bool) -> None:
    first, second = (torch.zeros_like(view) + view * (not collapsed) for view in views(seed))
    second = second + 0.1
    leaves = [first.requires_grad_(), second.detach().requires_grad_()]
    torch.autograd.backward(VICRegLoss()(*leaves))
    for leaf in leaves:
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().sum() > 0


def test_autocast_does_not_lower_the_precision() -> None:
    first, second = views()
    with torch.autocast("cpu", torch.bfloat16):
        lowered = VICRegLoss()(first, second)
    assert torch.equal(lowered, VICRegLoss()(first, second))
    assert VICRegLoss()(first.bfloat16(), second.bfloat16()).dtype == torch.float32


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"variance \(-1.0\) must be at least 0"):
        VICRegLoss(variance=-1.0)
    with pytest.raises(ValueError, match=r"at least 2 videos a batch, got embeddings of shapes \(1, 4\) and \(1, 4\)"):
        VICRegLoss()(torch.zeros(1, 4), torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"same shape \(B, E\), got \(3, 4\) and \(3, 5\)"):
        VICRegLoss()(torch.zeros(3, 4), torch.zeros(3, 5))
