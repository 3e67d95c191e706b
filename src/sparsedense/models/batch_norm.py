"""BatchNorm for few channels that lie channels-last on a CPU, and over the batches of several processes.

PyTorch's kernels work along the channels. With 8 or 16 of them the threads' sums of the backward pass share cache
lines: of the demo's step on two cores the backward passes of all BatchNorms took 66 ms, 38 on one core and 14 in the
contiguous layout. Here G neighbouring pixels count as G * C channels, and their statistics are put together afterwards.

Shapes: N values of a channel, C channels, R rows of G pixels each, W processes.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

_ROW_VALUES = 256  # of a row of pixels, at most
_FEW_CHANNELS, _FEW_IN_HALF = 64, 16  # up to which rows pay, in float32 and in 16 bits
_LEAST_VALUES, _LEAST_IN_HALF = 2**20, 2**19  # of a map; of smaller ones all is in the cache
_CHUNK_VALUES = 2**19  # 2 MB of float32: what is written is still in the cache when it is changed


class BatchNorm(nn.BatchNorm3d):
    """`nn.BatchNorm3d` with another way to the same values where that is faster; its state has the same names."""

    def forward(self, input: Tensor) -> Tensor:
        """The maps `(B, C, T, H, W)`, normalised."""
        groups = pixels_of_a_row(input) if self.training and not torch.compiler.is_compiling() else 1
        return super().forward(input) if groups == 1 else normalise(input, self, groups=groups)


def pixels_of_a_row(x: Tensor) -> int:
    """Number G of neighbouring pixels whose channels are taken as one row; 1 where that does not help."""
    channels, half = x.shape[1], x.dtype in (torch.bfloat16, torch.float16)
    if (
        x.device.type != "cpu"
        or (torch.get_num_threads() == 1 and not half)  # one thread shares its lines with nobody
        or channels > (_FEW_IN_HALF if half else _FEW_CHANNELS)
        or x.numel() < (_LEAST_IN_HALF if half else _LEAST_VALUES)
        or x.ndim != 5
        or x.is_contiguous()
        or not x.is_contiguous(memory_format=torch.channels_last_3d)
    ):
        return 1
    pixels, groups = x.numel() // channels, 1
    while 2 * groups * channels <= _ROW_VALUES and pixels % (2 * groups) == 0:
        groups *= 2
    return groups


def normalise(x: Tensor, layer: _BatchNorm, *, groups: int = 1, processes: int = 1) -> Tensor:
    """What a BatchNorm in training makes of its input; its running statistics move.

    Args:
        x: channels in dimension 1.
        layer: parameters and running statistics.
        groups: pixels of a row; `pixels_of_a_row`.
        processes: with more than one, the statistics are those of all processes' batches. Two small messages: the
            statistics on the way forth, the sums of the gradients on the way back.
    """
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    momentum = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    running = layer.running_mean, layer.running_var
    normalised: Tensor = _Normalise.apply(x, layer.weight, layer.bias, *running, momentum, layer.eps, groups, processes)
    return normalised


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - autograd's context
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
        groups: int,
        processes: int,
    ) -> Tensor:
        mean, variance, total = _statistics(x, groups, processes, running_mean.dtype)
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance * (total / (total - 1)), momentum)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.total, ctx.eps, ctx.groups, ctx.processes = total, eps, groups, processes
        # A tensor of its own, not a view of one: the layers behind change it in place.
        out = torch.empty_like(x, memory_format=_layout(x))
        told = [value.repeat(groups) for value in (weight, bias, mean, variance)]
        written = _rows(out, groups), mean.new_empty(0), mean.new_empty(0)
        torch.native_batch_norm(_rows(x, groups), told[0], told[1], told[2], told[3], False, 0.0, eps, out=written)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight, mean, variance = ctx.saved_tensors
        groups, inverse = ctx.groups, (variance + ctx.eps).rsqrt()
        gradient = gradient.contiguous(memory_format=_layout(x))
        rows, of_rows = _rows(x, groups), _rows(gradient, groups)
        # The sums alone: the kernel's own gradient knows neither the other pixels of a row nor other processes.
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            of_rows, rows, weight.repeat(groups), None, None, mean.repeat(groups), inverse.repeat(groups), True,
            ctx.eps, [False, True, True],
        )  # fmt: skip
        sums = torch.stack([of_bias, of_weight]).view(2, groups, -1).sum(dim=1)
        totals = sums.clone()
        if ctx.processes > 1:
            distributed.all_reduce(totals)
        scale = weight * inverse
        # scale * (g - mean(g) - xhat * mean(g * xhat)) as a function of g and x, with xhat = (x - mean) * inverse.
        slope = -scale * inverse * totals[1] / ctx.total
        shift = -scale * totals[0] / ctx.total - slope * mean
        of_x = torch.empty_like(x, memory_format=_layout(x))
        _linear(_rows(of_x, groups), (rows, slope), (of_rows, scale), shift, groups)
        return of_x, sums[1], sums[0], None, None, None, None, None, None


def _statistics(x: Tensor, groups: int, processes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, int]:
    """Mean and variance of each channel, and of how many values (Chan et al., 1979)."""
    channels, rows = x.shape[1], _rows(x, groups)
    # Float32 statistics of a bfloat16 input are made where the running ones are float32.
    zeros, ones = torch.zeros(groups * channels, dtype=dtype), torch.ones(groups * channels, dtype=dtype)
    of_row = torch.stack(torch.batch_norm_update_stats(rows, zeros, ones, 0.0)).double()
    mean_GC, variance_GC = of_row.view(2, groups, channels)
    mean, variance = _together(mean_GC, variance_GC, torch.ones(groups, 1, dtype=torch.float64))
    count = x.numel() // channels
    if processes > 1:
        own = torch.cat([mean, variance, mean.new_tensor([count])])
        parts = [torch.empty_like(own) for _ in range(processes)]
        distributed.all_gather(parts, own)
        mean_WC, variance_WC, count_W1 = torch.split(torch.stack(parts), [channels, channels, 1], dim=1)
        mean, variance = _together(mean_WC, variance_WC, count_W1)
        count = int(count_W1.sum())
    return mean.to(dtype), variance.to(dtype), count


def _together(mean_KC: Tensor, variance_KC: Tensor, count_K1: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of K parts taken together."""
    share_K1 = count_K1 / count_K1.sum()
    mean = (share_K1 * mean_KC).sum(dim=0)
    return mean, (share_K1 * (variance_KC + (mean_KC - mean).square())).sum(dim=0)


