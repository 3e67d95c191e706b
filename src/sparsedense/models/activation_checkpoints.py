"""Activation checkpointing: what a block computes is forgotten and computed again where the backward pass needs it.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016 (arXiv 1604.06174).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint as run_checkpointed


def run_block(block: nn.Module, *inputs: Any, checkpoint: bool) -> Any:  # noqa: ANN401 (whatever the block returns)
    """What a block makes of its inputs, keeping only these for the backward pass where `checkpoint` is set.

    The gradients, and BatchNorm's running statistics, are those of a block that keeps everything.
    """
    if not (checkpoint and torch.is_grad_enabled() and block.training):
        return block(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(block)

    return run_checkpointed(block, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """BatchNorm takes in no statistics: the second pass sees the batch that the first has counted."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    counts = [None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone() for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)
