"""Augmentation that is consistent over a clip: one crop, one flip and one change of colour for all its frames.

Cropping happens on uint8 where a clip is read, because videos differ in size; everything after it is done for the whole
batch at once, on whatever device the batch is. Each clip has a random generator of its own, so that its change depends
neither on its neighbours in the batch nor on which process of several has it.

Shapes: B clips, C = 3 channels (RGB), T frames, H x W pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)
Generators = Sequence[np.random.Generator]


@dataclass(frozen=True)
class AugmentConfig:
    """How training clips are varied.

    Attributes:
        crop_area: smallest and largest area of the random crop, as a share of the frame.
        crop_aspect: smallest and largest width : height of the crop.
        shared_crop: all clips of a video get the same crop; the RGB trend of the consistency loss needs that.
        flip_probability: how often a clip is mirrored; 0 where left and right are different classes.
        brightness: largest shift of brightness, in shares of the full range.
        contrast: contrast is multiplied by 1 - contrast .. 1 + contrast.
        saturation: likewise, the saturation.
        hue_degrees: largest turn of the hue.
        grey_probability: how often a clip loses its colours.
        colour_mix_probability: how often a clip's three colours are turned into a random mixture of them, so that no
            video is told by its colours; the flow of light and dark stays.
        noise: largest standard deviation of the noise on every pixel, in shares of the full range; each clip draws its
            own between 0 and that.
    """

    crop_area: tuple[float, float] = (0.5, 1.0)
    crop_aspect: tuple[float, float] = (0.8, 1.25)
    shared_crop: bool = True
    flip_probability: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.3
    saturation: float = 0.3
    hue_degrees: float = 20.0
    grey_probability: float = 0.1
    colour_mix_probability: float = 0.0
    noise: float = 0.0


class CropBox(NamedTuple):
    """A window of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int


def random_crop_box(height: int, width: int, config: AugmentConfig, rng: np.random.Generator) -> CropBox:
    """A window of random area and aspect that lies inside the frame."""
    area = height * width * rng.uniform(*config.crop_area)
    aspect = math.exp(rng.uniform(*np.log(config.crop_aspect)))
    crop_width = min(width, max(1, round(math.sqrt(area * aspect))))
    crop_height = min(height, max(1, round(math.sqrt(area / aspect))))
    top = int(rng.integers(0, height - crop_height + 1))
    left = int(rng.integers(0, width - crop_width + 1))
    return CropBox(top, left, crop_height, crop_width)


