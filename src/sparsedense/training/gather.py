"""What the processes of a distributed training tell each other, so that together they compute the losses of one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn


def num_processes() -> int:
    """Number of processes that train together by now; 1 where alone."""
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def gather_rows(rows_BX: Tensor) -> Tensor:
    """The rows of all processes, `(B * W, ...)`, with gradient; the same rows where alone.

    They come in the order of the draws: `DrawSampler` deals them out in turn, so that row i of rank r is row i * W + r
    of the batch. Every process must then compute the same loss, of nothing but the rows of all. Going back, each gets W
    times the gradient in its own rows: what the sum over the processes would be, without a message. DDP's mean over
    the W processes makes of that the gradient of the one loss.

    Args:
        rows_BX: the same shape in every process; half precision becomes float32, in which losses are computed.
    """
    if num_processes() == 1:
        return rows_BX
    rows_BX = rows_BX.float() if rows_BX.dtype in (torch.float16, torch.bfloat16) else rows_BX
    gathered: Tensor = _Gather.apply(rows_BX.contiguous())
    return gathered


def gather_each(*tensors: Tensor) -> tuple[Tensor, ...]:
    """`gather_rows` of several tensors with as many rows, in one message.

    Args:
        tensors: each `(B, ...)`, the same shapes in every process; floats come back, as exact as float32 is.
    """
    if num_processes() == 1 or not tensors:
        return tensors
    rows_BX = [tensor.reshape(len(tensor), -1).float() for tensor in tensors]
    parts = torch.split(gather_rows(torch.cat(rows_BX, dim=1)), [rows.shape[1] for rows in rows_BX], dim=1)
    whole = [part.reshape(-1, *tensor.shape[1:]) for part, tensor in zip(parts, tensors, strict=True)]
    # What had no gradient, positions or a teacher's keys, has none afterwards.
    return tuple(part if tensor.requires_grad else part.detach() for part, tensor in zip(whole, tensors, strict=True))


def mean_over_processes(value: Tensor) -> Tensor:
    """Mean of a tensor over the processes, without gradient; the same tensor where alone."""
    return means_over_processes([value])[0]


def means_over_processes(values: Sequence[Tensor]) -> list[Tensor]:
    """Mean of each tensor over the processes, without gradient, in one message; the same tensors where alone."""
    if num_processes() == 1 or not values:
        return list(values)
    total = torch.cat([value.detach().flatten() for value in values])
    distributed.all_reduce(total)
    parts = torch.split(total / num_processes(), [value.numel() for value in values])
    return [part.view(value.shape) for part, value in zip(parts, values, strict=True)]


@torch.no_grad()
def share_buffers(module: nn.Module) -> None:
    """Give all processes the first one's buffers of floats, BatchNorm's running statistics; nothing where alone."""
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    if num_processes() == 1 or not buffers:
        return
    together = torch.cat([buffer.flatten() for buffer in buffers])
    distributed.broadcast(together, src=0)
    for buffer, values in zip(buffers, torch.split(together, [buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(values.view(buffer.shape))


class _Gather(torch.autograd.Function):
    # PyTorch's own differentiable gather has changed its name from version to version.
    @staticmethod
    def forward(ctx: Any, rows_BX: Tensor) -> Tensor:  # noqa: ANN401 - autograd's context
        parts = [torch.empty_like(rows_BX) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows_BX)
        return torch.stack(parts, dim=1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient_NX: Tensor) -> Tensor:  # noqa: ANN401
        processes = distributed.get_world_size()
        return processes * gradient_NX[distributed.get_rank() :: processes]
