"""BatchNorm whose statistics are those of the batch of all processes, on a CPU; PyTorch's own runs on GPUs alone."""

from lightning.pytorch.plugins import LayerSync
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sparsedense.models.batch_norm import normalise, pixels_of_a_row


class CpuSyncBatchNorm(_BatchNorm):
    """BatchNorm over the batches of all processes while it is trained; names of its state are those of BatchNorm."""

    def forward(self, input: Tensor) -> Tensor:
        """The input, normalised."""
        if not self.training:
            return super().forward(input)
        return normalise(input, self, groups=pixels_of_a_row(input), processes=distributed.get_world_size())

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions: the layers that it stands for have checked them."""


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
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    else:
        CpuSyncBatchNormPlugin().apply(model)


def _with_state_of(layer: _BatchNorm) -> CpuSyncBatchNorm:
    made = CpuSyncBatchNorm(layer.num_features, layer.eps, layer.momentum)
    made.weight, made.bias = layer.weight, layer.bias
    made.running_mean, made.running_var = layer.running_mean, layer.running_var
    made.num_batches_tracked = layer.num_batches_tracked
    return made.train(layer.training)
