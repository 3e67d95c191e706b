"""Frames of a video file: all in order, or those at given indices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsedense.video.decoder import VideoDecoder


def stream_frames(path: str | Path, *, short_side: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """All frames of a video once, in presentation order, with one frame in memory at a time.

    Args:
        path: a video file.
        short_side: length of the shorter side in pixels to scale down to, aspect kept; a smaller video is left as it
            is. None keeps the size.

    Yields:
        upright RGB frames (H, W, 3), uint8, all of one size.

    Raises:
        UnreadableVideoError: the file is missing, empty, no video, or has no frame that decodes.
        DamagedVideoError: after the last good frame, where the file stops decoding before its end.
        ValueError: `short_side` is not positive.
    """
    with VideoDecoder(path) as decoder:
        yield from decoder.frames(short_side=short_side)


def read_frames(
    path: str | Path, indices: Sequence[int] | NDArray[np.int64], *, short_side: int | None = None
) -> NDArray[np.uint8]:
    """Frames of a video at given indices, which may repeat and come in any order.

    The file is decoded from its beginning up to the last index, because frame numbers cannot be sought exactly.

    Args:
        path: a video file.
        indices: 0-based frame numbers (T,).
        short_side: as in `stream_frames`.

    Returns:
        RGB frames (T, H, W, 3), uint8.

    Raises:
        UnreadableVideoError: no frame can be had from the file.
        DamagedVideoError: the file stops decoding before the last index.
        IndexError: the video has fewer frames than an index asks for, or an index is negative.
        ValueError: `indices` is empty, or `short_side` is not positive.
    """
    wanted, positions = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
    if wanted.size == 0:
        raise ValueError(f"no frame indices given for {path}; at least one is needed")
    if wanted[0] < 0:
        raise IndexError(f"frame index {wanted[0]} of {path} is negative; frames count from 0")
    found: list[NDArray[np.uint8]] = []
    num_frames = 0
    with VideoDecoder(path) as decoder:
        for frame in decoder.frames(short_side=short_side):
            if num_frames == wanted[len(found)]:
                found.append(frame)
            num_frames += 1
            if len(found) == wanted.size:
                return np.stack(found)[positions]
    raise IndexError(f"frame {wanted[-1]} of {path} does not exist: it has {num_frames} frames, counted from 0")
