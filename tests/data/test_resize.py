from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.augment import CropBox, to_float
from sparsedense.data.frame_reading import resize_plainly
from sparsedense.data.resize import MOST_SHRUNK_PLAINLY, crop_and_resize, needs_antialias, resize_clips
from sparsedense.data.store import FrameStore

LAW = settings(deadline=None, max_examples=60)
SIDES = st.integers(1, 40)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reference(frames_THWC: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    """The formula, pixel by pixel: a triangle about its middle, of one pixel or, antialiased, of all that it covers."""
    height, width = frames_THWC.shape[1:3]
    antialias = max(height, width) > MOST_SHRUNK_PLAINLY * size

    def weights(source: int) -> NDArray[np.float64]:
        scale = source / size
        support = max(1.0, scale) if antialias else 1.0
        rows = np.zeros((size, source))
        for target in range(size):
            centre = (target + 0.5) * scale - 0.5
            if not antialias:  # what lies outside is the edge
                centre = min(max(centre, 0.0), source - 1.0)
            for place in range(source):
                rows[target, place] = max(0.0, 1 - abs(place - centre) / support)
        return np.asarray(rows / rows.sum(axis=1, keepdims=True))

    resized = np.einsum("yh,xw,thwc->tyxc", weights(height), weights(width), frames_THWC.astype(np.float64))
    return np.asarray(resized, dtype=np.float64)


def pixels(num_frames: int, height: int, width: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def as_clip(frames_THWC: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(frames_THWC).permute(3, 0, 1, 2)


@LAW
@given(height=SIDES, width=SIDES, size=st.integers(1, 40), seed=st.integers(0, 99))
def test_resizing_follows_the_formula(height: int, width: int, size: int, seed: int) -> None:
    frames = pixels(2, height, width, seed)
    resized = crop_and_resize(as_clip(frames), CropBox(0, 0, height, width), size)
    assert resized.shape == (3, 2, size, size)
    assert resized.dtype == torch.uint8
    assert np.abs(resized.permute(1, 2, 3, 0).numpy() - reference(frames, size)).max() <= 1.01


@LAW
@given(height=SIDES, width=SIDES, enlarged=st.floats(1 / MOST_SHRUNK_PLAINLY, 3), seed=st.integers(0, 99))
def test_the_loaders_kernel_follows_the_formula_too(height: int, width: int, enlarged: float, seed: int) -> None:
    size = math.ceil(max(height, width) * enlarged)
    whole = pixels(1, height + 3, width + 4, seed)
    window = whole[0, 2 : 2 + height, 1 : 1 + width]
    target = np.empty((size, size, 3), dtype=np.uint8)
    resize_plainly(window, target)
    assert np.abs(target - reference(window[None], size)[0]).max() <= 1.01


@given(size=st.integers(1, 200))
def test_more_than_half_as_large_again_is_antialiased(size: int) -> None:
    longest = int(1.5 * size)
    assert not needs_antialias(longest, 1, size)
    assert needs_antialias(longest + 1, 1, size)
    assert needs_antialias(1, longest + 1, size)


def test_cropping_takes_the_window_of_every_frame() -> None:
    clip = torch.arange(3 * 2 * 8 * 9).remainder(256).to(torch.uint8).view(3, 2, 8, 9)
    same_size = crop_and_resize(clip, CropBox(1, 3, 4, 4), 4)
    assert torch.equal(same_size, clip[:, :, 1:5, 3:7])
    resized = crop_and_resize(clip, CropBox(2, 1, 5, 6), 4)
    assert torch.equal(resized, crop_and_resize(clip[:, :, 2:7, 1:7], CropBox(0, 0, 5, 6), 4))


@pytest.mark.parametrize("size", [4, 6, 8, 12])
def test_float_clips_are_resized_as_bytes_are(size: int) -> None:
    byte_clips = torch.randint(0, 256, (2, 3, 5, 8, 8), generator=seeded(0), dtype=torch.uint8)
    expected = torch.stack([crop_and_resize(clip, CropBox(0, 0, 8, 8), size) for clip in byte_clips])
    resized = resize_clips(to_float(byte_clips), size)
    assert resized.shape == (2, 3, 5, size, size)
    assert torch.allclose(255 * resized, expected.float(), atol=1.5)


@st.composite
def boxes(draw: Callable[[st.SearchStrategy[int]], int], height: int, width: int) -> CropBox:
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return CropBox(top, left, draw(st.integers(1, height - top)), draw(st.integers(1, width - left)))


@settings(deadline=None, max_examples=40)
@given(
    data=st.data(),
    codec=st.sampled_from(["jpeg", "raw"]),
    num_clips=st.integers(1, 3),
    length=st.integers(1, 6),
    size=st.integers(4, 48),
)
def test_clips_from_a_store_are_its_frames_cut_and_resized(
    data: st.DataObject, codec: str, num_clips: int, length: int, size: int, jpeg_store: Path, raw_store: Path
) -> None:
    store = FrameStore({"jpeg": jpeg_store, "raw": raw_store}[codec])
    video = store.paths.index("walk/1.mp4")
    indices = np.array([[data.draw(st.integers(0, 29)) for _ in range(length)] for _ in range(num_clips)])
    windows = [data.draw(boxes(48, 64)) for _ in range(num_clips)]
    targets = np.zeros((num_clips, length, size, size, 3), dtype=np.uint8)
    store.read_clips(video, indices, windows, list(targets))
    for clip, box, target in zip(indices, windows, targets, strict=True):
        expected = crop_and_resize(store.read(video, clip), box, size).permute(1, 2, 3, 0).numpy()
        rounding = not needs_antialias(box.height, box.width, size)  # of two kernels
        assert np.abs(target.astype(np.int16) - expected).max() <= rounding


def test_a_window_of_a_clip_that_leaves_the_frame_is_an_error(jpeg_store: Path) -> None:
    store = FrameStore(jpeg_store)
    video = store.paths.index("walk/1.mp4")
    target = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(IndexError, match=rf"48 x 64, of walk/1\.mp4 \(video {video}\)"):
        store.read_clips(video, np.array([[0]]), [CropBox(40, 0, 9, 4)], [target])
