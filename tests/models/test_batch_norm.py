import pytest
import torch
from torch import Tensor, nn

from sparsedense.models import batch_norm
from sparsedense.models.batch_norm import BatchNorm, pixels_of_a_row


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows for small maps too."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for name in ("_LEAST_VALUES", "_LEAST_IN_HALF"):
        monkeypatch.setattr(batch_norm, name, 0)


def maps(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3 + 2
    return values.to(dtype).contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("shape", [(2, 8, 4, 6, 6), (3, 5, 2, 3, 4), (2, 16, 3, 5, 7), (1, 64, 2, 2, 2)])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_values_gradients_and_statistics_are_pytorchs(
    shape: tuple[int, ...], momentum: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_norm, "_CHUNK_VALUES", 100)  # several chunks, the last one smaller
    x = maps(*shape)
    results = []
    for kind in (BatchNorm, nn.BatchNorm3d):
        layer = kind(shape[1], momentum=momentum).double()
        nn.init.uniform_(layer.weight, 0.5, 2.0, generator=torch.Generator().manual_seed(2))
        nn.init.uniform_(layer.bias, -1.0, 1.0, generator=torch.Generator().manual_seed(3))
        given = x.clone().requires_grad_()
        for _ in range(2):
            out = layer(given)
        weights = torch.arange(out.numel(), dtype=torch.float64).cos().view(out.shape)
        gradients = torch.autograd.grad((out * weights).sum(), [given, layer.weight, layer.bias])
        results.append([out.detach().clone(), *gradients, *layer.state_dict().values()])
        out.relu_()  # as the layers behind do
    assert pixels_of_a_row(x) > 1, "else both are PyTorch's"
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert results[0][0].is_contiguous(memory_format=torch.channels_last_3d)


def test_rows_hold_few_channels_of_whole_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pixels_of_a_row(maps(2, 8, 4, 6, 6)) == 32
    assert pixels_of_a_row(maps(1, 8, 3, 5, 2)) == 2, "30 pixels"
    assert pixels_of_a_row(maps(2, 80, 4, 6, 6)) == 1
    assert pixels_of_a_row(maps(2, 8, 4, 6, 6).contiguous()) == 1
    assert pixels_of_a_row(torch.randn(4, 8)) == 1
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 1)
        assert pixels_of_a_row(maps(2, 8, 4, 6, 6)) == 1
        assert pixels_of_a_row(maps(2, 8, 4, 6, 6, dtype=torch.bfloat16)) == 32
    assert pixels_of_a_row(maps(2, 32, 4, 6, 6)) == 8
    assert pixels_of_a_row(maps(2, 32, 4, 6, 6, dtype=torch.bfloat16)) == 1
    monkeypatch.setattr(batch_norm, "_LEAST_VALUES", 2**20)
    assert pixels_of_a_row(maps(2, 8, 4, 6, 6)) == 1


def test_bfloat16_stays_what_it_is() -> None:
    x = maps(2, 8, 4, 6, 6, dtype=torch.bfloat16).requires_grad_()
    assert pixels_of_a_row(x) > 1, "else both are PyTorch's"
    ours, theirs = BatchNorm(8), nn.BatchNorm3d(8)
    results = []
    for layer in (ours, theirs):
        out = layer(x)
        (gradient,) = torch.autograd.grad(out.float().square().mul(torch.linspace(0, 1, 6)).sum(), x)
        assert out.dtype == gradient.dtype == torch.bfloat16
        results.append((out, gradient))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=0.05, atol=0.05)


def test_judging_uses_the_running_statistics() -> None:
    x, layer = maps(2, 8, 4, 6, 6, dtype=torch.float32), BatchNorm(8)
    layer(x)
    layer.eval()
    expected = (x - layer.running_mean.view(-1, 1, 1, 1)) / (layer.running_var.view(-1, 1, 1, 1) + layer.eps).sqrt()  # type: ignore[union-attr]
    torch.testing.assert_close(layer(x), expected)
