"""Backbones from torchvision that end at the feature map; their parameter names are torchvision's, so its weights load.

Shapes: B clips, C channels, T frames, H x W pixels; the map has K temporal positions and H' x W' spatial ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sparsedense.models.activation_checkpoints import run_block
from sparsedense.models.convolution import guard_convolutions

_KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
_HEADS = ("fc", "avgpool", "classifier", "head")  # what comes behind the map


@dataclass(frozen=True)
class PublishedNetwork:
    """What is known of one of torchvision's networks.

    Attributes:
        feature_dim: channels C of its map.
        pixel_mean: what its Kinetics-400 weights expect to be taken off the pixels, in [0, 1].
        pixel_std: what they expect the pixels to be divided by.
    """

    feature_dim: int
    pixel_mean: tuple[float, float, float] = _KINETICS[0]
    pixel_std: tuple[float, float, float] = _KINETICS[1]


TORCHVISION_BACKBONES = {
    "r3d_18": PublishedNetwork(512),
    "mc3_18": PublishedNetwork(512),
    "s3d": PublishedNetwork(1024),
    "mvit_v2_s": PublishedNetwork(768, (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),
    "swin3d_t": PublishedNetwork(768, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class TorchvisionBackbone(nn.Module):
    """One of torchvision's video networks without its head.

        for 3 x 16 x 112 x 112:   r3d_18 512x2x7x7 (K = 4 with a last stride of 1), mc3_18 512x16x7x7, s3d 1024x2x3x3,
                                  mvit_v2_s 768x8x4x4, swin3d_t 768x8x4x4

    Args:
        name: a key of `TORCHVISION_BACKBONES`.
        in_channels: channels of the input; with other than 3 the first layer is a new one.
        last_stage_temporal_stride: 1 or 2 for r3d_18; the other networks have none.
    """

    def __init__(self, name: str, *, in_channels: int = 3, last_stage_temporal_stride: int = 2) -> None:
        super().__init__()
        from torchvision.models import get_model  # here: a model file of R(2+1)D is read without torchvision

        # Nothing is classified: the smallest head, which is taken off again.
        self.net: nn.Module = get_model(name, weights=None, num_classes=1)
        for head in _HEADS:
            if hasattr(self.net, head):
                delattr(self.net, head)
        if in_channels != 3:
            _replace_first_convolution(self.net, in_channels)
        if name == "r3d_18" and last_stage_temporal_stride == 1:
            _keep_time_in_last_stage(self.net)
        guard_convolutions(self.net)
        self.name, self.feature_dim = name, TORCHVISION_BACKBONES[name].feature_dim
        self.checkpoint_activations = False

    def forward(self, clips_BCTHW: torch.Tensor) -> torch.Tensor:
        """Feature map `(B, feature_dim, K, H', W')` of normalised clips `(B, in_channels, T, H, W)`."""
        paths: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
            "s3d": self._s3d,
            "mvit_v2_s": self._mvit,
            "swin3d_t": self._swin,
        }
        return paths.get(self.name, self._resnet)(self.net, clips_BCTHW)

    def blocks(self) -> list[nn.Module]:
        """The parts behind the stem, in their order."""
        net: Any = self.net
        if self.name == "mvit_v2_s":
            return list(net.blocks)
        if self.name in ("s3d", "swin3d_t"):
            return list(net.features)
        return [*net.layer1, *net.layer2, *net.layer3, *net.layer4]

    def load_published(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load torchvision's parameters; those of its head are left out.

        Raises:
            RuntimeError: names or shapes differ.
        """
        self.net.load_state_dict({name: value for name, value in state.items() if name.split(".")[0] not in _HEADS})

    def _resnet(self, net: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - torchvision has no types
        x = net.stem(x)
        for block in self.blocks():
            x = self._run(block, x)
        return x

    def _s3d(self, _net: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        for block in self.blocks():
            x = self._run(block, x)
        return x

    def _swin(self, net: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        x_BTHWC = net.pos_drop(net.patch_embed(x))
        for block in self.blocks():
            x_BTHWC = self._run(block, x_BTHWC)
        map_BCKHW: torch.Tensor = net.norm(x_BTHWC).permute(0, 4, 1, 2, 3)
        return map_BCKHW

    def _mvit(self, net: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        # torchvision's own forward knows one size of clip, that of its constructor. Positions are relative here, and
        # its attention interpolates them to the size that it meets, so the blocks serve any size.
        patches_BCTHW = net.conv_proj(x)
        size = tuple(patches_BCTHW.shape[2:])
        tokens_BNC = net.pos_encoding(patches_BCTHW.flatten(2).transpose(1, 2))  # adds the class token in front
        for block in self.blocks():
            tokens_BNC, size = run_block(block, tokens_BNC, size, checkpoint=self.checkpoint_activations)
        map_BCKHW: torch.Tensor = net.norm(tokens_BNC)[:, 1:].transpose(1, 2).unflatten(2, size)
        return map_BCKHW

    def _run(self, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = run_block(block, x, checkpoint=self.checkpoint_activations)
        return out


def _replace_first_convolution(net: nn.Module, in_channels: int) -> None:
    """Make the first convolution take other channels, with new weights."""
    name, old = next((name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv3d))
    new = nn.Conv3d(
        in_channels,
        old.out_channels,
        kernel_size=old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    parent, _, own = name.rpartition(".")
    setattr(net.get_submodule(parent), own, new)


def _keep_time_in_last_stage(net: Any) -> None:  # noqa: ANN401
    """Set the temporal stride of the last stage of a residual network to 1; its weights stay the same."""
    block = net.layer4[0]
    for convolution in (block.conv1[0], block.downsample[0]):
        convolution.stride = (1, *convolution.stride[1:])
