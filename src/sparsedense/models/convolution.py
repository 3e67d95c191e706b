"""Convolutions that are right in bfloat16 on a CPU, also where the map is smaller than the kernel.

PyTorch's gradient of the weights is not (oneDNN's kernels for AVX512-BF16; torch 2.14): a kernel of 3 on a map of 2
frames leaves parts of it unwritten, and one with stride 2 on a map of one pixel writes beyond its end. Where the
padding is part of the map, nothing is amiss.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv3d(nn.Conv3d):
    """`nn.Conv3d`, with `pad_small_map`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padded, padding = pad_small_map(input, self.kernel_size, [int(side) for side in self.padding])
        return F.conv3d(padded, weight, bias, self.stride, padding, self.dilation, self.groups)


def pad_small_map(x: Tensor, kernel: Sequence[int], padding: Sequence[int]) -> tuple[Tensor, list[int]]:
    """The map with zeros around it where it is smaller than the kernel, and the padding that is left to do.

    Args:
        x: `(B, C, ...)`; changed on a CPU in 16 bits alone.
        kernel: size in each of the last dimensions.
        padding: on either side of each of them.
    """
    sizes, done = x.shape[2:], [0] * len(kernel)
    if x.device.type == "cpu" and (x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")):
        done = [side if size < wide else 0 for size, wide, side in zip(sizes, kernel, padding, strict=True)]
    if any(done):
        x = F.pad(x, [side for dimension in reversed(done) for side in (dimension, dimension)])
    return x, [side - own for side, own in zip(padding, done, strict=True)]


def guard_convolutions(network: nn.Module) -> None:
    """Make every `nn.Conv3d` of a network a `Conv3d`; names and weights stay."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.__class__ = Conv3d
