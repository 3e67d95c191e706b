import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.losses.generator import GeneratorLoss

SEEDS = st.integers(0, 10_000)

LAW = settings(deadline=None, max_examples=50)  # the first call of an operator may take a second


def maps(seed: int = 0, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    predicted, target = torch.randn(2, *(shape or (2, 3, 4, 2, 2, 3)), generator=generator)
    return predicted, target


@pytest.mark.parametrize("shape", [(1, 1, 2, 1, 1, 1), (2, 3, 4, 2, 2, 3), (3, 4, 1, 4, 1, 2)])
def test_each_interval_is_the_slow_reference(shape: tuple[int, ...]) -> None:
    predicted, target = maps(1, *shape)
    videos, intervals, channels, positions, height, width = shape
    ours, real = predicted.tolist(), target.tolist()
    expected = []
    for k in range(intervals):
        total = 0.0
        for b in range(videos):
            for t in range(positions):
                for y in range(height):
                    for x in range(width):
                        p = [ours[b][k][c][t][y][x] for c in range(channels)]
                        q = [real[b][k][c][t][y][x] for c in range(channels)]
                        product = sum(a * b for a, b in zip(p, q, strict=True))
                        total += 1 - product / math.hypot(*p) / math.hypot(*q)
        expected.append(total / (videos * positions * height * width))
    torch.testing.assert_close(GeneratorLoss().per_interval(predicted, target), torch.tensor(expected))
    assert GeneratorLoss()(predicted, target).item() == pytest.approx(sum(expected) / intervals, rel=1e-4, abs=1e-6)


@LAW
@given(SEEDS, st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_order_of_videos_and_scale_do_not_matter_and_the_loss_is_bounded(seed: int, one: float, other: float) -> None:
    predicted, target = maps(seed)
    per_interval = GeneratorLoss().per_interval(predicted, target)
    moved = GeneratorLoss().per_interval(predicted.flip(0) * one, target.flip(0) * other)
    torch.testing.assert_close(moved, per_interval, rtol=1e-4, atol=1e-5)
    assert (per_interval >= 0).all()
    assert (per_interval <= 2).all()


def test_right_opposite_and_unrelated_predictions() -> None:
    predicted, target = maps()
    loss = GeneratorLoss()
    assert loss(target, target).item() == pytest.approx(0.0, abs=1e-6)
    assert loss(-target, target).item() == pytest.approx(2.0)
    unrelated = predicted.clone()
    unrelated[:, :, :2], unrelated[:, :, 2:] = target[:, :, 2:], 0.0
    only_last = target.clone()
    only_last[:, :, :2] = 0.0
    assert loss(unrelated, only_last).item() == pytest.approx(loss.guess())


def test_one_wrong_interval_is_found() -> None:
    _, target = maps()
    predicted = target.clone()
    predicted[:, 1] *= -1
    assert GeneratorLoss().per_interval(predicted, target).tolist() == pytest.approx([0.0, 2.0, 0.0], abs=1e-6)


def test_gradient_reaches_the_prediction_only() -> None:
    predicted, target = (value.requires_grad_() for value in maps())
    torch.autograd.backward(GeneratorLoss()(predicted, target))
    assert predicted.grad is not None
    assert (predicted.grad.flatten(3).abs().amax(dim=2) > 0).all()
    assert target.grad is None


def test_positions_without_a_direction_cost_one_and_move_nothing() -> None:
    predicted, target = maps()
    target[0, 0, :, 0, 0, 0] = 0.0
    predicted[1, 2, :, 1, 1, 2] = 0.0
    leaf = predicted.requires_grad_()
    torch.autograd.backward(GeneratorLoss()(leaf, target))
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert not leaf.grad[0, 0, :, 0, 0, 0].any()
    assert not leaf.grad[1, 2, :, 1, 1, 2].any()
    assert GeneratorLoss()(predicted, torch.zeros_like(target)).item() == 1.0


def test_autocast_does_not_lower_the_precision() -> None:
    predicted, target = maps()
    with torch.autocast("cpu", torch.bfloat16):
        lowered = GeneratorLoss()(predicted, target)
    assert torch.equal(lowered, GeneratorLoss()(predicted, target))
    assert GeneratorLoss()(predicted.bfloat16(), target.bfloat16()).dtype == torch.float32


def test_wrong_shapes_are_named() -> None:
    predicted, target = maps()
    with pytest.raises(ValueError, match=r"got \(2, 3, 4, 2, 2, 3\) and \(2, 3, 4, 2, 2, 2\)"):
        GeneratorLoss()(predicted, target[..., :2])
    with pytest.raises(ValueError, match=r"same shape \(B, K, C, T, H, W\)"):
        GeneratorLoss()(predicted[0], target[0])
