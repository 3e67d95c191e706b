import colorsys
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparsedense.data.augment import (
    AugmentConfig,
    add_noise,
    centre_crop_box,
    flip_clips,
    jitter_colours,
    random_crop_box,
    random_flips,
    to_float,
)
from sparsedense.data.resize import crop_and_resize

QUIET = AugmentConfig(brightness=0, contrast=0, saturation=0, hue_degrees=0, grey_probability=0)
STRONG = AugmentConfig(brightness=0.4, contrast=0.8, saturation=0.8, hue_degrees=90.0, grey_probability=0.3)
SIDES = st.integers(1, 400)
SEEDS = st.integers(0, 2**32)
LAW = settings(deadline=None, max_examples=40)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def each(seed: int, count: int = 3) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, clip)) for clip in range(count)]


def clips(batch: int = 3, *, frames: int = 4, size: int = 6, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, frames, size, size, generator=seeded(seed))


@given(height=SIDES, width=SIDES, seed=SEEDS, area=st.floats(0.01, 1), aspect=st.floats(0.2, 1))
def test_a_random_crop_lies_inside_the_frame(height: int, width: int, seed: int, area: float, aspect: float) -> None:
    config = AugmentConfig(crop_area=(area, 1.0), crop_aspect=(aspect, 1 / aspect))
    box = random_crop_box(height, width, config, np.random.default_rng(seed))
    assert 0 <= box.top <= box.top + box.height <= height
    assert 0 <= box.left <= box.left + box.width <= width
    assert min(box.height, box.width) >= 1


def test_random_crops_have_the_area_and_aspect_asked_for() -> None:
    rng = np.random.default_rng(0)
    config = AugmentConfig(crop_area=(0.3, 0.5), crop_aspect=(0.8, 1.25))
    boxes = [random_crop_box(1000, 1000, config, rng) for _ in range(500)]
    areas = [box.height * box.width / 1e6 for box in boxes]
    aspects = [box.width / box.height for box in boxes]
    assert min(areas) == pytest.approx(0.3, abs=0.01)
    assert max(areas) == pytest.approx(0.5, abs=0.01)
    assert min(aspects) == pytest.approx(0.8, abs=0.02)
    assert max(aspects) == pytest.approx(1.25, abs=0.02)
    assert len({(box.top, box.left) for box in boxes}) > 400


@given(height=SIDES, width=SIDES)
def test_the_centre_crop_is_the_largest_square(height: int, width: int) -> None:
    box = centre_crop_box(height, width)
    assert box.height == box.width == min(height, width)
    assert abs(box.top - (height - box.top - box.height)) <= 1
    assert abs(box.left - (width - box.left - box.width)) <= 1


@LAW
@given(seed=SEEDS)
def test_a_still_clip_stays_still(seed: int) -> None:
    still = clips(frames=1, seed=seed).expand(-1, -1, 5, -1, -1)
    changed = flip_clips(jitter_colours(still, STRONG, each(seed)), random_flips(0.5, each(seed)))
    assert torch.equal(changed, changed[:, :, :1].expand_as(changed))
    byte_clip = (still[0] * 255).to(torch.uint8)
    box = random_crop_box(6, 6, AugmentConfig(crop_area=(0.2, 0.9)), np.random.default_rng(seed))
    cropped = crop_and_resize(byte_clip, box, 4)
    assert torch.equal(cropped, cropped[:, :1].expand_as(cropped))


def test_jitter_of_no_strength_changes_nothing() -> None:
    assert torch.allclose(jitter_colours(clips(), QUIET, each(1)), clips(), atol=1e-6)


@LAW
@given(seed=SEEDS, level=st.floats(0, 1))
def test_saturation_and_hue_leave_grey_alone(seed: int, level: float) -> None:
    grey = torch.full((2, 3, 2, 3, 3), level)
    config = AugmentConfig(brightness=0, contrast=0, saturation=0.9, hue_degrees=180.0, grey_probability=0.5)
    assert torch.allclose(jitter_colours(grey, config, each(seed, 2)), grey, atol=1e-5)


