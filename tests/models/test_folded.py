import pytest
import torch
from torch import nn

from sparsedense.models.folded import FoldedR2Plus1D
from sparsedense.models.r2plus1d import R2Plus1D


def used_network(**sizes: float) -> R2Plus1D:
    """A network whose statistics, gains and biases are not those of the start, or a wrong BatchNorm would not show."""
    torch.manual_seed(0)
    network = R2Plus1D(**sizes).eval()  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            for values, (low, high) in (
                (module.running_mean, (-0.1, 0.1)),
                (module.running_var, (0.5, 1.5)),
                (module.weight, (0.5, 1.5)),
                (module.bias, (-0.2, 0.2)),
            ):
                assert values is not None
                nn.init.uniform_(values, low, high)
    return network


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "sizes",
    [
        {"depth": 18},
        {"depth": 18, "last_stage_temporal_stride": 1},
        {"depth": 10, "width": 0.125, "in_channels": 6},
        {"depth": 10, "width": 0.5, "last_stage_temporal_stride": 1},
    ],
)
def test_it_computes_what_the_network_computes(sizes: dict[str, float], batch: int) -> None:
    network = used_network(**sizes)
    clips = torch.randn(batch, int(sizes.get("in_channels", 3)), 8, 36, 28)
    with torch.inference_mode():
        expected = network(clips)
        torch.testing.assert_close(FoldedR2Plus1D(network)(clips), expected, rtol=1e-4, atol=1e-4)


def test_it_is_a_copy() -> None:
    network = used_network(depth=10, width=0.125)
    clips, folded = torch.randn(1, 3, 4, 16, 16), FoldedR2Plus1D(network)
    with torch.no_grad():
        before = folded(clips)
        for parameter in network.parameters():
            parameter.zero_()
        assert torch.equal(folded(clips), before)


@pytest.mark.parametrize("batch", [1, 3])
def test_bfloat16_rounds_what_the_network_computes(batch: int) -> None:
    network = used_network(depth=10, width=0.25)
    clips = torch.randn(batch, 3, 8, 36, 28)
    with torch.inference_mode():
        expected, found = network(clips), FoldedR2Plus1D(network, torch.bfloat16)(clips)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    # Each of eight significant bits' roundings, over all layers, against the spread of the map.
    assert (found - expected).abs().max() < 0.1 * expected.std()
