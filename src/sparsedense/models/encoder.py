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

# Mean and standard deviation of Kinetics-400, as in torchvision's R2Plus1D_18_Weights.
KINETICS_MEAN = (0.43216, 0.394666, 0.37645)
KINETICS_STD = (0.22803, 0.22145, 0.216989)
INPUT_CHANNELS = {"rgb": 3, "residual": 3, "both": 6}


@dataclass(frozen=True)
class EncoderConfig:
    """What an encoder is made of; a model file carries it.

    Args:
        depth: 10 or 18 (the paper).
        width: factor on the number of channels; 1.0 in the paper.
        last_stage_temporal_stride: 1 in the paper (K = 4 for 16 frames), 2 in torchvision (K = 2).
        input: "rgb" (the paper), "residual" (differences of consecutive frames; Tao et al., PCL, 2021) or "both".

    Raises:
        ValueError: `input` is none of the three.
    """

    depth: int = 18
    width: float = 1.0
    last_stage_temporal_stride: int = 1
    input: str = "rgb"

    def __post_init__(self) -> None:
        if self.input not in INPUT_CHANNELS:
            raise ValueError(f"input ({self.input!r}) must be one of {', '.join(INPUT_CHANNELS)}")


class Encoder(nn.Module):
    """Feature map of clips in [0, 1]; the normalisation and the input mode are inside.

    Args:
        config: depth, width, stride and input mode.
    """

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = R2Plus1D(
            depth=config.depth,
            width=config.width,
            in_channels=INPUT_CHANNELS[config.input],
            last_stage_temporal_stride=config.last_stage_temporal_stride,
        )
        self.feature_dim = self.backbone.feature_dim
        # Constants, not state: a model file need not carry them.
        self.register_buffer("pixel_mean", torch.tensor(KINETICS_MEAN).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(KINETICS_STD).view(1, 3, 1, 1, 1), persistent=False)

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
            map_BCKHW = self.eval()(torch.zeros(1, 3, clip_length, 16, 16, device=device))
            self.train(was_training)
        return int(map_BCKHW.shape[2])

    def network_input(self, clips_BCTHW: torch.Tensor) -> torch.Tensor:
        """What the backbone sees: normalised frames, their differences, or both, `(B, 3 or 6, T, H, W)`."""
        if not clips_BCTHW.is_floating_point():
            raise TypeError(f"clips must be floats in [0, 1], got {clips_BCTHW.dtype}; divide uint8 clips by 255")
        if clips_BCTHW.ndim != 5 or clips_BCTHW.shape[1] != 3:
            raise ValueError(f"clips must have shape (B, 3, T, H, W), got {tuple(clips_BCTHW.shape)}")
        rgb = (clips_BCTHW - self.pixel_mean) / self.pixel_std
        if self.config.input == "rgb":
            return rgb
        residual = frame_differences(rgb)
        return residual if self.config.input == "residual" else torch.cat([rgb, residual], dim=1)


def frame_differences(clips_BCTHW: torch.Tensor) -> torch.Tensor:
    """Next frame minus this one; the last difference is repeated, so that the T frames stay T.

    Raises:
        ValueError: the clips have one frame.
    """
    if clips_BCTHW.shape[2] < 2:
        raise ValueError("frame differences need clips of at least 2 frames, got 1; use input='rgb' for single frames")
    differences = clips_BCTHW.diff(dim=2)
    return torch.cat([differences, differences[:, :, -1:]], dim=2)


def pool(map_BCKHW: torch.Tensor) -> torch.Tensor:
    """Mean of a feature map over time and space, `(B, C)`: what the heads take."""
    return map_BCKHW.mean(dim=(2, 3, 4))


def load_kinetics_weights(encoder: Encoder, weights: str | Path = "DEFAULT") -> None:
    """Load torchvision's R(2+1)D-18 weights, trained with labels on Kinetics-400, into an encoder.

    Args:
        encoder: of depth 18, width 1 and input "rgb" or "residual"; any temporal stride.
        weights: a name of torchvision's `R2Plus1D_18_Weights` (downloaded), or a state-dict file with its parameter
            names (.pth or .safetensors). The classifier `fc.*` is left out.

    Raises:
        ValueError: the encoder has another size, or the file's parameters do not fit.
        FileNotFoundError: there is no such file.
    """
    config = encoder.config
    if config.depth != 18 or config.width != 1.0 or config.input == "both":
        raise ValueError(f"Kinetics weights need depth=18, width=1.0 and input='rgb' or 'residual', got {config}")
    state = {name: value for name, value in _torchvision_state(weights).items() if not name.startswith("fc.")}
    try:
        encoder.backbone.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{weights}: not the parameters of torchvision's r2plus1d_18: {error}") from error


def _torchvision_state(weights: str | Path) -> Mapping[str, torch.Tensor]:
    from torchvision.models.video import R2Plus1D_18_Weights  # here: a model file is read without torchvision

    if str(weights) in R2Plus1D_18_Weights.__members__:
        published: Mapping[str, torch.Tensor] = R2Plus1D_18_Weights[str(weights)].get_state_dict(check_hash=True)
        return published
    path = Path(weights)
    if not path.is_file():
        names = ", ".join(R2Plus1D_18_Weights.__members__)
        raise FileNotFoundError(f"{path}: no such state-dict file; give a file or one of {names}")
    if path.suffix != ".safetensors":
        pickled: Mapping[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return pickled
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
