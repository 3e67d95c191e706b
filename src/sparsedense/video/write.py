"""Frames to a video file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_video(
    path: str | Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: float = 25.0,
    codec: str = "libx264",
    crf: int = 20,
    preset: str = "veryfast",
    keyframe_interval: int | None = None,
    threads: int = 1,
) -> int:
    """Encode frames as a video file; the file appears only when it is complete.

    Args:
        path: the file to write; its extension chooses the container (.mp4, .mkv, .avi, ...). Folders are made.
        frames: RGB frames (H, W, 3), uint8, all of one size. Odd sizes are written without chroma subsampling.
        fps: frame rate.
        codec: FFmpeg's name of an encoder.
        crf: quality of x264 and x265, from 0 (lossless) to 51.
        preset: speed of x264 and x265.
        keyframe_interval: frames from one key frame to the next; None leaves it to the encoder.
        threads: encoding threads; with 1 the file is the same in every run.

    Returns:
        the number of frames written.

    Raises:
        ValueError: there are no frames, or they are not of one size, or not uint8 RGB.
        OSError: the file cannot be written.
        av.error.FFmpegError: the encoder refuses.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    options = {"crf": str(crf), "preset": preset} if codec.startswith("libx26") else {}
    if codec == "libx264" and keyframe_interval is not None:
        options["sc_threshold"] = "0"  # no further key frames at changes of scene
    try:
        with av.open(str(partial.absolute()), mode="w") as container:
            stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
            if not isinstance(stream, av.VideoStream):
                raise ValueError(f"codec {codec!r} is not a video encoder")
            stream.codec_context.thread_count = threads
            if keyframe_interval is not None:
                stream.codec_context.gop_size = keyframe_interval
            num_frames = _encode(container, stream, frames, path)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return num_frames


def _encode(
    container: av.container.OutputContainer, stream: av.VideoStream, frames: Iterable[NDArray[np.uint8]], path: Path
) -> int:
    shape: tuple[int, ...] | None = None
    num_frames = 0
    for frame in frames:
        if shape is None:
            shape = frame.shape
            _set_size(stream, frame, path)
        if frame.shape != shape or frame.dtype != np.uint8:
            raise ValueError(
                f"frame {num_frames} of {path} is {frame.dtype} {frame.shape}; all frames must be uint8 {shape}"
            )
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        num_frames += 1
    if shape is None:
        raise ValueError(f"no frames given for {path}; a video needs at least one")
    container.mux(stream.encode(None))
    return num_frames


def _set_size(stream: av.VideoStream, frame: NDArray[np.uint8], path: Path) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"frames of {path} have shape {frame.shape}; expected (H, W, 3)")
    height, width = frame.shape[:2]
    stream.width, stream.height = width, height
    # Players expect 4:2:0, which needs even sides.
    stream.pix_fmt = "yuv420p" if width % 2 == 0 and height % 2 == 0 else "yuv444p"
