"""Encoder: a backbone and what it is given to see (RGB, frame differences, or both).

Shapes: B clips, C channels, T frames, H x W pixels; the map has K temporal positions and H' x W' spatial ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sparsedense.models.r2plus1d import R2Plus1D
from sparsedense.models.torchvision_backbones import TORCHVISION_BACKBONES, TorchvisionBackbone

# Mean and standard deviation of Kinetics-400, as in torchvision's R2Plus1D_18_Weights.
KINETICS_MEAN = (0.43216, 0.394666, 0.37645)
KINETICS_STD = (0.22803, 0.22145, 0.216989)
R2PLUS1D = "r2plus1d"
BACKBONES = (R2PLUS1D, *TORCHVISION_BACKBONES)
QUARTERS = 4  # of a clip's time, of which detection keeps the features apart
INPUT_CHANNELS = {"rgb": 3, "residual": 3, "both": 6}


@dataclass(frozen=True)
class EncoderConfig:
    """What an encoder is made of; a model file carries it.

    Args:
        depth: 10 or 18 (the paper).
        width: factor on the number of channels; 1.0 in the paper.
        last_stage_temporal_stride: 1 in the paper (K = 4 for 16 frames), 2 in torchvision (K = 2). Only "r2plus1d" and
            "r3d_18" have such a stride; the other backbones have their own K, whatever this says.
        input: "rgb" (the paper), "residual" (differences of consecutive frames; Tao et al., PCL, 2021) or "both".
        backbone: "r2plus1d" (the paper), or one of torchvision: "r3d_18", "mc3_18", "s3d", "mvit_v2_s", "swin3d_t".

    Raises:
        ValueError: `input` or `backbone` is none of these, or a size is asked for that torchvision's network has not.
    """

    depth: int = 18
    width: float = 1.0
    last_stage_temporal_stride: int = 1
    input: str = "rgb"
    backbone: str = R2PLUS1D

    def __post_init__(self) -> None:
        if self.input not in INPUT_CHANNELS:
            raise ValueError(f"input ({self.input!r}) must be one of {', '.join(INPUT_CHANNELS)}")
        if self.backbone not in BACKBONES:
            raise ValueError(f"backbone ({self.backbone!r}) must be one of {', '.join(BACKBONES)}")
        if self.backbone != R2PLUS1D and (self.depth, self.width) != (18, 1.0):
            raise ValueError(
                f"depth ({self.depth}) and width ({self.width}) are those of r2plus1d; {self.backbone} has one size: "
                f"set model.depth to 18 and model.width to 1.0"
            )


class Encoder(nn.Module):
    """Feature map of clips in [0, 1]; the normalisation and the input mode are inside.

    Args:
        config: backbone, depth, width, stride and input mode.
    """

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _build_backbone(config)
        self.feature_dim = self.backbone.feature_dim
        mean, std = KINETICS_MEAN, KINETICS_STD
        if config.backbone != R2PLUS1D:
            mean, std = (
                TORCHVISION_BACKBONES[config.backbone].pixel_mean,
                TORCHVISION_BACKBONES[config.backbone].pixel_std,
            )
        # Constants, not state: a model file need not carry them.
        self.register_buffer("pixel_mean", torch.tensor(mean).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std).view(1, 3, 1, 1, 1), persistent=False)

    def forward(self, clips_BCTHW: torch.Tensor) -> torch.Tensor:
        """Feature map `(B, feature_dim, K, H', W')` of clips `(B, 3, T, H, W)` of floats in [0, 1].

        Raises:
            TypeError: the clips are not of a floating type.
            ValueError: the clips have another shape, or one frame where differences are asked for.
        """
        map_BCKHW: torch.Tensor = self.backbone(self.network_input(clips_BCTHW))
        return map_BCKHW

    def map_positions(self, clip_length: int) -> int:
        """Temporal positions K of the map of clips of T frames."""
        device = self.pixel_mean.device
        with torch.inference_mode():
            was_training = self.training
            map_BCKHW = self.eval()(torch.zeros(1, 3, clip_length, 32, 32, device=device))
            self.train(was_training)
        return int(map_BCKHW.shape[2])

    def network_input(self, clips_BCTHW: torch.Tensor) -> torch.Tensor:
        """What the backbone sees: normalised frames, their differences, or both, `(B, 3 or 6, T, H, W)`."""
        if not clips_BCTHW.is_floating_point():
            raise TypeError(f"clips must be floats in [0, 1], got {clips_BCTHW.dtype}; divide uint8 clips by 255")
        if clips_BCTHW.ndim != 5 or clips_BCTHW.shape[1] != 3:
            raise ValueError(f"clips must have shape (B, 3, T, H, W), got {tuple(clips_BCTHW.shape)}")
        if self.config.input == "rgb":
            return self._by_deviation(clips_BCTHW - self.pixel_mean)
        residual = self._by_deviation(frame_differences(clips_BCTHW))  # the mean cancels
        if self.config.input == "residual":
            return residual
        return torch.cat([self._by_deviation(clips_BCTHW - self.pixel_mean), residual], dim=1)

    def _by_deviation(self, frames_BCTHW: torch.Tensor) -> torch.Tensor:
        """Frames over the deviation of their channel, in place."""
        if not frames_BCTHW.is_contiguous(memory_format=torch.channels_last_3d):
            return frames_BCTHW.div_(self.pixel_std)
        # A line of pixels at a time: of three channels alone the kernel's loop is too short.
        width = frames_BCTHW.shape[-1]
        frames_BCTHW.permute(0, 2, 3, 4, 1).flatten(3).div_(self.pixel_std.flatten().repeat(width))
        return frames_BCTHW


def _build_backbone(config: EncoderConfig) -> R2Plus1D | TorchvisionBackbone:
    in_channels = INPUT_CHANNELS[config.input]
    if config.backbone != R2PLUS1D:
        stride = config.last_stage_temporal_stride
        return TorchvisionBackbone(config.backbone, in_channels=in_channels, last_stage_temporal_stride=stride)
    return R2Plus1D(
        depth=config.depth,
        width=config.width,
        in_channels=in_channels,
        last_stage_temporal_stride=config.last_stage_temporal_stride,
    )


def frame_differences(clips_BCTHW: torch.Tensor) -> torch.Tensor:
    """Next frame minus this one; the last difference is repeated, so that the T frames stay T.

    Raises:
        ValueError: the clips have one frame.
    """
    if clips_BCTHW.shape[2] < 2:
        raise ValueError("frame differences need clips of at least 2 frames, got 1; use input='rgb' for single frames")
    if clips_BCTHW.requires_grad or torch.compiler.is_compiling():
        differences = clips_BCTHW.diff(dim=2)
        return torch.cat([differences, differences[:, :, -1:]], dim=2)
    differences = torch.empty_like(clips_BCTHW)  # where they are written at once, without a copy
    torch.sub(clips_BCTHW[:, :, 1:], clips_BCTHW[:, :, :-1], out=differences[:, :, :-1])
    differences[:, :, -1] = differences[:, :, -2]
    return differences


def pool(map_BCKHW: torch.Tensor) -> torch.Tensor:
    """Mean of a feature map over time and space, `(B, C)`: what the heads take."""
    return map_BCKHW.mean(dim=(2, 3, 4))


def quarter_features(map_BCKHW: torch.Tensor, clip_length: int) -> torch.Tensor:
    """Mean of a feature map over space and each quarter of the clip's time, `(B, 4, C)`: their mean is `pool`'s.

    Where four do not divide K or the clip's length in frames, `(B, 1, C)`, which is `pool`'s.
    """
    features_BCK = map_BCKHW.mean(dim=(3, 4))
    if features_BCK.shape[2] % QUARTERS or clip_length % QUARTERS:
        return features_BCK.mean(dim=2)[:, None]
    return features_BCK.reshape(*features_BCK.shape[:2], QUARTERS, -1).mean(dim=3).transpose(1, 2)


def load_kinetics_weights(encoder: Encoder, weights: str | Path = "DEFAULT") -> None:
    """Load torchvision's weights of the encoder's network, trained with labels on Kinetics-400.

    Args:
        encoder: R(2+1)D of depth 18 and width 1, or one of torchvision's backbones; with input "rgb" or "residual" and
            any temporal stride.
        weights: a name among torchvision's weights of the network (downloaded; `DEFAULT` is one), or a state-dict file
            with its parameter names (.pth or .safetensors). The classifier is left out.

    Raises:
        ValueError: the encoder has another size, or the file's parameters do not fit.
        FileNotFoundError: there is no such file.
    """
    config = encoder.config
    if config.depth != 18 or config.width != 1.0 or config.input == "both":
        raise ValueError(f"Kinetics weights need depth=18, width=1.0 and input='rgb' or 'residual', got {config}")
    network = "r2plus1d_18" if config.backbone == R2PLUS1D else config.backbone
    state = _torchvision_state(network, weights)
    try:
        encoder.backbone.load_published(state)
    except RuntimeError as error:
        raise ValueError(f"{weights}: not the parameters of torchvision's {network}: {error}") from error


def _torchvision_state(network: str, weights: str | Path) -> Mapping[str, torch.Tensor]:
    from torchvision.models import get_model_weights  # here: a model file is read without torchvision

    members = get_model_weights(network).__members__
    if str(weights) in members:
        published: Mapping[str, torch.Tensor] = members[str(weights)].get_state_dict(check_hash=True)
        return published
    path = Path(weights)
    if not path.is_file():
        names = ", ".join(members)
        raise FileNotFoundError(f"{path}: no such state-dict file; give a file or one of {names}")
    if path.suffix != ".safetensors":
        pickled: Mapping[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return pickled
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
