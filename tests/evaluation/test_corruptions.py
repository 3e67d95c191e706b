from itertools import pairwise

import cv2
import numpy as np
import pytest
import scipy.ndimage
import simplejpeg
import torch
from torch import Tensor

from sparsedense.evaluation.corruptions import (
    BLUR_SIGMA_PIXELS,
    BRIGHTNESS_SHIFT,
    CORRUPTIONS,
    JPEG_QUALITY,
    NOISE_STD,
    SEVERITIES,
    corrupt,
)

KINDS = list(CORRUPTIONS)


def pictures(clips: int = 2, frames: int = 3, height: int = 40, width: int = 48) -> Tensor:
    """Soft colours with an edge and a little grain, uint8 (B, 3, T, H, W), away from black and white."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    base = np.stack([60 + 2 * x, 50 + 3 * y, 90 + x + y]).astype(float)
    base[:, 10:25, 12:30] = np.array([170, 70, 60])[:, None, None]
    clip = base[None, :, None] + rng.normal(0, 4, (clips, 3, frames, height, width))
    return torch.from_numpy(clip.clip(20, 235).astype(np.uint8))


def corrupted(clips: Tensor, kind: str, severity: int, seed: int = 0) -> Tensor:
    return corrupt(clips, kind, severity, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_shape_type_and_range_stay_and_the_change_grows_with_the_severity(kind: str) -> None:
    clips = pictures(height=112, width=120)
    changes = []
    for severity in SEVERITIES:
        as_bytes, as_floats = corrupted(clips, kind, severity), corrupted(clips.float() / 255, kind, severity)
        assert as_bytes.shape == as_floats.shape == clips.shape
        assert (as_bytes.dtype, as_floats.dtype) == (torch.uint8, torch.float32)
        assert float(as_floats.min()) >= 0
        assert float(as_floats.max()) <= 1
        assert float((as_bytes.float() - 255 * as_floats).abs().max()) <= 0.51, "bytes are the rounded floats"
        changes.append(float((as_bytes.float() - clips.float()).abs().mean()))
    assert changes[0] > 0.3
    assert all(more > less for less, more in pairwise(changes)), changes


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_noise_has_the_published_deviation(severity: int) -> None:
    grey = torch.full((1, 3, 2, 224, 224), 0.5)
    noise = corrupted(grey, "gaussian_noise", severity) - 0.5
    # Of what is not clipped: the central half of a normal distribution lies within 0.6745 deviations.
    assert float(noise.abs().median()) == pytest.approx(0.6745 * NOISE_STD[severity - 1], rel=0.02)
    assert abs(float(noise.mean())) < 0.01


def test_the_grain_of_the_noise_is_that_of_the_published_pictures() -> None:
    """Noise on a frame made smaller is that of the larger frame, made smaller."""
    large = corrupted(torch.full((1, 3, 2, 224, 224), 0.5), "gaussian_noise", 1)
    shrunk = torch.nn.functional.interpolate(large[0].transpose(0, 1), size=(56, 56), mode="area")
    small = corrupted(torch.full((1, 3, 2, 56, 56), 0.5), "gaussian_noise", 1)
    assert float(small.std()) == pytest.approx(float(shrunk.std()), rel=0.05)


def test_the_noise_is_seeded_and_new_in_every_frame() -> None:
    clips = torch.full((2, 3, 3, 16, 16), 0.5)
    once, again, other = (corrupted(clips, "gaussian_noise", 1, seed) for seed in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert not torch.equal(once[0], once[1])
    assert not torch.equal(once[:, :, 0], once[:, :, 1])


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("height", "width"), [(40, 48), (112, 112), (9, 7)])
def test_the_blur_is_that_of_scipy_on_each_frame(severity: int, height: int, width: int) -> None:
    clips = pictures(height=height, width=width).float() / 255
    sigma = BLUR_SIGMA_PIXELS[severity - 1] * min(height, width) / 224
    expected = scipy.ndimage.gaussian_filter(
        clips.double().numpy(), sigma=(0, 0, 0, sigma, sigma), mode="nearest", truncate=4.0
    )
    assert np.abs(corrupted(clips, "blur", severity).numpy() - expected).max() < 1e-4


def test_a_blur_is_the_same_share_of_the_frame_at_every_size() -> None:
    """Width of the spot that a point becomes, in shares of the frame."""
    widths = []
    for size in (56, 112, 224):
        point = torch.zeros(1, 3, 1, size, size)
        point[..., size // 2, size // 2] = 1
        row = corrupted(point, "blur", 5)[0, 0, 0].sum(dim=0)
        offsets = (torch.arange(size) - size // 2) / size
        widths.append(float((row * offsets.square()).sum().sqrt()))
    assert widths == pytest.approx([BLUR_SIGMA_PIXELS[4] / 224] * 3, rel=0.01)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_is_that_of_each_frame(severity: int) -> None:
    clips = pictures()
    compressed = corrupted(clips, "jpeg", severity)
    for clip in range(2):
        for number in range(3):
            frame = np.ascontiguousarray(clips[clip, :, number].permute(1, 2, 0).numpy())
            encoded = simplejpeg.encode_jpeg(frame, quality=JPEG_QUALITY[severity - 1], colorsubsampling="420")
            expected = simplejpeg.decode_jpeg(encoded)
            assert np.array_equal(compressed[clip, :, number].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_raises_the_value_of_hsv(severity: int) -> None:
    clips = pictures(clips=1, frames=1).float() / 255
    hsv = cv2.cvtColor(clips[0, :, 0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + BRIGHTNESS_SHIFT[severity - 1], 0, 1)
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    assert np.abs(corrupted(clips, "brightness", severity)[0, :, 0].permute(1, 2, 0).numpy() - expected).max() < 1e-3


def test_black_becomes_grey() -> None:
    black = torch.zeros(1, 3, 2, 4, 4)
    assert torch.allclose(corrupted(black, "brightness", 3), torch.full_like(black, 0.3))


def test_what_does_not_exist_is_an_error() -> None:
    clips = pictures()
    with pytest.raises(ValueError, match="corruption 'snow' is not known; use one of gaussian_noise, blur"):
        corrupted(clips, "snow", 1)
    with pytest.raises(ValueError, match=r"severity \(6\) must be one of 1, 2, 3, 4, 5"):
        corrupted(clips, "blur", 6)
    with pytest.raises(ValueError, match=r"must have shape \(B, 3, T, H, W\), got \(2, 3, 40, 48\)"):
        corrupted(clips[:, :, 0], "blur", 1)
