"""Scaling of frames, done the same for files and for arrays."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray


class FrameScaler:
    """Scales frames to a short side and converts them to RGB, in one pass of swscale, in this thread.

    Args:
        width: width of the result in pixels, before it is scaled down.
        height: height of the result in pixels, before it is scaled down.
        short_side: shorter side in pixels to scale down to, aspect kept; None keeps the size.

    Raises:
        ValueError: `short_side` is not positive.
    """

    def __init__(self, width: int, height: int, *, short_side: int | None) -> None:
        self._width, self._height = scaled_size(width, height, short_side=short_side)
        # One reformatter a file: without it each frame pays for a new scaler, which costs as much as decoding.
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """RGB (H, W, 3) of a frame; its rows may be padded."""
        rgb = self._reformatter.reformat(
            frame,
            width=self._width,
            height=self._height,
            format="rgb24",
            interpolation=Interpolation.AREA,
            threads=1,
        )
        return rgb.to_ndarray().astype(np.uint8, copy=False)


def scaled_size(width: int, height: int, *, short_side: int | None) -> tuple[int, int]:
    """Width and height with the shorter side at most `short_side` pixels, aspect kept to the nearest pixel.

    Raises:
        ValueError: `short_side` is not positive.
    """
    if short_side is None:
        return width, height
    if short_side < 1:
        raise ValueError(f"short_side ({short_side}) must be at least 1 pixel")
    shorter = min(width, height)
    if shorter <= short_side:
        return width, height
    return max(1, round(width * short_side / shorter)), max(1, round(height * short_side / shorter))