def centre_crop_box(height: int, width: int) -> CropBox:
    """The largest square in the middle of the frame."""
    side = min(height, width)
    return CropBox((height - side) // 2, (width - side) // 2, side, side)


def to_float(clips: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [0, 1]; the memory layout stays."""
    return clips.float().div_(255.0)


def random_flips(probability: float, generators: Generators) -> Tensor:
    """Which clips to mirror, bool (B,), each by its generator."""
    return _uniform(generators, 1)[:, 0] < probability


def flip_clips(clips_BCTHW: Tensor, flips_B: Tensor) -> Tensor:
    """Mirror the chosen clips left to right."""
    if not bool(flips_B.any()):
        return clips_BCTHW
    chosen = flips_B.to(clips_BCTHW.device).view(-1, 1, 1, 1, 1)
    return torch.where(chosen, clips_BCTHW.flip(-1), clips_BCTHW)


def jitter_colours(clips_BCTHW: Tensor, config: AugmentConfig, generators: Generators) -> Tensor:
    """Change brightness, contrast, saturation and hue of each clip by one affine map of its RGB values.

    Args:
        clips_BCTHW: float in [0, 1].
        config: the ranges.
        generators: one for each clip; the same state gives the same change on every device.

    Returns:
        Clips of the same shape, contiguous.
    """
    device = clips_BCTHW.device
    # Colour by colour in memory: a product with three rows of many pixels is fast, one with three columns is not.
    planes_BCN = clips_BCTHW.contiguous().flatten(2)
    # Never in 16 bits, whatever the network computes in: frames differ by less than the steps of a bfloat16 near 1.
    with torch.autocast("cpu", enabled=False), torch.autocast(device.type, enabled=False):
        matrix_B33, offset_B3 = (part.to(device) for part in _colour_map(config, generators))
        changed = torch.baddbmm(offset_B3[:, :, None], matrix_B33, planes_BCN).clamp_(0.0, 1.0)
    return changed.view(clips_BCTHW.shape)


def _colour_map(config: AugmentConfig, generators: Generators) -> tuple[Tensor, Tensor]:
    """Matrices (B, 3, 3) and offsets (B, 3) of the random change of colour."""
    brightness, contrast, saturation, hue, grey = _uniform(generators, 5).unbind(1)
    brightness = (2 * brightness - 1) * config.brightness
    contrast = 1 + (2 * contrast - 1) * config.contrast
    saturation = (1 + (2 * saturation - 1) * config.saturation).masked_fill(grey < config.grey_probability, 0.0)
    hue = (2 * hue - 1) * math.radians(config.hue_degrees)
    grey_33 = torch.tensor(_LUMA).expand(3, 3)
    saturate = saturation.view(-1, 1, 1) * torch.eye(3) + (1 - saturation).view(-1, 1, 1) * grey_33
    mixture = _mixtures(config.colour_mix_probability, generators)
    matrix = contrast.view(-1, 1, 1) * (saturate @ _hue_rotation(hue) @ mixture)
    # Mid-grey stays where it is under the contrast and the mixture.
    offset = brightness.view(-1, 1) + 0.5 * (1 - matrix.sum(dim=2))
    return matrix, offset


def _mixtures(probability: float, generators: Generators) -> Tensor:
    """Random rotations and mirrorings (B, 3, 3) of RGB space for some clips, the identity for the others."""
    if probability == 0:
        return torch.eye(3).expand(len(generators), 3, 3)
    mixed_B = _uniform(generators, 1)[:, 0] < probability
    normal_B33 = np.stack([generator.standard_normal((3, 3), dtype=np.float32) for generator in generators])
    q_B33, r_B33 = torch.linalg.qr(torch.from_numpy(normal_B33))
    # The signs make every rotation equally likely (Mezzadri, 2007); without them some directions are preferred.
    orthogonal_B33 = q_B33 * r_B33.diagonal(dim1=1, dim2=2).sign()[:, None]
    return torch.where(mixed_B.view(-1, 1, 1), orthogonal_B33, torch.eye(3))


def add_noise(clips_BCTHW: Tensor, config: AugmentConfig, generators: Generators) -> Tensor:
    """Add Gaussian noise of a random strength to each clip; the sum may leave [0, 1], as a camera's does not.

    Args:
        clips_BCTHW: float in [0, 1].
        config: the largest standard deviation.
        generators: one for each clip; the strengths are the same on every device, the noise itself need not be.
    """
    if config.noise == 0:
        return clips_BCTHW
    strength_B = _uniform(generators, 1)[:, 0] * config.noise
    # Contiguous whatever the clips are: there are fast kernels for that alone.
    noise = torch.empty(clips_BCTHW.shape, dtype=clips_BCTHW.dtype, device=clips_BCTHW.device)
    for clip, generator in zip(noise, generators, strict=True):
        _fill_normal(clip, generator)
    return clips_BCTHW.addcmul(noise, strength_B.to(clips_BCTHW.device).view(-1, 1, 1, 1, 1))


def _fill_normal(clip: Tensor, generator: np.random.Generator) -> None:
    """Fill a contiguous tensor with normal numbers of mean 0 and deviation 1.

    On a CPU they are quantiles of 16-bit random numbers, up to 4.2 deviations: twice as fast as PyTorch's, whose
    generator makes one number at a time.
    """
    if clip.device.type != "cpu":
        clip.normal_(generator=torch.Generator(clip.device).manual_seed(int(generator.integers(2**62))))
        return
    four_a_word = generator.bit_generator.random_raw(-(-clip.numel() // 4)).view(np.uint16)
    chosen = torch.from_numpy(four_a_word[: clip.numel()].astype(np.int32))
    torch.index_select(_normal_quantiles(), 0, chosen, out=clip.view(-1))


@cache
def _normal_quantiles() -> Tensor:
    """Those of the middles of 2^16 equal shares of probability."""
    quantiles: Tensor = torch.special.ndtri((torch.arange(2**16, dtype=torch.float64) + 0.5) / 2**16).float()
    return quantiles


def _uniform(generators: Generators, count: int) -> Tensor:
    """Uniform numbers in [0, 1), (B, count), a row from each generator."""
    return torch.from_numpy(np.stack([generator.random(count, dtype=np.float32) for generator in generators]))


def _hue_rotation(angle_B: Tensor) -> Tensor:
    """Rotations (B, 3, 3) of RGB space about its grey axis."""
    cos, sin = angle_B.cos().view(-1, 1, 1), angle_B.sin().view(-1, 1, 1)
    third = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    return cos * torch.eye(3) + (1 - cos) * third + sin * cross
