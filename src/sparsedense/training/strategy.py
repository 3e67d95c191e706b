"""How several processes train one model: each on its share of the batch, with the mean of their gradients."""

import atexit
import functools
import inspect
import time
from typing import Any

from lightning.pytorch.strategies import DDPStrategy
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from sparsedense.config import MachineConfig
from sparsedense.training.machine import resolve_processes, resolve_sync_batchnorm, uses_cuda
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.sharding import ShardedStrategy
from sparsedense.training.sync_batchnorm import CpuSyncBatchNormPlugin

# Newer releases of torch have a new name for it, and warn of the old one.
SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)


def trainer_options(machine: MachineConfig, module: SparseDenseModule) -> dict[str, Any]:
    """Lightning's arguments about devices, machines and how they train together."""
    per_node, nodes = resolve_processes(machine)
    devices = {"devices": per_node if machine.devices == "auto" else machine.devices, "num_nodes": nodes}
    if per_node * nodes == 1:
        return devices
    _leave_group_at_exit()
    if machine.strategy == "fsdp":
        return {**devices, "strategy": ShardedStrategy(per_node * nodes)}
    synchronised = resolve_sync_batchnorm(machine)
    return {
        **devices,
        "strategy": DDPStrategy(**ddp_options(machine, module)),
        # PyTorch's own synchronised BatchNorm runs on GPUs alone.
        "sync_batchnorm": synchronised and uses_cuda(machine),
        "plugins": [CpuSyncBatchNormPlugin()] if synchronised and not uses_cuda(machine) else None,
    }


def ddp_options(machine: MachineConfig, module: SparseDenseModule) -> dict[str, Any]:
    """Arguments of `DistributedDataParallel`."""
    options: dict[str, Any] = {
        "find_unused_parameters": not all_parameters_take_part(module),
        "gradient_as_bucket_view": True,
        # The queue is equal everywhere, and BatchNorm's running statistics are wanted at the validation alone.
        SYNC_BUFFERS: False,
    }
    if not uses_cuda(machine):
        # The default, but told: else the first MB goes by itself, and each message costs a small network milliseconds.
        options["bucket_cap_mb"] = 25
    return options


def all_parameters_take_part(module: SparseDenseModule) -> bool:
    """Whether every trained parameter gets a gradient in every step; if not, DDP has to look for those that do not."""
    model, plan = module.model, module.plan
    heads = {"speed": model.speed_head, "classification": model.classifier}
    owners = {name for name, objective in module.objectives.items() if any(True for _ in objective.parameters())}
    owners |= {name for name, head in heads.items() if head is not None}
    weights = [plan.weights(epoch) for epoch in range(plan.config.epochs)]
    return all(epoch.get(name, 0.0) > 0 for epoch in weights for name in owners)


@functools.cache
def _leave_group_at_exit() -> None:
    """Have the group's threads end, or be idle, before the interpreter goes.

    A thread of gloo's lets a message's tensors go after it has told that they have come, and needs the interpreter for
    it. Where that ends meanwhile, the process aborts: 8 of 800 that had trained what they should, and, sharded, 1 of 20
    (Lightning leaves groups of NCCL alone so).
    """
    atexit.register(_leave_group)


def _leave_group() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
        # It ends the threads of the groups that nobody else knows. PyTorch keeps those of sharded weights in caches:
        # their threads get the interpreter while we sleep, and need it for microseconds.
        time.sleep(0.2)
