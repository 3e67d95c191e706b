import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.losses.queue import KeyQueue

LAW = settings(deadline=None, max_examples=50)  # the first call of an operator may take a second


def random_keys(number: int, dim: int = 3) -> torch.Tensor:
    return torch.randn(number, dim, generator=torch.Generator().manual_seed(number))


@LAW
@given(st.integers(1, 6), st.lists(st.integers(0, 15), max_size=6))
def test_the_latest_keys_are_in_at_the_places_where_they_fell(size: int, batches: list[int]) -> None:
    queue, ring, pushed = KeyQueue(size, 3), [torch.zeros(3)] * size, 0
    for number in batches:
        keys = random_keys(number)
        queue.push(keys)
        for key in keys:  # one at a time, however many fit
            ring[pushed % size] = key / key.norm()
            pushed += 1
        filled = min(pushed, size)
        expected = torch.stack(ring[:filled]) if filled else torch.zeros(0, 3)
        torch.testing.assert_close(queue.keys(), expected)


def test_a_new_queue_is_empty() -> None:
    assert KeyQueue(4, 3).keys().shape == (0, 3)


def test_state_goes_through_a_checkpoint() -> None:
    queue, restored = KeyQueue(5, 3), KeyQueue(5, 3)
    queue.push(random_keys(7))
    restored.load_state_dict(queue.state_dict())
    for each in (queue, restored):
        each.push(random_keys(2))
    assert torch.equal(queue.keys(), restored.keys())
    assert not list(queue.parameters())


def test_keys_are_copies_without_gradient() -> None:
    queue = KeyQueue(3, 3)
    pushed = random_keys(3).requires_grad_()
    queue.push(pushed)
    before = queue.keys()
    assert not before.requires_grad
    kept = before.clone()
    queue.push(random_keys(2))
    assert torch.equal(before, kept)
    assert not torch.equal(queue.keys(), kept)


def test_keys_of_lower_precision_are_kept_in_float32() -> None:
    queue = KeyQueue(2, 3)
    queue.push(random_keys(2).bfloat16())
    assert queue.keys().dtype == torch.float32
    torch.testing.assert_close(queue.keys().norm(dim=1), torch.ones(2))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"size \(0\) and dim \(3\) must be at least 1"):
        KeyQueue(0, 3)
    with pytest.raises(ValueError, match=r"keys must have shape \(B, 3\), got \(2, 4\)"):
        KeyQueue(5, 3).push(torch.zeros(2, 4))
