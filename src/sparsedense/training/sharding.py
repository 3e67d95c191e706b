"""Fully sharded training (FSDP): each process keeps its share of the weights, the gradients and the optimiser's state.

For networks that do not fit one device with all of these. A block's weights are put together where it is computed and
forgotten behind it. Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel", VLDB 2023 (arXiv
2304.11277); Lightning's `ModelParallelStrategy` with PyTorch's `fully_shard`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FullyShardedDataParallel, OptimStateKeyType, fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from sparsedense.models.encoder import Encoder

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_SOME_WITHOUT_STATE = StateDictOptions(full_state_dict=True, cpu_offload=True, strict=False)


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's strategy with our checkpoints: whole tensors, in one file, that any number of processes goes on from.

    Args:
        processes: all of the job.
    """

    def __init__(self, processes: int) -> None:
        super().__init__(data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:  # noqa: ANN401 - Lightning's signature
        """Write the state in the first process, the only one that has it."""
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(checkpoint, filepath)

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read the state in every process and keep its share."""
        checkpoint: dict[str, Any] = self.checkpoint_io.load_checkpoint(checkpoint_path)
        assert self.model is not None
        set_model_state_dict(self.model, checkpoint["state_dict"], options=_WHOLE)
        for optimiser, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            named = FullyShardedDataParallel.rekey_optim_state_dict(state, OptimStateKeyType.PARAM_NAME, self.model)
            set_optimizer_state_dict(self.model, optimiser, named, options=_SOME_WITHOUT_STATE)
            # PyTorch has made up a state, of a step of its own, for what no loss has trained yet.
            for name, parameter in self.model.named_parameters():
                if name not in named["state"]:
                    optimiser.state.pop(parameter, None)
        return checkpoint

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Whole, with the keys of an optimiser that was never sharded; empty but in the first process."""
        assert self.model is not None
        state = get_optimizer_state_dict(self.model, getattr(optimizer, "_optimizer", optimizer), options=_WHOLE)
        if not self.is_global_zero:
            return cast(dict[str, Any], state)
        return FullyShardedDataParallel.rekey_optim_state_dict(state, OptimStateKeyType.PARAM_ID, self.model)


def shard_encoder(encoder: Encoder, mesh: DeviceMesh) -> None:
    """Share an encoder's weights out, block by block."""
    for block in encoder.backbone.blocks():
        _shard(block, mesh)
    _shard(encoder.backbone, mesh)


def shard_head(head: nn.Module, mesh: DeviceMesh) -> None:
    """Share out what stands behind the encoder, as one piece; nothing where it has no weights."""
    if any(True for _ in head.parameters()):
        _shard(head, mesh)


def _shard(module: nn.Module, mesh: DeviceMesh) -> None:
    # Also what stands alone gives its weights back: a slow copy has no backward pass that would.
    fully_shard(module, mesh=mesh, reshard_after_forward=True)


def is_sharded(module: nn.Module) -> bool:
    """Whether a process has but its share of the weights."""
    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


@torch.no_grad()
def whole_state(module: nn.Module) -> Mapping[str, Tensor]:
    """The state of a module with every tensor whole; where it is sharded, all processes must ask."""
    return {
        name: value.full_tensor().cpu() if isinstance(value, DTensor) else value
        for name, value in module.state_dict().items()
    }
