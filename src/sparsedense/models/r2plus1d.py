"""R(2+1)D: 3D residual networks whose convolutions are factorised into space and time.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018 (arXiv 1711.11248).
Parameter names are torchvision's, so that its weights load; width, depth, input channels and the temporal stride of
the last stage are ours.

Shapes: B clips, C channels, T frames, H x W pixels; the map has K temporal positions and H' x W' spatial ones.
"""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from sparsedense.models.activation_checkpoints import run_block
from sparsedense.models.batch_norm import BatchNorm
from sparsedense.models.convolution import Conv3d, pad_small_map

BLOCKS_PER_STAGE = {10: 1, 18: 2}  # depth = stem (2 convolutions) + 4 stages * blocks * 2: 10 and 18
STAGE_CHANNELS = (64, 128, 256, 512)
STEM_MIDDLE_CHANNELS = 45


class R2Plus1D(nn.Module):
    """R(2+1)D backbone that ends at the feature map: no pooling, no classifier.

        depth 18, width 1, last_stage_temporal_stride 1:   3 x 16 x 112 x 112  ->  512 x 4 x 7 x 7

    Args:
        depth: 10 (one block a stage) or 18 (two; the paper's).
        width: factor on the channels 64, 128, 256, 512 of the stages. At 1.0 every layer has torchvision's size; at
            any other value all channels are multiples of 8, the middle ones of the factorised convolutions of 16.
        in_channels: channels of the input, 3 for RGB.
        last_stage_temporal_stride: 2 as in torchvision, or 1 to keep twice as many temporal positions (the paper).

    Raises:
        ValueError: a depth, width, number of channels or stride outside of what is described above.
    """

    def __init__(
        self, *, depth: int = 18, width: float = 1.0, in_channels: int = 3, last_stage_temporal_stride: int = 2
    ) -> None:
        super().__init__()
        if depth not in BLOCKS_PER_STAGE:
            raise ValueError(f"depth ({depth}) must be one of {sorted(BLOCKS_PER_STAGE)}")
        if not 0 < width <= 8:
            raise ValueError(f"width ({width}) must be above 0 and at most 8; 1.0 is the published network")
        if in_channels < 1:
            raise ValueError(f"in_channels ({in_channels}) must be at least 1")
        if last_stage_temporal_stride not in (1, 2):
            raise ValueError(f"last_stage_temporal_stride ({last_stage_temporal_stride}) must be 1 or 2")
        channels = [scaled_channels(stage, width) for stage in STAGE_CHANNELS]
        blocks = BLOCKS_PER_STAGE[depth]
        self.feature_dim = channels[-1]
        self.checkpoint_activations = False
        self.stem = _stem(in_channels, scaled_channels(STEM_MIDDLE_CHANNELS, width), channels[0])
        self.layer1 = _stage(channels[0], channels[0], blocks=blocks, stride=(1, 1), width=width)
        self.layer2 = _stage(channels[0], channels[1], blocks=blocks, stride=(2, 2), width=width)
        self.layer3 = _stage(channels[1], channels[2], blocks=blocks, stride=(2, 2), width=width)
        last_stride = (last_stage_temporal_stride, 2)
        self.layer4 = _stage(channels[2], channels[3], blocks=blocks, stride=last_stride, width=width)
        self.apply(_initialise)

    def forward(self, clips_BCTHW: torch.Tensor) -> torch.Tensor:
        """Feature map `(B, feature_dim, K, H', W')` of normalised clips `(B, in_channels, T, H, W)`."""
        map_BCTHW: torch.Tensor = self.stem(clips_BCTHW)
        for block in self.blocks():
            map_BCTHW = run_block(block, map_BCTHW, checkpoint=self.checkpoint_activations)
        return map_BCTHW

    def blocks(self) -> list[nn.Module]:
        """The parts behind the stem, in their order."""
        return [*self.layer1, *self.layer2, *self.layer3, *self.layer4]

    def load_published(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load torchvision's parameters; those of its classifier are left out.

        Raises:
            RuntimeError: names or shapes differ.
        """
        self.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})


class SpatialConv(Conv3d):
    """A 1xkxk convolution, computed in the channels-last layout as a kxk one of every frame: the same sums.

    There the frames of all clips are one batch of pictures without a copy, and the kernels for two dimensions are the
    better ones. In the contiguous layout it would take a copy, and stays one of three dimensions.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(B, out_channels, T, H', W')`."""
        if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last_3d):
            return super().forward(x)
        kernel, padding = self.kernel_size[1:], [int(side) for side in self.padding[1:]]
        frames_NCHW, padding = pad_small_map(x.transpose(1, 2).flatten(0, 1), kernel, padding)
        out = F.conv2d(frames_NCHW, self.weight.squeeze(2), stride=self.stride[1:], padding=padding)
        return out.view(len(x), x.shape[2], *out.shape[1:]).transpose(1, 2)


class TemporalConv(Conv3d):
    """A 3x1x1 convolution, computed as a 3x1 one over (time, all places of a frame): the same sums.

    Merging height and width needs no copy in either memory layout, and the kernels for two dimensions are the better
    ones: on one AVX2 core (AMD EPYC 7003, torch 2.15) the convolution from 288 to 128 channels on maps of 8x28x28 runs
    forward at 75 GFLOP/s and backward at 67 with them, at 51 and 42 with those for three (processor time, of a ceiling
    of about 80). `sparsedense bench train RECIPE --against plain` measures the whole step with and without.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(B, out_channels, T', H, W)`."""
        out = F.conv2d(
            x.flatten(3), self.weight.flatten(3), stride=(self.stride[0], 1), padding=(int(self.padding[0]), 0)
        )
        return out.view(*out.shape[:3], *x.shape[3:])


class FactorisedConv(nn.Sequential):
    """A 3x3x3 convolution as 1x3x3 in space, then 3x1x1 in time, with a non-linearity between them."""

    def __init__(
        self, in_channels: int, middle_channels: int, out_channels: int, *, stride: tuple[int, int] = (1, 1)
    ) -> None:
        time, space = stride
        super().__init__(
            _spatial_conv(in_channels, middle_channels, kernel=3, stride=space),
            BatchNorm(middle_channels),
            nn.ReLU(inplace=True),
            _temporal_conv(middle_channels, out_channels, stride=time),
        )


class ResidualBlock(nn.Module):
    """Two factorised convolutions and a shortcut; `stride` is (time, space)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: tuple[int, int], width: float) -> None:
        super().__init__()
        middle = middle_channels(in_channels, out_channels, width)
        time, space = stride
        self.conv1 = nn.Sequential(
            FactorisedConv(in_channels, middle, out_channels, stride=stride),
            BatchNorm(out_channels),
            nn.ReLU(inplace=True),
        )
        self.conv2 = nn.Sequential(FactorisedConv(out_channels, middle, out_channels), BatchNorm(out_channels))
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != (1, 1) or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, kernel_size=1, stride=(time, space, space), bias=False),
                BatchNorm(out_channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map after the block."""
        shortcut = x if self.downsample is None else self.downsample(x)
        own: torch.Tensor = self.conv2(self.conv1(x))
        own += shortcut  # in place: BatchNorm needs its input for the backward pass, not its output
        out: torch.Tensor = self.relu(own)
        return out


def scaled_channels(channels: int, width: float) -> int:
    """Channels times width; unchanged at width 1, else the nearest multiple of 8, at least 8."""
    if width == 1.0:
        return channels
    return max(8, round(channels * width / 8) * 8)


def middle_channels(in_channels: int, out_channels: int, width: float) -> int:
    """Channels between the spatial and the temporal convolution.

    Section 3.5 of the R(2+1)D paper: as many as make the parameters of both together equal to those of the 3x3x3
    convolution that they replace. The second convolution of a block uses the number of the first, as in torchvision.
    Away from width 1 it is the nearest multiple of 16, the channel block of AVX-512 and GPU kernels: at width 0.25 and
    depth 10 a training step measured about a tenth faster than with multiples of 8 (float32, AVX2).
    """
    exact = (in_channels * out_channels * 27) // (in_channels * 9 + out_channels * 3)
    return exact if width == 1.0 else max(16, round(exact / 16) * 16)


def _stage(in_channels: int, out_channels: int, *, blocks: int, stride: tuple[int, int], width: float) -> nn.Sequential:
    first = ResidualBlock(in_channels, out_channels, stride=stride, width=width)
    rest = [ResidualBlock(out_channels, out_channels, stride=(1, 1), width=width) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


def _stem(in_channels: int, middle: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        _spatial_conv(in_channels, middle, kernel=7, stride=2),
        BatchNorm(middle),
        nn.ReLU(inplace=True),
        _temporal_conv(middle, out_channels, stride=1),
        BatchNorm(out_channels),
        nn.ReLU(inplace=True),
    )


def _spatial_conv(in_channels: int, out_channels: int, *, kernel: int, stride: int) -> SpatialConv:
    return SpatialConv(
        in_channels,
        out_channels,
        kernel_size=(1, kernel, kernel),
        stride=(1, stride, stride),
        padding=(0, kernel // 2, kernel // 2),
        bias=False,
    )


def _temporal_conv(in_channels: int, out_channels: int, *, stride: int) -> TemporalConv:
    return TemporalConv(
        in_channels, out_channels, kernel_size=(3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0), bias=False
    )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, BatchNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
