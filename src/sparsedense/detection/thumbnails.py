"""A few evenly spaced pictures of a video whose length is not known before its end."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HEIGHT = 90  # pixels


@dataclass(frozen=True)
class Thumbnail:
    """A small picture (H, W, 3) and its time."""

    seconds: float
    picture_HWC: NDArray[np.uint8]


class Thumbnails:
    """Keeps every n-th picture it is offered; when there are too many, every second one goes and n doubles.

    Args:
        most: pictures that are kept, at least 2.

    Raises:
        ValueError: `most` is too small.
    """

    def __init__(self, most: int = 48) -> None:
        if most < 2:
            raise ValueError(f"most ({most}) must be at least 2")
        self._most, self._every, self._offered = most, 1, 0
        self._kept: list[Thumbnail] = []

    def offer(self, seconds: float, frame_HWC: NDArray[np.uint8]) -> None:
        """Keep a frame (H, W, 3), scaled down, if it is its turn."""
        if self._offered % self._every == 0:
            if len(self._kept) == self._most:
                self._kept = self._kept[::2]
                self._every *= 2
            if self._offered % self._every == 0:
                self._kept.append(Thumbnail(seconds, _small(frame_HWC)))
        self._offered += 1

    def nearest(self, seconds: float) -> Thumbnail | None:
        """The picture nearest to a time; None where there is none."""
        return min(self._kept, key=lambda each: abs(each.seconds - seconds), default=None)

    def __len__(self) -> int:
        return len(self._kept)


def _small(frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2  # here: predicting needs it not, and it is slow to import

    height, width = frame_HWC.shape[:2]
    if height <= _HEIGHT:
        return frame_HWC.copy()
    size = (max(1, round(width * _HEIGHT / height)), _HEIGHT)
    return np.asarray(cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
