"""Runs a model over the clips of many videos in batches that may hold clips of several videos.

Shapes: B clips of a batch, D numbers a clip, U clips of a video.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.augment import to_float
from sparsedense.prediction.clips import VideoClips
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.errors import UnreadableVideoError


@dataclass(frozen=True)
class VideoOutput:
    """What a model gives for one video.

    Attributes:
        source: the video.
        mean_D: mean over its clips; None where it could not be read.
        num_frames: frames of the video; 0 where it could not be read.
        damage: where and why decoding ended before the end of the file.
        error: why it could not be read.
    """

    source: VideoSource
    mean_D: NDArray[np.float32] | None
    num_frames: int = 0
    damage: str | None = None
    error: str | None = None


def video_outputs(
    output: Callable[[Tensor], Tensor],
    videos: Iterable[tuple[VideoSource, VideoClips | UnreadableVideoError]],
    *,
    device: torch.device,
    batch_size: int,
) -> Iterator[VideoOutput]:
    """Apply a function of a model to the clips of videos, and average over the clips of each.

    Args:
        output: float clips (B, 3, T, H, W) to rows (B, D).
        videos: their clips, or why there are none.
        device: where `output` wants its clips.
        batch_size: clips a batch.

    Yields:
        one output a video, in order, as soon as its last clip is done.

    Raises:
        ValueError: `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size ({batch_size}) must be at least 1")
    queue = _Queue(output, device)
    for source, clips in videos:
        queue.add(source, clips)
        while queue.num_clips >= batch_size:
            queue.run(batch_size)
        yield from queue.finished()
    while queue.num_clips:
        queue.run(batch_size)
        yield from queue.finished()


@dataclass
class _Waiting:
    """A video whose clips are not all done."""

    source: VideoSource
    clips: VideoClips | UnreadableVideoError
    rows: list[Tensor] = field(default_factory=list)

    @property
    def num_missing(self) -> int:
        return 0 if isinstance(self.clips, UnreadableVideoError) else len(self.clips.shares_U) - len(self.rows)

    def output(self) -> VideoOutput:
        if isinstance(self.clips, UnreadableVideoError):
            return VideoOutput(self.source, None, error=self.clips.reason)
        shares_U1 = torch.from_numpy(self.clips.shares_U)[:, None]
        mean_D: NDArray[np.float32] = (torch.stack(self.rows) * shares_U1).sum(dim=0).numpy()
        return VideoOutput(self.source, mean_D, self.clips.num_frames, self.clips.damage)


class _Queue:
    """Videos in order, and their clips that are not computed yet."""

    def __init__(self, output: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._output, self._device = output, device
        self._videos: deque[_Waiting] = deque()
        self._clips: deque[tuple[_Waiting, NDArray[np.uint8]]] = deque()

    @property
    def num_clips(self) -> int:
        return len(self._clips)

    def add(self, source: VideoSource, clips: VideoClips | UnreadableVideoError) -> None:
        video = _Waiting(source, clips)
        self._videos.append(video)
        if not isinstance(clips, UnreadableVideoError):
            self._clips.extend((video, clip) for clip in clips.frames_UTHWC)

    @torch.inference_mode()
    def run(self, batch_size: int) -> None:
        """Compute the next clips; the last batch may be smaller."""
        batch = [self._clips.popleft() for _ in range(min(batch_size, len(self._clips)))]
        frames_BTHWC = torch.from_numpy(np.stack([clip for _, clip in batch]))
        clips_BCTHW = to_float(frames_BTHWC.permute(0, 4, 1, 2, 3).to(self._device)).contiguous()
        rows_BD = self._output(clips_BCTHW).float().cpu()
        for (video, _), row_D in zip(batch, rows_BD, strict=True):
            video.rows.append(row_D)

    def finished(self) -> Iterator[VideoOutput]:
        """Videos at the head of the queue that wait for nothing more."""
        while self._videos and not self._videos[0].num_missing:
            yield self._videos.popleft().output()
