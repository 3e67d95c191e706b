"""Rows of all processes of a distributed training, so that a contrastive loss sees the whole batch."""

from typing import Any

import torch
from torch import Tensor, distributed


def gather_rows(rows_BX: Tensor) -> Tensor:
    """The rows of all processes, `(W * B, ...)` in the order of the ranks, with gradient; the same rows where alone.

    Every process then computes the same loss of the whole batch. Going back, each gets the sum over the processes of
    the gradient in its own rows, and DDP's mean over W processes makes of that the gradient of the one loss.

    Args:
        rows_BX: the same shape in every process.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return rows_BX
    gathered: Tensor = _Gather.apply(rows_BX.contiguous())
    return gathered


class _Gather(torch.autograd.Function):
    # PyTorch's own differentiable gather has changed its name from version to version.
    @staticmethod
    def forward(ctx: Any, rows_BX: Tensor) -> Tensor:  # noqa: ANN401 - autograd's context
        parts = [torch.empty_like(rows_BX) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows_BX)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient_NX: Tensor) -> Tensor:  # noqa: ANN401
        total_NX = gradient_NX.contiguous().clone()
        distributed.all_reduce(total_NX)
        return total_NX.chunk(distributed.get_world_size())[distributed.get_rank()]
