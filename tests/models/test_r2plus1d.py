from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.video import r2plus1d_18

from sparsedense.models.r2plus1d import R2Plus1D, SpatialConv, TemporalConv, middle_channels, scaled_channels

LAW = settings(deadline=None, max_examples=50)  # the first call of an operator may take a second


def test_depth_18_gives_torchvisions_map() -> None:
    torch.manual_seed(0)
    theirs = r2plus1d_18(weights=None).eval()
    for module in theirs.modules():  # statistics away from 0 and 1, or a wrong BatchNorm would not show
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    ours = R2Plus1D().eval()
    ours.load_state_dict({name: value for name, value in theirs.state_dict().items() if not name.startswith("fc.")})
    clips = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(theirs.stem(clips)))))
        torch.testing.assert_close(ours(clips), expected)


def test_initialisation_is_torchvisions() -> None:
    torch.manual_seed(0)
    ours = R2Plus1D().state_dict()
    for name, theirs in r2plus1d_18(weights=None).state_dict().items():
        if name.startswith("fc."):
            continue
        assert ours[name].shape == theirs.shape
        if theirs.ndim == 5:
            assert ours[name].std().item() == pytest.approx(theirs.std().item(), rel=0.1), name
        else:
            assert torch.equal(ours[name], theirs), name


def test_paper_setting_gives_the_papers_map() -> None:
    with torch.device("meta"):
        map_BCKHW = R2Plus1D(last_stage_temporal_stride=1)(torch.empty(2, 3, 16, 112, 112))
    assert map_BCKHW.shape == (2, 512, 4, 7, 7)


@pytest.mark.parametrize("depth", [10, 18])
@pytest.mark.parametrize("width", [0.125, 0.25, 0.5, 1.5])
@pytest.mark.parametrize(("stride", "num_positions"), [(1, 4), (2, 2)])
def test_scaled_networks_keep_the_shape_of_the_map(depth: int, width: float, stride: int, num_positions: int) -> None:
    with torch.device("meta"):
        net = R2Plus1D(depth=depth, width=width, in_channels=6, last_stage_temporal_stride=stride)
        map_BCKHW = net(torch.empty(2, 6, 16, 48, 48))
    assert map_BCKHW.shape == (2, net.feature_dim, num_positions, 3, 3)
    assert net.feature_dim == 512 * width
    channels = [module.out_channels for module in net.modules() if isinstance(module, torch.nn.Conv3d)]
    assert all(number % 8 == 0 for number in channels)
    assert len(channels) == {10: 2 + 4 * 4 + 3, 18: 2 + 8 * 4 + 3}[depth]


def test_depth_10_learns() -> None:
    torch.manual_seed(0)
    net = R2Plus1D(depth=10, width=0.125, last_stage_temporal_stride=1)
    net(torch.randn(2, 3, 4, 16, 16)).square().mean().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in net.parameters())


@LAW
@given(channels=st.integers(1, 2048), width=st.floats(0.01, 4.0).filter(lambda width: width != 1.0))
def test_scaled_channels_are_multiples_of_8_near_the_exact_number(channels: int, width: float) -> None:
    scaled = scaled_channels(channels, width)
    assert scaled % 8 == 0
    assert scaled == 8 or abs(scaled - channels * width) <= 4
    assert scaled_channels(channels, 1.0) == channels


@LAW
@given(inputs=st.integers(8, 512), outputs=st.integers(8, 512))
def test_middle_channels_keep_the_number_of_parameters(inputs: int, outputs: int) -> None:
    full = inputs * outputs * 27
    per_middle_channel = inputs * 9 + outputs * 3
    assert full - per_middle_channel < middle_channels(inputs, outputs, 1.0) * per_middle_channel <= full
    rounded = middle_channels(inputs, outputs, 0.5)
    assert rounded % 16 == 0
    assert rounded == 16 or abs(rounded - full / per_middle_channel) <= 9


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depth": 50}, r"depth \(50\) must be one of \[10, 18\]"),
        ({"width": 0.0}, r"width \(0.0\)"),
        ({"in_channels": 0}, r"in_channels \(0\)"),
        ({"last_stage_temporal_stride": 3}, r"last_stage_temporal_stride \(3\)"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        R2Plus1D(**wrong)


FACTORS: dict[str, Callable[[int], torch.nn.Conv3d]] = {
    "temporal": lambda stride: TemporalConv(
        5, 7, kernel_size=(3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0), bias=False
    ),
    "spatial": lambda stride: SpatialConv(
        5, 7, kernel_size=(1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), bias=False
    ),
}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("factor", list(FACTORS))
def test_a_factor_is_a_convolution_of_three_dimensions(
    factor: str, memory_format: torch.memory_format, stride: int
) -> None:
    torch.manual_seed(0)
    ours = FACTORS[factor](stride).double().to(memory_format=memory_format)
    results = []
    for convolve in (ours.forward, lambda x: torch.nn.Conv3d.forward(ours, x)):
        x = torch.arange(2 * 5 * 6 * 3 * 4, dtype=torch.float64).sin().view(2, 5, 6, 3, 4)
        x = x.to(memory_format=memory_format).requires_grad_()
        out = convolve(x)
        results.append((out, *torch.autograd.grad(out.square().sum(), (x, ours.weight))))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)
        assert one.shape == other.shape
        assert one.is_contiguous(memory_format=memory_format), "no copy on the way, and none in the next layer"
