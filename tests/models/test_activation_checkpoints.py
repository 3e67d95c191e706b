import copy
from typing import Any

import pytest
import torch
from torch import nn

from sparsedense.models.activation_checkpoints import run_block
from sparsedense.models.r2plus1d import R2Plus1D


def test_gradients_and_statistics_are_those_of_a_network_that_keeps_everything() -> None:
    torch.manual_seed(0)
    keeping = R2Plus1D(depth=10, width=0.0625).double().train()
    forgetting = copy.deepcopy(keeping)
    forgetting.checkpoint_activations = True
    clips = torch.rand(2, 3, 4, 16, 16, dtype=torch.float64)
    for net in (keeping, forgetting):
        net(clips).square().sum().backward()
    for (name, one), other in zip(keeping.named_parameters(), forgetting.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name  # type: ignore[arg-type]
    for (name, kept), recomputed in zip(keeping.named_buffers(), forgetting.buffers(), strict=True):
        assert torch.equal(kept, recomputed), name


@pytest.mark.parametrize(("training", "calls"), [(True, 2), (False, 1)])
def test_a_block_is_run_again_in_training_alone(training: bool, calls: int) -> None:
    seen: list[Any] = []
    block = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid()).train(training)
    block.register_forward_pre_hook(lambda *arguments: seen.append(arguments))
    x = torch.rand(2, 3, requires_grad=True)
    run_block(block, x, checkpoint=True).sum().backward()
    assert len(seen) == calls
    with torch.no_grad():
        run_block(block, x, checkpoint=True)
    assert len(seen) == calls + 1
