"""What a model says about videos.

Shapes: L classes, N videos, D features.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """The classes of one video, the most probable one first.

    Attributes:
        video: the video, as it was given.
        labels: names of all L classes; empty where the video could not be read.
        probabilities: of these classes (L,), summing to 1.
        num_frames: frames of the video.
        damage: where and why decoding ended before the end of the file; the answer is about the frames before.
        error: why the video could not be read; None where it could.
    """

    video: str
    labels: tuple[str, ...] = ()
    probabilities: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    num_frames: int = 0
    damage: str | None = None
    error: str | None = None

    @property
    def label(self) -> str:
        """The most probable class.

        Raises:
            ValueError: the video could not be read.
        """
        self._check()
        return self.labels[0]

    @property
    def probability(self) -> float:
        """Probability of the most probable class.

        Raises:
            ValueError: the video could not be read.
        """
        self._check()
        return float(self.probabilities[0])

    def _check(self) -> None:
        if self.error is not None:
            raise ValueError(f"there is no prediction for {self.video}: {self.error}")


@dataclass(frozen=True)
class LivePrediction:
    """The classes of the last seconds of a stream, the most probable one first.

    Attributes:
        start_seconds: begin of these seconds, since the first frame of the stream.
        end_seconds: their end.
        labels: names of all L classes.
        probabilities: of these classes (L,), summing to 1.
    """

    start_seconds: float
    end_seconds: float
    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Embeddings:
    """Features of videos.

    Attributes:
        features_ND: a row (D,) for each video that could be read, float32, the mean over its clips.
        videos: the N videos of the rows.
        errors: why others could not be read, by video.
        damages: where and why decoding ended before the end of a file, by video.
    """

    features_ND: NDArray[np.float32]
    videos: tuple[str, ...]
    errors: dict[str, str] = field(default_factory=dict)
    damages: dict[str, str] = field(default_factory=dict)
