"""BatchNorm whose statistics are those of the batch of all processes, on a CPU; PyTorch's own runs on GPUs alone.

Shapes: N values of a channel in this process, C channels, W processes.
"""

from typing import Any

import torch
from lightning.pytorch.plugins import LayerSync
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class CpuSyncBatchNorm(_BatchNorm):
    """BatchNorm over the batches of all processes while it is trained; names of its state are those of BatchNorm.

    Two small messages a step: the statistics on the way forth, the sums of the gradients on the way back.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The input, normalised."""
        if not self.training or distributed.get_world_size() == 1:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        normalised: Tensor = _Normalise.apply(
            input, self.weight, self.bias, self.running_mean, self.running_var, momentum, self.eps
        )
        return normalised

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions: the layers that it stands for have checked them."""


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
    ) -> Tensor:
        mean, variance, count, total = _statistics(x)
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance * (total / (total - 1)), momentum)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.count, ctx.total, ctx.eps = count, total, eps
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight, mean, variance = ctx.saved_tensors
        deviation = (variance + ctx.eps).sqrt()
        # PyTorch's kernel takes the means over this process's values off the gradient ...
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, 1 / deviation, True, ctx.eps, [True, True, True]
        )
        totals = torch.stack([of_bias, of_weight])
        distributed.all_reduce(totals)
        # ... and this puts those over all values in their place: a function of each channel that is linear in x.
        shift, slope = torch.stack([of_bias, of_weight]) / ctx.count - totals / ctx.total
        scale = weight / deviation
        of_x += F.batch_norm(x, mean, variance, slope * scale, shift * scale, False, 0.0, ctx.eps)
        return of_x, of_weight, of_bias, None, None, None, None


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, int, int]:
    """Mean and variance of each channel over all processes (Chan et al., 1979); number of values here, and of all."""
    # Float32 statistics of a bfloat16 input are made where the running ones are float32.
    own_mean, own_variance = torch.batch_norm_update_stats(x, torch.zeros(x.shape[1]), torch.ones(x.shape[1]), 0.0)
    count = x.numel() // x.shape[1]
    own = torch.cat([own_mean, own_variance, own_mean.new_tensor([count])]).double()
    parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, own)
    all_WX = torch.stack(parts)
    mean_WC, variance_WC = all_WX[:, :-1].chunk(2, dim=1)
    count_W1 = all_WX[:, -1:]
    total = count_W1.sum()
    mean = (count_W1 * mean_WC).sum(dim=0) / total
    variance = (count_W1 * (variance_WC + (mean_WC - mean).square())).sum(dim=0) / total
    return mean.float(), variance.float(), count, int(total)


class CpuSyncBatchNormPlugin(LayerSync):
    """Puts `CpuSyncBatchNorm` in the place of every BatchNorm of a model, for Lightning."""

    def apply(self, model: nn.Module) -> nn.Module:
        """The model with its BatchNorm layers replaced; their parameters and buffers are the same tensors."""
        for name, child in model.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, CpuSyncBatchNorm):
                setattr(model, name, _with_state_of(child))
            else:
                self.apply(child)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """The model as it is: alone, the layers that were put in are plain ones."""
        return model


def convert_batchnorm(model: nn.Module) -> None:
    """Make every BatchNorm of a model one over all processes, on whatever device it is."""
    if next(model.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    else:
        CpuSyncBatchNormPlugin().apply(model)


def _with_state_of(layer: _BatchNorm) -> CpuSyncBatchNorm:
    made = CpuSyncBatchNorm(layer.num_features, layer.eps, layer.momentum)
    made.weight, made.bias = layer.weight, layer.bias
    made.running_mean, made.running_var = layer.running_mean, layer.running_var
    made.num_batches_tracked = layer.num_batches_tracked
    return made.train(layer.training)
