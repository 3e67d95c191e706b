import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.losses.contrast import InstanceContrastLoss
from sparsedense.losses.queue import KeyQueue
from tests.losses.slow_contrast import nt_xent

SEEDS = st.integers(0, 10_000)

LAW = settings(deadline=None, max_examples=50)  # the first call of an operator may take a second


def views(seed: int = 0, *, videos: int = 4, length: int = 6, number: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(videos, length, generator=generator) for _ in range(number)]


@pytest.mark.parametrize("videos", [1, 2, 5])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("with_first_keys", [False, True])
@pytest.mark.parametrize("with_second_keys", [False, True])
@pytest.mark.parametrize("queue_size", [None, 0, 3])
def test_value_and_gradient_are_the_slow_references(
    videos: int, temperature: float, with_first_keys: bool, with_second_keys: bool, queue_size: int | None
) -> None:
    embeddings = views(videos, videos=videos, number=4)
    fast = [value.clone().requires_grad_() for value in embeddings[:2]]
    slow = [value.double().requires_grad_() for value in embeddings[:2]]
    keys = [embeddings[2] if with_first_keys else None, embeddings[3] if with_second_keys else None]
    queue = None if queue_size is None else torch.randn(queue_size, 6)
    loss: torch.Tensor = InstanceContrastLoss(temperature=temperature)(
        *fast, first_keys_BE=keys[0], second_keys_BE=keys[1], queue_QE=queue
    )
    slow_keys = [list(own if key is None else key.double()) for own, key in zip(slow, keys, strict=True)]
    slow_queue = [] if queue is None else list(queue.double())
    forth = nt_xent(list(slow[0]), slow_keys[1], slow_keys[0], slow_queue, temperature)
    back = nt_xent(list(slow[1]), slow_keys[0], slow_keys[1], slow_queue, temperature)
    expected = (forth + back) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)
    torch.autograd.backward(loss)
    torch.autograd.backward(expected)
    for ours, reference in zip(fast, slow, strict=True):
        assert ours.grad is not None
        assert reference.grad is not None
        torch.testing.assert_close(ours.grad.double(), reference.grad, rtol=1e-3, atol=1e-5)


def test_keys_and_queue_get_no_gradient() -> None:
    first, second, first_keys, second_keys, queue = (value.requires_grad_() for value in views(number=5))
    loss: torch.Tensor = InstanceContrastLoss()(
        first, second, first_keys_BE=first_keys, second_keys_BE=second_keys, queue_QE=queue
    )
    torch.autograd.backward(loss)
    for reached in (first, second):
        assert reached.grad is not None
        assert reached.grad.abs().sum() > 0
    assert all(value.grad is None for value in (first_keys, second_keys, queue))


@pytest.mark.parametrize("queue_size", [0, 7])
@pytest.mark.parametrize("videos", [1, 2, 8])
def test_embeddings_that_are_alike_cost_the_guess(videos: int, queue_size: int) -> None:
    loss = InstanceContrastLoss()
    value = loss(torch.ones(videos, 6), torch.ones(videos, 6), queue_QE=torch.ones(queue_size, 6))
    assert value.item() == pytest.approx(loss.guess(videos, queue_size), abs=1e-5)
    assert loss.guess(videos, queue_size) == pytest.approx(math.log(2 * videos - 1 + queue_size))


@LAW
@given(SEEDS, st.floats(0.01, 100.0))
def test_order_of_videos_and_views_and_length_of_embeddings_do_not_matter(seed: int, scale: float) -> None:
    first, second, first_keys, second_keys, queue = views(seed, number=5)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    loss = InstanceContrastLoss()
    value = loss(first, second, first_keys_BE=first_keys, second_keys_BE=second_keys, queue_QE=queue)
    moved = loss(
        second[order] * scale,
        first[order] / scale,
        first_keys_BE=second_keys[order] / scale,
        second_keys_BE=first_keys[order] * scale,
        queue_QE=queue[order] * scale,
    )
    torch.testing.assert_close(moved, value, rtol=1e-4, atol=1e-5)


@LAW
@given(SEEDS, st.floats(0.05, 2.0))
def test_loss_is_bounded_and_more_negatives_never_lower_it(seed: int, temperature: float) -> None:
    first, second, queue = views(seed, number=3)
    loss = InstanceContrastLoss(temperature=temperature)
    small, large = loss(first, second).item(), loss(first, second, queue_QE=queue).item()
    assert 0 <= small <= large + 1e-6
    assert large <= loss.guess(4, 4) + 2 / temperature + 1e-5


def test_views_that_agree_cost_little_and_views_of_other_videos_much() -> None:
    embeddings = torch.eye(4)
    loss = InstanceContrastLoss(temperature=0.05)
    assert loss(embeddings, embeddings).item() < 1e-3
    assert loss(embeddings, embeddings.roll(1, dims=0)).item() > 10.0


def test_one_video_without_a_queue_has_no_negatives() -> None:
    first, second = (value.requires_grad_() for value in views(videos=1))
    loss: torch.Tensor = InstanceContrastLoss()(first, second)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert first.grad is not None
    assert first.grad.abs().max() < 1e-5


def test_keys_may_be_pushed_before_the_backward_pass() -> None:
    first, second = (value.requires_grad_() for value in views())
    queue = KeyQueue(4, 6)
    queue.push(torch.randn(4, 6))
    loss: torch.Tensor = InstanceContrastLoss()(first, second, queue_QE=queue.keys())
    queue.push(second)
    torch.autograd.backward(loss)
    assert first.grad is not None


def test_autocast_does_not_lower_the_precision() -> None:
    first, second, queue = views(number=3)
    loss = InstanceContrastLoss()
    with torch.autocast("cpu", torch.bfloat16):
        lowered = loss(first, second, queue_QE=queue)
    assert torch.equal(lowered, loss(first, second, queue_QE=queue))
    assert loss(first.bfloat16(), second.bfloat16()).dtype == torch.float32


def test_wrong_arguments_are_named() -> None:
    first, second = views()
    with pytest.raises(ValueError, match=r"temperature \(-1\) must be above 0"):
        InstanceContrastLoss(temperature=-1)
    with pytest.raises(ValueError, match=r"same shape \(B, E\), got \(4, 6\), \(3, 6\)"):
        InstanceContrastLoss()(first, second[:3])
    with pytest.raises(ValueError, match=r"got \(4, 6\), \(4, 6\), \(4, 5\)"):
        InstanceContrastLoss()(first, second, second_keys_BE=torch.zeros(4, 5))
    with pytest.raises(ValueError, match=r"queue must have shape \(Q, 6\), got \(9, 5\)"):
        InstanceContrastLoss()(first, second, queue_QE=torch.zeros(9, 5))
