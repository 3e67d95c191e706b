import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsedense.models.convolution import Conv3d, pad_small_map
from sparsedense.models.heads import MapPredictor
from sparsedense.models.r2plus1d import SpatialConv
from sparsedense.models.torchvision_backbones import TorchvisionBackbone


def dirty_memory() -> None:
    """Leave NaN in what is given out next, so that a gradient that is not written shows."""
    for power in range(8, 22):
        torch.full((2**power,), float("nan"))


def layer(kind: str) -> Conv3d:
    if kind == "time":
        return Conv3d(64, 64, (3, 1, 1), padding=(1, 0, 0), bias=False)
    if kind == "space":
        return SpatialConv(16, 48, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False)
    return Conv3d(16, 48, 3, padding=1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(
    ("kind", "size"),
    [("time", (2, 7, 7)), ("space", (4, 1, 1)), ("space", (4, 3, 3)), ("both", (2, 4, 4)), ("both", (4, 3, 3))],
)
def test_gradients_in_bfloat16_are_those_of_the_sums(
    kind: str, size: tuple[int, int, int], layout: torch.memory_format
) -> None:
    made = layer(kind).to(memory_format=layout)
    x = torch.randn(8, made.in_channels, *size).contiguous(memory_format=layout).requires_grad_()
    for _ in range(3):
        dirty_memory()
        with torch.autocast("cpu", torch.bfloat16):
            out = made(x)
        factors = torch.randn(out.shape)
        gradients = torch.autograd.grad((out * factors).sum(), [x, made.weight])
        bias = None if made.bias is None else made.bias.double()
        exact = F.conv3d(x.double(), made.weight.double(), bias, made.stride, made.padding)
        torch.testing.assert_close(out.double(), exact, rtol=0.05, atol=0.05)
        for one, other in zip(gradients, torch.autograd.grad((exact * factors).sum(), [x, made.weight]), strict=True):
            assert distance(one, other) < 0.02


def distance(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).norm() / other.double().norm())


def test_only_small_maps_in_16_bits_are_padded() -> None:
    x = torch.randn(1, 2, 2, 5, 1)
    same, padding = pad_small_map(x, (3, 3, 3), (1, 1, 1))
    assert same is x
    assert padding == [1, 1, 1]
    padded, padding = pad_small_map(x.bfloat16(), (3, 3, 3), (1, 1, 1))
    assert padded.shape == (1, 2, 4, 5, 3)
    assert padding == [0, 1, 0]
    assert torch.equal(padded[:, :, 1:3, :, 1:2], x.bfloat16())
    assert padded.count_nonzero() == x.bfloat16().count_nonzero(), "zeros around it"


@pytest.mark.parametrize("name", ["r3d_18", "s3d"])
def test_all_networks_have_such_convolutions(name: str) -> None:
    for network in (TorchvisionBackbone(name, in_channels=6), MapPredictor(8, num_positions=2)):
        wide = [module for module in network.modules() if isinstance(module, nn.Conv3d) and max(module.kernel_size) > 1]
        assert wide
        assert all(isinstance(module, Conv3d) for module in wide)
