import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import sigmoid_focal_loss

from sparsedense.detection.head import HeadOutput
from sparsedense.detection.head_losses import HeadTargetBatch, distance_iou_loss, focal_loss, head_loss

distances = st.tuples(st.floats(0, 50), st.floats(0, 50)).filter(lambda pair: sum(pair) > 1e-2)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_focal_loss_is_that_of_torchvision(target: float) -> None:
    logits = torch.linspace(-9, 9, 25)
    targets = torch.full_like(logits, target)
    torch.testing.assert_close(focal_loss(logits, targets), sigmoid_focal_loss(logits, targets))


def slow_distance_iou(one: tuple[float, float], other: tuple[float, float]) -> float:
    """From the definition, of segments about the point 100."""
    (s1, e1), (s2, e2) = (100 - one[0], 100 + one[1]), (100 - other[0], 100 + other[1])
    intersection = max(0.0, min(e1, e2) - max(s1, s2))
    union = (e1 - s1) + (e2 - s2) - intersection
    middles = (s1 + e1) / 2 - (s2 + e2) / 2
    hull = max(e1, e2) - min(s1, s2)
    return 1 - intersection / union + (middles / hull) ** 2


@given(one=distances, other=distances)
def test_distance_iou_is_its_definition(one: tuple[float, float], other: tuple[float, float]) -> None:
    loss = distance_iou_loss(torch.tensor([one]), torch.tensor([other])).item()
    assert math.isclose(loss, slow_distance_iou(one, other), abs_tol=2e-3)
    assert 0 <= loss + 1e-5 <= 2
    assert math.isclose(loss, distance_iou_loss(torch.tensor([other]), torch.tensor([one])).item(), abs_tol=1e-5)


def test_distance_iou_leads_to_the_segment_and_ends_there() -> None:
    told = torch.tensor([[1.0, 9.0]], requires_grad=True)
    torch.autograd.backward(distance_iou_loss(told, torch.tensor([[4.0, 4.0]])).sum())
    assert told.grad is not None
    assert told.grad[0, 0] < 0 < told.grad[0, 1], "the start is too late and the end too late"
    same = torch.tensor([[3.0, 5.0]])
    assert distance_iou_loss(same, same).item() == pytest.approx(0.0, abs=1e-6)


def one_video(positive: list[bool], ignored: list[bool]) -> tuple[HeadOutput, HeadTargetBatch]:
    count = len(positive)
    generator = torch.Generator().manual_seed(0)
    output = HeadOutput(
        torch.randn(1, count, 2, generator=generator),
        torch.rand(1, count, 2, generator=generator) + 1,
        torch.ones(1, count, dtype=torch.bool),
        torch.randn(1, count, 3, generator=generator),
    )
    classes = torch.zeros(1, count, 2)
    classes[0, np.flatnonzero(positive), 0] = 1
    labels = torch.tensor([[0 if each else 2 for each in positive]])
    targets = HeadTargetBatch(
        classes, torch.full((1, count, 2), 2.0), torch.tensor([positive]), torch.tensor([ignored]), labels
    )
    return output, targets


def test_background_alone_teaches_the_classes_only() -> None:
    output, targets = one_video([False] * 3, [False] * 3)
    loss = head_loss(output, targets, num_positive=1.0)
    assert loss.classes > 0
    assert loss.distances == 0
    assert loss.total.isfinite()


def test_ignored_points_count_for_nothing() -> None:
    output, targets = one_video([True, False, False], [False, True, False])
    before = head_loss(output, targets, num_positive=2.0)
    output.class_logits_BML[0, 1] += 50
    assert head_loss(output, targets, num_positive=2.0).classes == before.classes
    output.class_logits_BML[0, 2] += 50
    assert head_loss(output, targets, num_positive=2.0).classes > before.classes


def test_positions_that_are_not_known_count_for_nothing() -> None:
    output, targets = one_video([True, False], [False, False])
    targets.position_labels_BP[0] = -1
    assert head_loss(output, targets, num_positive=1.0).positions == 0
