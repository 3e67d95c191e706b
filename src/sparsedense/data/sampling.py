"""Which frames make a clip: the sparse and the dense view of one video, and the clips of an evaluation.

    num_frames = 64, clip_length = 8, skip_ratio = 4
    sparse   f.......f.......f.......f.......f.......f.......f.......f.......   stride 8, spans the whole video
    dense    ....................f.f.f.f.f.f.f.f.............................   stride 2, a quarter of it

Pure functions of numbers: nothing here knows of files, stores or tensors. Frame indices are 0-based.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FrameIndices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ViewPair:
    """Frame indices of the two views of one video, each of T entries."""

    sparse: FrameIndices
    dense: FrameIndices


@dataclass(frozen=True, slots=True)
class ClipViews:
    """Frame indices of a sparse clip (T,) and of dense clips (D, T), and which skip ratio each of these has (D,)."""

    sparse: FrameIndices
    dense: FrameIndices
    ratio_ids: NDArray[np.int64]


def sparse_stride(num_frames: int, clip_length: int) -> float:
    """Stride s = F / T in frames of the clip that spans the whole video."""
    _check_clip(num_frames, clip_length)
    return num_frames / clip_length


def min_frames_for(clip_length: int, skip_ratio: float, min_dense_stride_frames: float) -> int:
    """Fewest frames F for which the dense stride F / (T * skip_ratio) is at least the minimum.

    With the paper's 16, 4 and 1.7 this is 109 frames, which keeps 7,417 of the 9,537 videos of UCF101's train
    split 1, the paper's own count.
    """
    return math.ceil(round(clip_length * skip_ratio * min_dense_stride_frames, 6))


def sparse_indices(num_frames: int, *, clip_length: int, start_frames: float = 0.0) -> FrameIndices:
    """Frame indices of a clip that spans the whole video at a constant stride.

        num_frames = 32, clip_length = 8:   f...f...f...f...f...f...f...f...   stride_frames = 4

    Args:
        num_frames: length F of the video in frames.
        clip_length: number of frames T to take.
        start_frames: offset of the first frame, in [0, stride).

    Raises:
        ValueError: the video has fewer frames than the clip, or the start is outside the first stride.
    """
    stride_frames = sparse_stride(num_frames, clip_length)
    if not 0 <= start_frames < stride_frames:
        raise ValueError(
            f"start_frames ({start_frames}) must be in [0, {stride_frames}), the first stride of the video"
        )
    return _at_stride(start_frames, stride_frames, clip_length, num_frames)


def dense_indices(
    num_frames: int, *, clip_length: int, stride_frames: float, start_frames: float = 0.0
) -> FrameIndices:
    """Frame indices of a clip at a small constant stride, which may be fractional.

        num_frames = 32, clip_length = 8, stride_frames = 1, start_frames = 10:   ..........ffffffff..............

    Raises:
        ValueError: the clip does not fit into the video.
    """
    _check_clip(num_frames, clip_length)
    span_frames = (clip_length - 1) * stride_frames
    if stride_frames <= 0 or start_frames < 0 or start_frames + span_frames > num_frames - 1 + 1e-6:
        raise ValueError(
            f"a clip of {clip_length} frames at stride {stride_frames} from frame {start_frames} does not fit "
            f"a video of {num_frames} frames"
        )
    return _at_stride(start_frames, stride_frames, clip_length, num_frames)


def random_views(
    num_frames: int,
    *,
    clip_length: int,
    skip_ratios: Sequence[float],
    num_places: int = 1,
    copies: int = 1,
    rng: np.random.Generator,
) -> ClipViews:
    """A sparse clip at a random start and dense clips of one video (Dave et al., 2020).

    The sparse start is uniform in [0, s). A dense clip has the stride s / skip_ratio, with one of the ratios. One dense
    clip starts anywhere it fits; several are spread evenly, so that as many as the ratio tile the video:

        skip_ratio = 4, num_places = 4    |dddd|dddd|dddd|dddd|

    Args:
        num_frames: length F of the video in frames.
        clip_length: number of frames T of a clip.
        skip_ratios: the ratios that a dense clip may have.
        num_places: how many places in the video dense clips come from.
        copies: how many dense clips come from each place, one after the other; they show the same frames.
        rng: the generator.

    Raises:
        ValueError: there is no ratio, place or copy, or the video is too short.
    """
    if not skip_ratios or num_places < 1 or copies < 1:
        raise ValueError(
            f"skip_ratios ({list(skip_ratios)}) must not be empty, num_places ({num_places}) and copies ({copies}) "
            f"must be at least 1"
        )
    stride_frames = sparse_stride(num_frames, clip_length)
    sparse = sparse_indices(num_frames, clip_length=clip_length, start_frames=rng.random() * stride_frames)
    starts = np.array([rng.random()]) if num_places == 1 else np.linspace(0.0, 1.0, num_places)
    ratio_ids = rng.integers(len(skip_ratios), size=num_places) if len(skip_ratios) > 1 else np.zeros(num_places, int)
    dense = []
    for start, ratio_id in zip(starts, ratio_ids, strict=True):
        dense_stride = stride_frames / skip_ratios[ratio_id]
        room_frames = num_frames - 1 - (clip_length - 1) * dense_stride
        dense.append(
            dense_indices(
                num_frames, clip_length=clip_length, stride_frames=dense_stride, start_frames=start * room_frames
            )
        )
    return ClipViews(sparse, np.repeat(dense, copies, axis=0), np.repeat(ratio_ids, copies).astype(np.int64))


def centre_view_pair(num_frames: int, *, clip_length: int, skip_ratio: float) -> ViewPair:
    """The two views without chance, for evaluation: both centred in the video."""
    stride_frames = sparse_stride(num_frames, clip_length)
    return ViewPair(
        sparse=sparse_indices(num_frames, clip_length=clip_length, start_frames=max(0.0, (stride_frames - 1) / 2)),
        dense=evaluation_clips(
            num_frames, clip_length=clip_length, stride_frames=stride_frames / skip_ratio, num_clips=1
        )[0],
    )


def evaluation_clips(num_frames: int, *, clip_length: int, stride_frames: float, num_clips: int) -> NDArray[np.int64]:
    """Clips at evenly spaced starts, the first at the video's start and the last at its end; one clip is centred.

    A video too short for the stride gets the largest stride that fits, so that every video can be evaluated; one
    shorter than the clip repeats frames.

    Returns:
        Frame indices of shape (num_clips, clip_length).

    Raises:
        ValueError: a count is below 1 or the stride is not positive.
    """
    if num_clips < 1 or clip_length < 1 or num_frames < 1 or stride_frames <= 0:
        raise ValueError(
            f"num_clips ({num_clips}), clip_length ({clip_length}) and num_frames ({num_frames}) must be at least 1 "
            f"and stride_frames ({stride_frames}) positive"
        )
    stride_frames = min(stride_frames, (num_frames - 1) / max(clip_length - 1, 1))
    room_frames = num_frames - 1 - (clip_length - 1) * stride_frames
    fractions = np.array([0.5]) if num_clips == 1 else np.linspace(0.0, 1.0, num_clips)
    starts_N1 = fractions[:, None] * room_frames
    indices_NT = np.floor(starts_N1 + np.arange(clip_length) * stride_frames + 1e-6)
    return np.clip(indices_NT, 0, num_frames - 1).astype(np.int64)


def interval_positions(sparse: FrameIndices, num_intervals: int) -> NDArray[np.float64]:
    """Centre, in frames of the video, of each of the K intervals of a sparse clip (last axis T -> K).

    Raises:
        ValueError: T is not a multiple of K.
    """
    clip_length = sparse.shape[-1]
    if num_intervals < 1 or clip_length % num_intervals:
        raise ValueError(f"num_intervals ({num_intervals}) must divide the clip length ({clip_length})")
    grouped = sparse.reshape(*sparse.shape[:-1], num_intervals, clip_length // num_intervals)
    positions: NDArray[np.float64] = grouped.mean(axis=-1, dtype=np.float64)
    return positions


def _at_stride(start: float, stride: float, clip_length: int, num_frames: int) -> FrameIndices:
    # The small constant keeps a product such as 3 * 1.1 / 1.1 from falling just under its whole number.
    indices = np.floor(start + np.arange(clip_length) * stride + 1e-6).astype(np.int64)
    inside: FrameIndices = np.minimum(indices, num_frames - 1)
    return inside


def _check_clip(num_frames: int, clip_length: int) -> None:
    if clip_length < 2:
        raise ValueError(f"clip_length ({clip_length}) must be at least 2")
    if num_frames < clip_length:
        raise ValueError(f"a clip of {clip_length} frames does not fit a video of {num_frames} frames")
