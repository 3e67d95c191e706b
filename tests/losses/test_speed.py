import math

import pytest
import torch

from sparsedense.losses.speed import SpeedLoss, speed_accuracy


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