@LAW
@given(seed=SEEDS)
def test_colours_stay_in_range_and_do_change(seed: int) -> None:
    changed = jitter_colours(clips(seed=seed), STRONG, each(seed))
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert changed.shape == clips().shape
    assert not torch.allclose(changed, clips(seed=seed), atol=1e-3)


def test_the_state_of_the_generator_decides_the_change() -> None:
    assert torch.equal(jitter_colours(clips(), STRONG, each(3)), jitter_colours(clips(), STRONG, each(3)))
    assert not torch.equal(jitter_colours(clips(), STRONG, each(3)), jitter_colours(clips(), STRONG, each(4)))


def test_each_clip_gets_a_change_of_its_own() -> None:
    one = clips(1).expand(4, -1, -1, -1, -1)
    changed = jitter_colours(one, STRONG, each(0, 4))
    assert all(not torch.allclose(changed[0], other, atol=1e-3) for other in changed[1:])


def test_a_clip_does_not_depend_on_its_neighbours() -> None:
    together, others = clips(3), clips(3, seed=9)
    others[1] = together[1]
    config = replace(STRONG, noise=0.2, colour_mix_probability=0.5)
    changed = add_noise(jitter_colours(together, config, each(0)), config, each(0))
    between = [*each(7, 1), each(0)[1], *each(8, 1)]
    beside_others = jitter_colours(others, config, between)
    between[1] = each(0)[1]
    beside_others = add_noise(beside_others, config, between)
    assert torch.allclose(changed[1], beside_others[1], atol=1e-6)
    alone = add_noise(jitter_colours(together[1:2], config, each(0)[1:2]), config, each(0)[1:2])
    assert torch.allclose(changed[1:2], alone, atol=1e-6), "nor on where in a batch it is"


def test_brightness_shifts_and_contrast_stretches_about_the_middle() -> None:
    middle = torch.full((64, 3, 1, 2, 2), 0.5)
    contrast_only = AugmentConfig(brightness=0, contrast=0.5, saturation=0, hue_degrees=0, grey_probability=0)
    assert torch.allclose(jitter_colours(middle, contrast_only, each(0, 64)), middle, atol=1e-6)
    brightness_only = AugmentConfig(brightness=0.2, contrast=0, saturation=0, hue_degrees=0, grey_probability=0)
    shifts = (jitter_colours(middle, brightness_only, each(0, 64)) - middle)[:, 0, 0, 0, 0]
    assert shifts.abs().max() <= 0.2 + 1e-6
    assert shifts.min() < -0.1
    assert shifts.max() > 0.1


def test_grey_clips_have_the_luminance_of_the_coloured_ones() -> None:
    config = AugmentConfig(brightness=0, contrast=0, saturation=0, hue_degrees=0, grey_probability=1)
    luminance = torch.einsum("bcthw,c->bthw", clips(), torch.tensor([0.299, 0.587, 0.114]))
    grey = jitter_colours(clips(), config, each(0))
    assert all(torch.allclose(grey[:, channel], luminance, atol=1e-5) for channel in range(3))


def test_hue_turns_in_both_directions_up_to_the_limit() -> None:
    config = AugmentConfig(brightness=0, contrast=0, saturation=0, hue_degrees=20.0, grey_probability=0)
    colour = torch.tensor([0.6, 0.4, 0.4]).view(1, 3, 1, 1, 1).expand(200, -1, -1, -1, -1)
    turned = jitter_colours(colour, config, each(0, 200)).flatten(1)
    hues = [colorsys.rgb_to_hsv(*pixel)[0] * 360 for pixel in turned.tolist()]
    signed = [(hue + 180) % 360 - 180 for hue in hues]
    assert max(map(abs, signed)) < 25  # a rotation of RGB space is not quite one of HSV
    assert min(signed) < -10
    assert max(signed) > 10


