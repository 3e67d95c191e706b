"""Corruptions of clips at five severities, after ImageNet-C: what a camera, a lens or a codec may do to a video.

Constants are those of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019, and of its code. Theirs are for pictures of 224 x 224; what is measured in pixels is scaled
to the size of the clip.

Shapes: B clips, C = 3 channels (RGB), T frames, H x W pixels.
"""

from collections.abc import Callable

import numpy as np
import simplejpeg
import torch
from torch import Tensor
from torch.nn import functional as F

SEVERITIES = (1, 2, 3, 4, 5)
NOISE_STD = (0.08, 0.12, 0.18, 0.26, 0.38)  # of a range of 1, in a picture of 224 pixels
BLUR_SIGMA_PIXELS = (1.0, 2.0, 3.0, 4.0, 6.0)  # of a picture of 224 pixels
JPEG_QUALITY = (25, 18, 15, 10, 7)
BRIGHTNESS_SHIFT = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the HSV value

_PICTURE_PIXELS = 224
_BLUR_TRUNCATE = 4.0  # the kernel ends at so many standard deviations, as in the published code

Corruption = Callable[[Tensor, int, torch.Generator], Tensor]


def corrupt(clips_BCTHW: Tensor, kind: str, severity: int, *, generator: torch.Generator) -> Tensor:
    """Clips with one corruption.

    Args:
        clips_BCTHW: uint8, or floats in [0, 1].
        kind: one of `CORRUPTIONS`.
        severity: 1 (slight) to 5 (strong).
        generator: a CPU generator for what is random; the same state gives the same noise on every device.

    Returns:
        clips of the same shape and type.

    Raises:
        ValueError: there is no such corruption or severity, or the clips have another shape.
    """
    if kind not in CORRUPTIONS:
        raise ValueError(f"corruption {kind!r} is not known; use one of {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity ({severity}) must be one of {', '.join(map(str, SEVERITIES))}")
    if clips_BCTHW.ndim != 5 or clips_BCTHW.shape[1] != 3:
        raise ValueError(f"clips must have shape (B, 3, T, H, W), got {tuple(clips_BCTHW.shape)}")
    if clips_BCTHW.dtype == torch.uint8:
        corrupted = CORRUPTIONS[kind](clips_BCTHW.float() / 255, severity, generator)
        return (corrupted * 255).round().to(torch.uint8)
    return CORRUPTIONS[kind](clips_BCTHW, severity, generator)


def gaussian_noise(clips_BCTHW: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Independent noise of every pixel of every frame, as of a sensor in the dark.

    Its grain is a pixel of the published pictures: a frame made smaller than they are averages it, and so has less.
    """
    std = NOISE_STD[severity - 1] * min(1.0, min(clips_BCTHW.shape[-2:]) / _PICTURE_PIXELS)
    noise = torch.randn(clips_BCTHW.shape, generator=generator).to(clips_BCTHW)
    return (clips_BCTHW + std * noise).clamp(0.0, 1.0)


def blur(clips_BCTHW: Tensor, severity: int, _generator: torch.Generator) -> Tensor:
    """Gaussian blur of each frame; its width is the same share of the frame's shorter side at every size.

    On small clips the first severities change next to nothing, for a camera's slight blur is less than their pixel.
    """
    batch, channels, frames, height, width = clips_BCTHW.shape
    sigma = BLUR_SIGMA_PIXELS[severity - 1] * min(height, width) / _PICTURE_PIXELS
    radius = int(_BLUR_TRUNCATE * sigma + 0.5)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2).to(clips_BCTHW)
    kernel = kernel / kernel.sum()
    pictures = clips_BCTHW.reshape(batch * channels * frames, 1, height, width)
    padded = F.pad(pictures, (radius,) * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return blurred.view(batch, channels, frames, height, width).clamp(0.0, 1.0)


def jpeg(clips_BCTHW: Tensor, severity: int, _generator: torch.Generator) -> Tensor:
    """Each frame through JPEG of low quality, colours at half the resolution."""
    pictures_BTHWC = (clips_BCTHW * 255).round().to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous().cpu().numpy()
    compressed = np.empty_like(pictures_BTHWC)
    for position in np.ndindex(pictures_BTHWC.shape[:2]):
        encoded = simplejpeg.encode_jpeg(
            pictures_BTHWC[position], quality=JPEG_QUALITY[severity - 1], colorsubsampling="420"
        )
        simplejpeg.decode_jpeg(encoded, buffer=compressed[position])
    return torch.from_numpy(compressed).permute(0, 4, 1, 2, 3).to(clips_BCTHW) / 255


def brightness(clips_BCTHW: Tensor, severity: int, _generator: torch.Generator) -> Tensor:
    """The value of HSV raised, hue and saturation kept: RGB is scaled by the change of its largest channel."""
    value = clips_BCTHW.amax(dim=1, keepdim=True)
    raised = (value + BRIGHTNESS_SHIFT[severity - 1]).clamp(max=1.0)
    # Black has no hue to keep: it becomes grey.
    return torch.where(value > 0, clips_BCTHW * (raised / value.clamp_min(1e-6)), raised).clamp(0.0, 1.0)


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": gaussian_noise,
    "blur": blur,
    "jpeg": jpeg,
    "brightness": brightness,
}
