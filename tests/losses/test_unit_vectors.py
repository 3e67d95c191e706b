import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.losses.unit_vectors import unit_vectors

LAW = settings(deadline=None, max_examples=50)  # the first call of an operator may take a second


@LAW
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.sampled_from([0, 1, 2, -1]))
def test_length_is_one_and_the_direction_stays(seed: int, scale: float, dim: int) -> None:
    vectors = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(seed))
    unit = unit_vectors(vectors * scale, dim=dim)
    torch.testing.assert_close(unit.square().sum(dim=dim), torch.ones_like(unit.sum(dim=dim)))
    torch.testing.assert_close(unit * vectors.square().sum(dim=dim, keepdim=True).sqrt(), vectors)


def test_gradient_is_torchs_and_none_where_there_is_no_direction() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(4, 5)
    vectors[2] = 0.0
    ours, theirs = vectors.clone().requires_grad_(), vectors.clone().requires_grad_()
    weights = torch.randn(4, 5)
    torch.autograd.backward(unit_vectors(ours), weights)
    torch.autograd.backward(torch.nn.functional.normalize(theirs, dim=-1), weights)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.equal(ours.grad[2], torch.zeros(5))
    rows = torch.tensor([0, 1, 3])
    torch.testing.assert_close(ours.grad[rows], theirs.grad[rows])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_result_is_float32(dtype: torch.dtype) -> None:
    assert unit_vectors(torch.ones(2, 3, dtype=dtype)).dtype == torch.float32
