import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.losses.speed import SpeedLoss, SpeedRankingLoss, ranking_accuracy, speed_accuracy

LAW = settings(deadline=None, max_examples=50)  # the first call of an operator may take a second


def ranked(seed: int = 0, *, videos: int = 5, clips: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and strides in frames; some clips of a video are equally fast."""
    generator = torch.Generator().manual_seed(seed)
    strides = torch.tensor([1.75, 3.5, 7.0])[torch.randint(3, (videos, clips), generator=generator)]
    return torch.randn(videos, clips, generator=generator), strides


def slow_pairs(scores: torch.Tensor, speeds: torch.Tensor) -> list[float]:
    """By how much the faster clip's score is above the slower one's, for all pairs of one video."""
    leads = []
    for row, strides in zip(scores.double().tolist(), speeds.tolist(), strict=True):
        for score, stride in zip(row, strides, strict=True):
            leads += [score - other for other, slower in zip(row, strides, strict=True) if stride > slower]
    return leads


def test_loss_is_the_mean_binary_cross_entropy_of_both_views() -> None:
    torch.manual_seed(0)
    logits, is_dense = torch.randn(8, 2), torch.tensor([True, False] * 4)
    slow = 0.0
    for (sparse, dense), is_dense_one in zip(logits.tolist(), is_dense.tolist(), strict=True):
        probability_dense = 1 / (1 + math.exp(sparse - dense))
        slow -= math.log(probability_dense if is_dense_one else 1 - probability_dense) / 8
    assert SpeedLoss()(logits, is_dense).item() == pytest.approx(slow, rel=1e-5)
    assert SpeedLoss()(logits, is_dense.long()).item() == pytest.approx(slow, rel=1e-5)


def test_no_knowledge_costs_ln_2_and_gets_half_right() -> None:
    logits, is_dense = torch.zeros(10, 2), torch.tensor([True, False] * 5)
    assert SpeedLoss()(logits, is_dense).item() == pytest.approx(math.log(2))
    assert speed_accuracy(logits, is_dense).item() == 0.5


def test_column_one_is_dense() -> None:
    logits = torch.tensor([[0.0, 9.0], [9.0, 0.0], [0.0, 9.0], [0.0, 9.0]])
    is_dense = torch.tensor([True, False, True, False])
    assert speed_accuracy(logits, is_dense).item() == 0.75
    assert SpeedLoss()(logits[:3], is_dense[:3]) < 0.01


def test_loss_is_float32_and_moves_the_logits() -> None:
    logits = torch.zeros(2, 2, dtype=torch.bfloat16, requires_grad=True)
    loss = SpeedLoss()(logits, torch.tensor([True, False]))
    assert loss.dtype == torch.float32
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad.float(), torch.tensor([[0.25, -0.25], [-0.25, 0.25]]))


@pytest.mark.parametrize(("logits", "targets"), [((4, 3), (4,)), ((4, 2), (3,)), ((4,), (4,))])
def test_wrong_shapes_are_named(logits: tuple[int, ...], targets: tuple[int, ...]) -> None:
    for function in (SpeedLoss(), speed_accuracy):
        with pytest.raises(ValueError, match=r"must have shapes \(N, 2\) and \(N,\), got"):
            function(torch.zeros(logits), torch.zeros(targets, dtype=torch.bool))


@pytest.mark.parametrize("num_speeds", [2, 3, 5])
def test_loss_of_many_speeds_is_the_mean_negative_log_probability(num_speeds: int) -> None:
    torch.manual_seed(num_speeds)
    logits, speeds = torch.randn(9, num_speeds), torch.arange(9) % num_speeds
    slow = 0.0
    for row, speed in zip(logits.double().tolist(), speeds.tolist(), strict=True):
        slow -= math.log(math.exp(row[speed]) / sum(math.exp(value) for value in row)) / 9
    assert SpeedLoss()(logits, speeds).item() == pytest.approx(slow, rel=1e-5)
    right = sum(row.index(max(row)) == speed for row, speed in zip(logits.tolist(), speeds.tolist(), strict=True))
    assert speed_accuracy(logits, speeds).item() == pytest.approx(right / 9)
    assert SpeedLoss()(torch.zeros(9, num_speeds), speeds).item() == pytest.approx(SpeedLoss.guess(num_speeds))


def test_truth_values_are_for_two_speeds_only() -> None:
    for targets, shape in ((torch.zeros(4, dtype=torch.bool), r"\(N, 2\)"), (torch.zeros(3), r"\(N, S\)")):
        with pytest.raises(ValueError, match=rf"must have shapes {shape} and \(N,\), got \(4, 3\)"):
            SpeedLoss()(torch.zeros(4, 3), targets)
    with pytest.raises(ValueError, match=r"got \(4, 1\) and \(4,\)"):
        SpeedLoss()(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("margin", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("clips", [2, 4])
def test_ranking_value_and_accuracy_are_the_slow_references(margin: float, clips: int) -> None:
    scores, speeds = ranked(clips, clips=clips)
    leads = slow_pairs(scores, speeds)
    slow = sum(math.log(1 + math.exp(margin - lead)) for lead in leads) / len(leads)
    assert SpeedRankingLoss(margin=margin)(scores, speeds).item() == pytest.approx(slow, rel=1e-5)
    right = sum(lead > 0 for lead in leads) / len(leads)
    assert ranking_accuracy(scores, speeds).item() == pytest.approx(right)


@LAW
@given(st.integers(0, 10_000), st.floats(-10, 10), st.floats(0.1, 10))
def test_ranking_knows_no_order_of_videos_or_clips_and_no_level_of_scores(seed: int, level: float, unit: float) -> None:
    scores, speeds = ranked(seed)
    generator = torch.Generator().manual_seed(seed)
    videos, clips = torch.randperm(5, generator=generator), torch.randperm(4, generator=generator)
    moved = (scores + level * torch.arange(5)[:, None])[videos][:, clips], (speeds * unit)[videos][:, clips]
    loss = SpeedRankingLoss(margin=0.3)
    torch.testing.assert_close(loss(*moved), loss(scores, speeds), rtol=1e-4, atol=1e-4)


@LAW
@given(st.integers(0, 10_000))
def test_ranking_of_reversed_scores_is_right_where_the_other_is_wrong(seed: int) -> None:
    scores, speeds = ranked(seed)
    both = ranking_accuracy(scores, speeds) + ranking_accuracy(-scores, speeds)
    assert both.item() == pytest.approx(1.0)
    assert ranking_accuracy(speeds, speeds).item() == 1.0
    near, far = (SpeedRankingLoss()(speeds * scale, speeds).item() for scale in (5.0, 0.5))
    assert 0 < near < far < SpeedRankingLoss().guess()


@pytest.mark.parametrize("margin", [0.0, 1.5])
def test_equal_scores_cost_the_guess_and_are_half_right(margin: float) -> None:
    _, speeds = ranked()
    loss = SpeedRankingLoss(margin=margin)
    assert loss(torch.full((5, 4), 3.0), speeds).item() == pytest.approx(loss.guess())
    assert ranking_accuracy(torch.full((5, 4), 3.0), speeds).item() == 0.5
    assert SpeedRankingLoss().guess() == pytest.approx(math.log(2))


def test_gradient_lifts_the_faster_clip() -> None:
    scores = torch.zeros(1, 3, requires_grad=True)
    torch.autograd.backward(SpeedRankingLoss()(scores, torch.tensor([[4.0, 2.0, 2.0]])))
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad, torch.tensor([[-0.5, 0.25, 0.25]]))


@pytest.mark.parametrize("shape", [(3, 2), (3, 1)])
def test_without_a_pair_the_loss_is_a_zero_that_is_still_connected(shape: tuple[int, int]) -> None:
    scores = torch.randn(shape, requires_grad=True)
    loss = SpeedRankingLoss(margin=1.0)(scores, torch.full(shape, 2.0))
    assert loss.item() == 0.0
    loss.backward()
    assert scores.grad is not None
    assert torch.equal(scores.grad, torch.zeros(shape))
    assert ranking_accuracy(scores, torch.full(shape, 2.0)).item() == 0.5


def test_ranking_is_float32_and_names_wrong_arguments() -> None:
    scores, speeds = ranked()
    assert SpeedRankingLoss()(scores.bfloat16(), speeds).dtype == torch.float32
    with pytest.raises(ValueError, match=r"margin \(-0.1\) must be at least 0"):
        SpeedRankingLoss(margin=-0.1)
    for function in (SpeedRankingLoss(), ranking_accuracy):
        with pytest.raises(ValueError, match=r"same shape \(B, V\), got \(5, 4\) and \(5, 3\)"):
            function(scores, speeds[:, :3])