@LAW
@given(seed=SEEDS)
def test_flipping_twice_changes_nothing(seed: int) -> None:
    flips = random_flips(0.5, each(seed))
    once = flip_clips(clips(seed=seed), flips)
    assert torch.equal(flip_clips(once, flips), clips(seed=seed))
    for row in range(3):
        expected = clips(seed=seed)[row].flip(-1) if flips[row] else clips(seed=seed)[row]
        assert torch.equal(once[row], expected)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_flips_are_as_frequent_as_asked(probability: float) -> None:
    share = random_flips(probability, each(0, 4000)).float().mean()
    assert math.isclose(float(share), probability, abs_tol=0.03 if 0 < probability < 1 else 0)


def test_bytes_become_floats_from_0_to_1() -> None:
    byte_clips = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    assert to_float(byte_clips).flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])
    layout = torch.zeros(2, 4, 5, 6, 3, dtype=torch.uint8).permute(0, 4, 1, 2, 3)
    assert to_float(layout).stride() == layout.stride()


def test_mixed_colours_keep_distances_and_forget_which_was_red() -> None:
    config = replace(QUIET, colour_mix_probability=1.0)
    # Near the middle, so that nothing is cut off at 0 or 1.
    pair = 0.5 + 0.1 * torch.randn(200, 3, 1, 2, 1, generator=seeded(0))
    mixed = jitter_colours(pair, config, each(1, 200))
    before, after = ((clip[:, :, 0, 0, 0] - clip[:, :, 0, 1, 0]).norm(dim=1) for clip in (pair, mixed))
    assert torch.allclose(before, after, atol=1e-4)
    red = torch.zeros(200, 3, 1, 1, 1)
    red[:, 0] = 0.2
    middle = jitter_colours(0.5 * torch.ones_like(red), config, each(2, 200))
    turned = jitter_colours(0.5 + red, config, each(2, 200)) - middle
    assert turned.mean(dim=0).abs().max() < 0.04, "no colour is where most reds go"


def test_some_clips_are_mixed_and_grey_stays_in_the_middle() -> None:
    config = replace(QUIET, colour_mix_probability=0.4)
    given_clips = clips(400)
    changed = (jitter_colours(given_clips, config, each(0, 400)) - given_clips).abs().amax(dim=(1, 2, 3, 4)) > 1e-3
    assert 0.3 < changed.float().mean() < 0.5
    grey = torch.full((5, 3, 2, 4, 4), 0.5)
    always = replace(config, colour_mix_probability=1.0)
    assert torch.allclose(jitter_colours(grey, always, each(3, 5)), grey, atol=1e-5)


def test_noise_has_a_strength_of_its_own_in_each_clip() -> None:
    config = replace(QUIET, noise=0.2)
    still = torch.full((300, 3, 4, 8, 8), 0.5)
    noisy = add_noise(still, config, each(0, 300))
    strength = (noisy - still).flatten(1).std(dim=1)
    assert strength.max() < 0.22
    assert strength.min() < 0.02
    assert strength.mean() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(noisy, add_noise(still, config, each(0, 300)))
    assert not torch.equal(noisy, add_noise(still, config, each(1, 300)))
    frames = (noisy - still)[strength.argmax(), 0]
    assert abs(float(torch.corrcoef(frames.flatten(1))[0, 1])) < 0.4, "every frame has its own"


def test_without_noise_the_clips_are_the_same_object() -> None:
    still = clips()
    assert add_noise(still, AugmentConfig(), each(0)) is still


def test_pixels_keep_their_precision_where_the_network_computes_in_less() -> None:
    """With bfloat16, neighbouring frames would differ by rounding, and the colour mixing's noise not fit the clip."""
    config = replace(STRONG, noise=0.1)
    noisy = add_noise(jitter_colours(clips(), config, each(1)), config, each(2))
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = add_noise(jitter_colours(clips(), config, each(1)), config, each(2))
    assert torch.equal(under_autocast, noisy)
