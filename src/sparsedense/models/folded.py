"""R(2+1)D as it is computed where nothing is trained: the same function in fewer and faster steps, on a CPU.

Each BatchNorm is folded into the convolution before it. Frames are images of a batch for the spatial convolutions, and
all places of a frame are one column for the temporal ones, so that both are two-dimensional ones on the same memory,
(B, T, H, W, C), without a copy between. The channels between the two are filled up with zeros to the width of a
register. In bfloat16 weights and maps take half of the memory, and where the processor multiplies such numbers faster,
half of the time: `models.precision` knows where. `python benchmarks/runtimes.py` measures both beside others;
docs/experiments.md has the tables.

Shapes: B clips, C channels, T frames, H x W pixels.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsedense.models.r2plus1d import R2Plus1D, ResidualBlock

_REGISTER_CHANNELS = 16
# Of a map that is written by one convolution and read by the next, 32 MB: one clip of R(2+1)D-18 at 112 pixels. Eight
# such clips at a time took 0.57 s each of processor time, one by one 0.51 s.
_CACHED_BYTES = 32 << 20


class _Conv(NamedTuple):
    """A convolution with what follows it folded in.

    Attributes:
        weight: (C', C, rows, columns), where rows are frames in a temporal convolution.
        bias: (C',).
        stride: of rows and columns.
        padding: of rows and columns.
        frame_stride: of the frames in a spatial convolution.
        is_temporal: rows are frames, columns are all places.
    """

    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    frame_stride: int
    is_temporal: bool

    def __call__(self, x_BTHWC: Tensor, *, rectify: bool, shortcut_BTHWC: Tensor | None = None) -> Tensor:
        """Maps (B, T', H', W', C')."""
        x_BTHWC = x_BTHWC[:, :: self.frame_stride]
        batch, frames, height, width, channels = x_BTHWC.shape
        # Both views keep the memory, which is what a channels-last image of such a size has.
        if self.is_temporal:
            images = x_BTHWC.reshape(batch, frames, height * width, channels)
        else:
            images = x_BTHWC.reshape(batch * frames, height, width, channels)
        y = F.conv2d(images.permute(0, 3, 1, 2), self.weight, self.bias, self.stride, self.padding).permute(0, 2, 3, 1)
        shape = (batch, -1, height, width) if self.is_temporal else (batch, frames, *y.shape[1:3])
        y_BTHWC = y.reshape(*shape, y.shape[-1])
        if shortcut_BTHWC is not None:
            y_BTHWC += shortcut_BTHWC
        return y_BTHWC.relu_() if rectify else y_BTHWC

    def to(self, dtype: torch.dtype) -> "_Conv":
        """The same in other numbers."""
        return self._replace(weight=self.weight.to(dtype), bias=self.bias.to(dtype))


class _Block(NamedTuple):
    """A residual block: two factorised convolutions, each in space and then in time, and a shortcut."""

    convolutions: tuple[_Conv, _Conv, _Conv, _Conv]
    downsample: _Conv | None

    def __call__(self, x_BTHWC: Tensor) -> Tensor:
        shortcut = x_BTHWC if self.downsample is None else self.downsample(x_BTHWC, rectify=False)
        *first, last = self.convolutions
        for convolution in first:
            x_BTHWC = convolution(x_BTHWC, rectify=True)
        return last(x_BTHWC, rectify=True, shortcut_BTHWC=shortcut)

    def to(self, dtype: torch.dtype) -> "_Block":
        """The same in other numbers."""
        first, second, third, fourth = (each.to(dtype) for each in self.convolutions)
        return _Block((first, second, third, fourth), None if self.downsample is None else self.downsample.to(dtype))


class FoldedR2Plus1D:
    """A copy of a network's weights that computes what it computes in evaluation mode.

    Args:
        network: as trained; what is trained later does not change the copy.
        dtype: of the weights and of the maps between the convolutions: float32 or bfloat16.
    """

    def __init__(self, network: R2Plus1D, dtype: torch.dtype = torch.float32) -> None:
        with torch.no_grad():
            stem = list(network.stem)
            self._stem = (_folded(stem[0], stem[1]).to(dtype), _folded(stem[3], stem[4]).to(dtype))
            layers = (network.layer1, network.layer2, network.layer3, network.layer4)
            self._layers = [[_block(block).to(dtype) for block in layer] for layer in layers]
        self._dtype = dtype

    def __call__(self, clips_BCTHW: Tensor) -> Tensor:
        """Feature map `(B, feature_dim, K, H', W')` in float32 of normalised float32 clips `(B, in_channels, T, H, W)`.

        What the clips are made of (differences between frames, say) is computed in float32 before.
        """
        x_BTHWC = self._in_parts(self._begin, clips_BCTHW.permute(0, 2, 3, 4, 1), self._stem[0], self._layers[0])
        for layer in self._layers[1:]:
            x_BTHWC = self._in_parts(partial(_run, layer), x_BTHWC, layer[0].convolutions[0], layer)
        return x_BTHWC.permute(0, 4, 1, 2, 3).float()

    def _begin(self, clips_BTHWC: Tensor) -> Tensor:
        x_BTHWC = clips_BTHWC.to(self._dtype).contiguous()
        for convolution in self._stem:
            x_BTHWC = convolution(x_BTHWC, rectify=True)
        return _run(self._layers[0], x_BTHWC)

    def _in_parts(
        self, step: Callable[[Tensor], Tensor], x_BTHWC: Tensor, first: _Conv, layer: Sequence[_Block]
    ) -> Tensor:
        """A step of so few clips at a time that what lies between its convolutions stays in the cache."""
        frames, height, width = x_BTHWC.shape[1:4]
        channels = max(len(block.convolutions[0].weight) for block in layer)
        numbers = channels * frames * (height // first.stride[0] + 1) * (width // first.stride[1] + 1)
        clips = max(1, _CACHED_BYTES // (numbers * self._dtype.itemsize))
        parts = [step(part) for part in torch.split(x_BTHWC, clips)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _run(layer: Sequence[_Block], x_BTHWC: Tensor) -> Tensor:
    for block in layer:
        x_BTHWC = block(x_BTHWC)
    return x_BTHWC


def _block(block: nn.Module) -> _Block:
    assert isinstance(block, ResidualBlock)
    first, first_norm, _ = block.conv1
    second, second_norm = block.conv2
    assert isinstance(first, nn.Sequential)
    assert isinstance(second, nn.Sequential)
    convolutions = (
        _folded(first[0], first[1]),
        _folded(first[3], first_norm),
        _folded(second[0], second[1]),
        _folded(second[3], second_norm),
    )
    shortcut = block.downsample
    return _Block(convolutions, None if shortcut is None else _folded(shortcut[0], shortcut[1], fill=False))


def _folded(convolution: nn.Module, norm: nn.Module, *, fill: bool = True) -> _Conv:
    """A convolution with the BatchNorm behind it; `fill` its middle channels up to whole registers."""
    assert isinstance(convolution, nn.Conv3d)
    assert isinstance(norm, nn.BatchNorm3d)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    weight, bias = convolution.weight * scale.view(-1, 1, 1, 1, 1), norm.bias - mean * scale
    is_temporal = convolution.kernel_size[0] > 1
    # The middle channels come out of the spatial convolution and go into the temporal one.
    if fill and is_temporal:
        weight = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, -weight.shape[1] % _REGISTER_CHANNELS))
    elif fill:
        missing = -len(weight) % _REGISTER_CHANNELS
        weight, bias = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, 0, 0, missing)), F.pad(bias, (0, missing))
    time, row, column = (int(each) for each in convolution.stride)
    pad_time, pad_row, pad_column = (int(each) for each in convolution.padding)
    weight = weight.squeeze(-1) if is_temporal else weight.squeeze(2)
    return _Conv(
        weight.contiguous(memory_format=torch.channels_last),
        bias.clone(),
        (time, 1) if is_temporal else (row, column),
        (pad_time, 0) if is_temporal else (pad_row, pad_column),
        1 if is_temporal else time,
        is_temporal,
    )