def _layout(x: Tensor) -> torch.memory_format:
    last = x.ndim == 5 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last_3d)
    return torch.channels_last_3d if last else torch.contiguous_format


def _rows(x: Tensor, groups: int) -> Tensor:
    """The same memory as `(R, G * C)`; with one pixel a row, the tensor itself."""
    return x if groups == 1 else x.permute(0, 2, 3, 4, 1).reshape(-1, groups * x.shape[1])


def _linear(
    out: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], constant: Tensor, groups: int
) -> None:
    """Write the sum of two tensors with a factor for each channel (dimension 1), and of a constant for each."""
    shape = (-1, *[1] * (out.ndim - 2))
    (x, of_x), (y, of_y) = ((tensor, factor.repeat(groups).view(shape)) for tensor, factor in (first, second))
    constant, exact = constant.repeat(groups).view(shape), constant.dtype
    rows = max(1, _CHUNK_VALUES * len(out) // out.numel())
    for chunk, of_first, of_second in zip(*(torch.split(tensor, rows) for tensor in (out, x, y)), strict=True):
        # Half precision is too coarse for what cancels here.
        total = chunk if chunk.dtype == exact else torch.empty_like(chunk, dtype=exact)
        torch.addcmul(constant, of_first.to(exact), of_x, out=total).addcmul_(of_second.to(exact), of_y)
        if total is not chunk:
            chunk.copy_(total)
