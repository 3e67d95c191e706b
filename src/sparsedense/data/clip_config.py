"""What a clip is: how many frames at which strides, and how large."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.sampling import centre_view_pair, evaluation_clips, min_frames_for


@dataclass(frozen=True)
class ClipConfig:
    """What a clip is; the defaults are the paper's (Dave et al., 2020).

    Attributes:
        length: frames T of a clip.
        size: height and width of a clip in pixels.
        skip_ratio: the dense stride is the sparse stride divided by it.
        other_skip_ratios: further ratios, larger ones are slower; training draws each dense clip's from all of them.
        dense_clips: places of a video that pretraining takes dense clips from: one anywhere, or several evenly spread;
            as many as the skip ratio tile the video.
        dense_copies: dense clips from each place, of the same frames but augmented each by itself.
        min_dense_stride_frames: a video is pretrained on only if its dense stride is at least this.
        evaluation_stride_frames: stride of evaluation clips; `null` takes each video's own dense stride.
    """

    length: int = 16
    size: int = 112
    skip_ratio: float = 4.0
    other_skip_ratios: tuple[float, ...] = ()
    dense_clips: int = 1
    dense_copies: int = 1
    min_dense_stride_frames: float = 1.7
    evaluation_stride_frames: float | None = 2.0

    def __post_init__(self) -> None:
        self._check("length", self.length >= 2, "at least 2 frames: a clip has a stride")
        self._check("size", self.size >= 1, "at least 1 pixel")
        least, stride = self.min_dense_stride_frames, self.evaluation_stride_frames
        self._check("min_dense_stride_frames", 0 <= least < math.inf, "finite and at least 0")
        fits = stride is None or 0 < stride < math.inf
        self._check("evaluation_stride_frames", fits, "finite and above 0, or null for each video's own dense stride")
        if self.dense_clips < 1 or self.dense_copies < 1:
            raise ValueError(
                f"clips.dense_clips ({self.dense_clips}) and clips.dense_copies ({self.dense_copies}) must be at least "
                f"1"
            )
        if not all(0 < ratio < math.inf for ratio in self.skip_ratios):
            raise ValueError(
                f"clips.skip_ratio and clips.other_skip_ratios ({self.skip_ratios}) must be finite and above 0"
            )

    def _check(self, name: str, fits: bool, expected: str) -> None:
        if not fits:
            raise ValueError(f"clips.{name} ({getattr(self, name)}) must be {expected}")

    @property
    def skip_ratios(self) -> tuple[float, ...]:
        """All skip ratios, the fastest dense clips first."""
        return tuple(sorted({self.skip_ratio, *self.other_skip_ratios}))

    @property
    def min_frames(self) -> int:
        """Fewest frames of a video that passes the length filter, at the largest skip ratio."""
        return max(self.length, min_frames_for(self.length, self.skip_ratios[-1], self.min_dense_stride_frames))

    def evaluation_indices(self, num_frames: int, num_clips: int) -> NDArray[np.int64]:
        """Frame indices (num_clips, T) of the clips that a video is judged by."""
        stride_frames = self.evaluation_stride_frames or num_frames / (self.length * self.skip_ratio)
        return evaluation_clips(num_frames, clip_length=self.length, stride_frames=stride_frames, num_clips=num_clips)

    def sparse_evaluation_indices(self, num_frames: int) -> NDArray[np.int64]:
        """Frame indices (T,) of the clip that spans a video; of one too short for it, those of its evaluation clip."""
        if num_frames < self.length:
            return self.evaluation_indices(num_frames, 1).reshape(-1)
        return centre_view_pair(num_frames, clip_length=self.length, skip_ratio=self.skip_ratio).sparse
