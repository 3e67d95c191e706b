"""Clips of annotated long videos with what happens in each quarter of them, to fine-tune an encoder on.

Each time that a video is read, its clips lie elsewhere: most about a random action, cut where it may be, the others
anywhere, so that the network also sees what is no action, and the beginnings and ends of actions.

Shapes: B clips of a batch, T frames, S = the clip's size in pixels, R labels of a clip: 4 quarters, or 1.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.augment import AugmentConfig, random_crop_box
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.resize import crop_and_resize
from sparsedense.data.segments import AnnotatedVideo
from sparsedense.detection.calibration import position_labels
from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.errors import DamagedVideoError, UnreadableVideoError
from sparsedense.video.probe import count_frames

_ACTION_SHARE = 0.7  # of the clips; the others lie anywhere
_REACH_SHARE = 0.5  # of a clip's span, that its middle may lie before or behind an action
_STRIDE_OCTAVES = 0.25  # by which strides vary, up and down
_MIXED_VIDEOS = 16  # whose clips are mixed before batches are made of them


class LabelledClips(NamedTuple):
    """A batch.

    Attributes:
        clips_BCTHW: uint8 (B, 3, T, S, S), cropped, not yet changed otherwise.
        labels_BR: class of each quarter; -1 where it is not known.
    """

    clips_BCTHW: Tensor
    labels_BR: Tensor


@dataclass(frozen=True)
class ClipSampling:
    """Which clips to draw.

    Attributes:
        clips: the clips of the model.
        short_side: shorter side in pixels that frames are scaled down to before they are cropped.
        stride_frames: of the finest clips.
        num_scales: each of twice the stride of the one before; all are equally frequent.
        class_names: the actions with background behind them.
        num_labels: R labels of a clip.
        clips_per_video: each time that a video is read.
        augment: how they are cropped.
    """

    clips: ClipConfig
    short_side: int
    stride_frames: float
    num_scales: int
    class_names: tuple[str, ...]
    num_labels: int
    clips_per_video: int
    augment: AugmentConfig


class _DrawnClip(NamedTuple):
    frames_T: NDArray[np.int64]
    labels_R: NDArray[np.int64]


def epoch_batches(
    videos: Sequence[AnnotatedVideo], sampling: ClipSampling, *, batch_size: int, seed: tuple[int, ...]
) -> Iterator[LabelledClips]:
    """Clips of all videos in random order; each video is decoded once, on another thread than that of the caller.

    Args:
        videos: with their files.
        sampling: which clips.
        batch_size: clips of a batch; the last one has fewer.
        seed: the same gives the same clips.

    Raises:
        UnreadableVideoError: a video cannot be read, or is damaged.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(videos)).tolist()
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        try:
            read = pool.map(lambda number: read_clips(videos[number], sampling, (*seed, number)), order)
            while mixed := list(chain.from_iterable(islice(read, _MIXED_VIDEOS))):
                mixed = [mixed[place] for place in rng.permutation(len(mixed)).tolist()]
                for begin in range(0, len(mixed), batch_size):
                    clips, labels = zip(*mixed[begin : begin + batch_size], strict=True)
                    yield LabelledClips(torch.stack(clips), torch.from_numpy(np.stack(labels)))
        finally:
            pool.shutdown(cancel_futures=True)


def read_clips(
    video: AnnotatedVideo, sampling: ClipSampling, seed: Sequence[int]
) -> list[tuple[Tensor, NDArray[np.int64]]]:
    """Random clips (3, T, S, S) of one video with their labels (R,).

    Raises:
        UnreadableVideoError: it cannot be read, or is damaged.
    """
    assert video.path is not None
    rng = np.random.default_rng(seed)
    with VideoDecoder(video.path) as decoder:
        if decoder.info.fps is None:
            raise UnreadableVideoError(video.path, "it does not tell its frame rate")
        num_frames = count_frames(video.path)
        drawn = [draw_clip(rng, video, sampling, num_frames, decoder.info.fps) for _ in range(sampling.clips_per_video)]
        frames = _frames(decoder, sampling.short_side, set(np.concatenate([each.frames_T for each in drawn]).tolist()))
    last = max(frames)
    clips = []
    for frames_T, labels_R in drawn:
        frames_THWC = np.stack([frames.get(number, frames[last]) for number in frames_T.tolist()])
        box = random_crop_box(frames_THWC.shape[1], frames_THWC.shape[2], sampling.augment, rng)
        clip_CTHW = torch.from_numpy(frames_THWC).permute(3, 0, 1, 2)
        clips.append((crop_and_resize(clip_CTHW, box, sampling.clips.size).contiguous(), labels_R))
    return clips


def draw_clip(
    rng: np.random.Generator, video: AnnotatedVideo, sampling: ClipSampling, num_frames: int, fps: float
) -> _DrawnClip:
    """A random place for a clip: numbers of its frames (T,), those before and behind the video its ends, and labels."""
    octaves = int(rng.integers(sampling.num_scales)) + rng.uniform(-_STRIDE_OCTAVES, _STRIDE_OCTAVES)
    stride = max(1.0, sampling.stride_frames * 2.0**octaves)
    span = sampling.clips.length * stride
    middle = rng.uniform(0, num_frames)
    if video.segments and rng.random() < _ACTION_SHARE:
        segment = video.segments[int(rng.integers(len(video.segments)))]
        reach = _REACH_SHARE * span
        middle = rng.uniform(segment.start_seconds * fps - reach, segment.end_seconds * fps + reach)
    start = middle - span / 2
    frames_T = np.floor(start + stride * np.arange(sampling.clips.length)).clip(0, num_frames - 1).astype(np.int64)
    quarters = (np.arange(sampling.num_labels) + 0.5) / sampling.num_labels
    seconds_R = (start + span * quarters) / fps
    names = sampling.class_names
    labels_R = position_labels(video.segments, seconds_R, names, len(names) - 1)
    for segment in video.ambiguous:
        labels_R[(segment.start_seconds <= seconds_R) & (seconds_R < segment.end_seconds)] = -1
    return _DrawnClip(frames_T, labels_R)


def _frames(decoder: VideoDecoder, short_side: int, wanted: set[int]) -> dict[int, NDArray[np.uint8]]:
    """Frames (H, W, 3) by their number, as far as there are any, and the first one."""
    frames: dict[int, NDArray[np.uint8]] = {}
    try:
        for number, picture in enumerate(decoder.pictures(short_side=short_side)):
            if number == 0 or number in wanted:
                frames[number] = picture()
    except DamagedVideoError as error:
        raise UnreadableVideoError(
            decoder.path, f"{error.reason}; mend it or take it out of the annotations"
        ) from error
    return frames
