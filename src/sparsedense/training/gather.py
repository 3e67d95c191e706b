"""What the processes of a distributed training tell each other, so that together they compute the losses of one."""

from typing import Any

import torch
from torch import Tensor, distributed


def num_processes() -> int:
    """Number of processes that train together by now; 1 where alone."""
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def gather_rows(rows_BX: Tensor) -> Tensor:
    """The rows of all processes, `(B * W, ...)`, with gradient; the same rows where alone.

    They come in the order of the draws: `DrawSampler` deals them out in turn, so that row i of rank r is row i * W + r
    of the batch. Every process then computes the same loss of the whole batch. Going back, each gets the sum over the
    processes of the gradient in its own rows, and DDP's mean over W processes makes of that the gradient of the one
    loss.

    Args:
        rows_BX: the same shape in every process; half precision becomes float32, in which losses are computed.
    """
    if num_processes() == 1:
        return rows_BX
    rows_BX = rows_BX.float() if rows_BX.dtype in (torch.float16, torch.bfloat16) else rows_BX
    gathered: Tensor = _Gather.apply(rows_BX.contiguous())
    return gathered


def mean_over_processes(value: Tensor) -> Tensor:
    """Mean of a tensor over the processes, without gradient; the same tensor where alone."""
    if num_processes() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / num_processes()


class _Gather(torch.autograd.Function):
    # PyTorch's own differentiable gather has changed its name from version to version.
    @staticmethod
    def forward(ctx: Any, rows_BX: Tensor) -> Tensor:  # noqa: ANN401 - autograd's context
        parts = [torch.empty_like(rows_BX) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows_BX)
        return torch.stack(parts, dim=1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient_NX: Tensor) -> Tensor:  # noqa: ANN401
        total_NX = gradient_NX.contiguous().clone()
        distributed.all_reduce(total_NX)
        return total_NX[distributed.get_rank() :: distributed.get_world_size()]
