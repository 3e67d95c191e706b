"""The evaluation clips of one video, decoded once, in order; only the frames of the clips are kept.

Frames go the way of a store's: scaled to its short side, then cropped and resized to the clip's size. So a model says
of a file what it says of the same video in a store, but for the store's JPEG.

Shapes: M clips asked for, U different clips, T frames, S = the clip's size in pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import av
import numpy as np
import torch
from numpy.typing import NDArray

from sparsedense.data.augment import centre_crop_box
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.resize import crop_and_resize
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.errors import DamagedVideoError, UnreadableVideoError
from sparsedense.video.probe import count_frames, probe
from sparsedense.video.scale import FrameScaler
from sparsedense.video.url import is_url

_MOST_DECODINGS = 2  # the second one knows the true number of frames


@dataclass(frozen=True)
class ClipForm:
    """Which clips to take of a video, and how to make their frames.

    Attributes:
        clips: the clips that the model was trained on.
        short_side: shorter side in pixels that frames are scaled down to before they are cropped.
        clips_per_video: evenly spaced clips a video.
        view: `dense` takes these clips, `sparse` the one clip that spans the video.

    Raises:
        ValueError: the view is neither.
    """

    clips: ClipConfig
    short_side: int
    clips_per_video: int
    view: str = "dense"

    def __post_init__(self) -> None:
        if self.view not in ("dense", "sparse"):
            raise ValueError(f"view ({self.view!r}) must be 'dense' or 'sparse'")

    def indices(self, num_frames: int) -> NDArray[np.int64]:
        """Frame indices (M, T) of the clips of a video."""
        if self.view == "sparse":
            return self.clips.sparse_evaluation_indices(num_frames)[None]
        return self.clips.evaluation_indices(num_frames, self.clips_per_video)


@dataclass(frozen=True)
class VideoClips:
    """The clips of one video.

    Attributes:
        frames_UTHWC: the different clips (U, T, S, S, 3), uint8; a short video has fewer than were asked for.
        shares_U: share of the clips asked for that each of them stands for.
        num_frames: frames of the video.
        damage: where and why decoding ended before the end of the file.
    """

    frames_UTHWC: NDArray[np.uint8]
    shares_U: NDArray[np.float32]
    num_frames: int
    damage: str | None = None


class StoppedError(Exception):
    """Reading was stopped from outside."""


def read_clips(source: VideoSource, form: ClipForm, stop: Event | None = None) -> VideoClips:
    """Read the evaluation clips of a video.

    The number of frames, which decides where the clips lie, is counted beforehand without decoding, or at a URL taken
    from the header. Where decoding finds another number, as in a damaged file, the video is decoded a second time.

    Args:
        source: what to read.
        form: which clips.
        stop: reading ends soon after this is set.

    Raises:
        UnreadableVideoError: no frame can be had.
        StoppedError: `stop` was set.
    """
    media = source.media
    if media is None:
        raise UnreadableVideoError(source.name, source.problem or "there is nothing to read")
    if isinstance(media, np.ndarray):
        return _array_clips(media, form)
    num_frames = _expected_frames(media)
    for _ in range(_MOST_DECODINGS):
        indices_MT = form.indices(max(num_frames, 1))
        decoded = _decode(media, np.unique(indices_MT), form, stop or Event())
        if decoded.num_frames == num_frames:
            return assemble_clips(indices_MT, decoded.frames, decoded.num_frames, decoded.damage)
        num_frames = decoded.num_frames
    raise UnreadableVideoError(source.name, "each reading gives another number of frames")


def _expected_frames(media: Path | str) -> int:
    # Counting takes milliseconds where there is a file; at a URL it would be one download more.
    claimed = probe(media).num_frames_header if is_url(media) else None
    return claimed or count_frames(media)


@dataclass(frozen=True)
class _Decoded:
    """Frames that were wanted, by their number, of a video that was decoded to its end."""

    frames: dict[int, NDArray[np.uint8]]
    num_frames: int
    damage: str | None


def _decode(media: Path | str, wanted: NDArray[np.int64], form: ClipForm, stop: Event) -> _Decoded:
    frames: dict[int, NDArray[np.uint8]] = {}
    numbers = set(wanted.tolist())
    num_frames, damage = 0, None
    with VideoDecoder(media) as decoder:
        try:
            for picture in decoder.pictures(short_side=form.short_side):
                if stop.is_set():
                    raise StoppedError
                if num_frames in numbers:
                    frames[num_frames] = crop_frame(picture(), form.clips.size)
                num_frames += 1
        except DamagedVideoError as error:
            damage = f"damaged after frame {error.num_frames} ({error.reason})"
    return _Decoded(frames, num_frames, damage)


def _array_clips(frames_THWC: NDArray[np.uint8], form: ClipForm) -> VideoClips:
    indices_MT = form.indices(len(frames_THWC))
    height, width = frames_THWC.shape[1:3]
    scale = FrameScaler(width, height, short_side=form.short_side)
    frames = {
        number: crop_frame(
            scale(av.VideoFrame.from_ndarray(np.ascontiguousarray(frames_THWC[number]), format="rgb24")),
            form.clips.size,
        )
        for number in np.unique(indices_MT).tolist()
    }
    return assemble_clips(indices_MT, frames, len(frames_THWC))


def crop_frame(frame_HWC: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The largest square in the middle of a frame, resized to (S, S, 3)."""
    clip_CTHW = torch.from_numpy(np.ascontiguousarray(frame_HWC)).permute(2, 0, 1)[:, None]
    box = centre_crop_box(*frame_HWC.shape[:2])
    # A copy, because a window that needs no resizing would keep the whole frame in memory.
    cropped: NDArray[np.uint8] = crop_and_resize(clip_CTHW, box, size)[:, 0].permute(1, 2, 0).numpy().copy()
    return cropped


def assemble_clips(
    indices_MT: NDArray[np.int64], frames: Mapping[int, NDArray[np.uint8]], num_frames: int, damage: str | None = None
) -> VideoClips:
    """Clips from frames that are there.

    Args:
        indices_MT: numbers of the frames of each clip.
        frames: cropped frames (S, S, 3) by their number.
        num_frames: frames of the video.
        damage: where and why decoding ended before the end of the file.
    """
    indices_UT, counts_U = np.unique(indices_MT, axis=0, return_counts=True)
    frames_UTHWC = np.stack([np.stack([frames[number] for number in clip]) for clip in indices_UT.tolist()])
    return VideoClips(frames_UTHWC, (counts_U / len(indices_MT)).astype(np.float32), num_frames, damage)
