import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.losses.classification import ClassificationLoss

LAW = settings(deadline=None, max_examples=50)  # the first call of an operator may take a second


def test_loss_is_the_mean_negative_log_probability_of_the_labelled() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 3), torch.tensor([2, -1, 0, -1, 1])
    slow = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        if label >= 0:
            slow -= math.log(math.exp(row[label]) / sum(math.exp(value) for value in row)) / 3
    assert ClassificationLoss()(logits, labels).item() == pytest.approx(slow, rel=1e-5)


@LAW
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=8), st.floats(-100, 100))
def test_unlabelled_clips_change_nothing(labels: list[int], value: float) -> None:
    torch.manual_seed(0)
    label_ids = torch.tensor(labels)
    logits = torch.randn(len(labels), 4)
    changed = logits.clone()
    changed[label_ids < 0, 0] = value
    assert torch.equal(ClassificationLoss()(logits, label_ids), ClassificationLoss()(changed, label_ids))
    if (label_ids >= 0).any():
        alone = ClassificationLoss()(logits[label_ids >= 0], label_ids[label_ids >= 0])
        torch.testing.assert_close(ClassificationLoss()(logits, label_ids), alone)


def test_no_label_gives_a_zero_that_is_still_connected() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    loss = ClassificationLoss()(logits, torch.tensor([-1, -1, -1]))
    assert loss.item() == 0.0
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros(3, 4))


def test_label_smoothing_is_torchs() -> None:
    logits, labels = torch.randn(4, 5), torch.tensor([0, 1, 2, 3])
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(ClassificationLoss(label_smoothing=0.1)(logits, labels), expected)


def test_loss_is_float32() -> None:
    assert ClassificationLoss()(torch.zeros(2, 3, dtype=torch.bfloat16), torch.tensor([0, -1])).dtype == torch.float32


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing \(1.0\)"):
        ClassificationLoss(label_smoothing=1.0)
    with pytest.raises(ValueError, match=r"got \(4, 3\) and \(2,\)"):
        ClassificationLoss()(torch.zeros(4, 3), torch.zeros(2, dtype=torch.long))
