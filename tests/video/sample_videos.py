"""Small videos, good and broken, for the tests; the brightness of a frame tells its number."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from sparsedense.video.write import write_video

Frames = NDArray[np.uint8]


def numbered_frames(num_frames: int, height: int = 48, width: int = 64) -> Frames:
    """At most 45 frames (T, H, W, 3) of grey 20 + 5 i, with a red upper left quarter to tell which way is up."""
    frames = np.empty((num_frames, height, width, 3), dtype=np.uint8)
    frames[:] = (20 + 5 * np.arange(num_frames, dtype=np.uint8))[:, None, None, None]
    frames[:, : height // 2, : width // 2] = (220, 30, 30)
    return frames


def numbers_of(frames: Frames | list[Frames]) -> list[int]:
    """The number of each frame, read from the brightness of its lower right quarter."""
    return [round((float(f[f.shape[0] * 5 // 8 :, f.shape[1] * 5 // 8 :].mean()) - 20) / 5) for f in frames]


def write_numbered(path: Path, num_frames: int, *, height: int = 48, width: int = 64, fps: float = 25.0) -> Path:
    write_video(path, numbered_frames(num_frames, height, width), fps=fps, crf=10)
    return path


def write_encoded(
    path: Path,
    num_frames: int,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    movflags: str = "",
    times: list[int] | None = None,
) -> Path:
    """A video with what write_video does not offer: B-frames, other pixel formats, uneven times (in 1/25 seconds)."""
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(
            codec, rate=25, options={"crf": "10", **(options or {})} if codec == "libx264" else options
        )
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.codec_context.thread_count = 1
        if codec == "mpeg4":
            stream.bit_rate = 4_000_000
        for number, pixels in enumerate(numbered_frames(num_frames)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_rotated(path: Path, num_frames: int) -> Path:
    """A 64x48 mp4 marked to be shown turned clockwise by 90 degrees, as phones write them."""
    write_numbered(path, num_frames)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44  # of a version 0 track header
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    path.write_bytes(data)
    return path


def write_trimmed(path: Path, num_frames: int, *, cut: int) -> Path:
    """An mp4 whose edit list hides its first frames, as phones trim a video; they are there but not to be shown."""
    write_encoded(path, num_frames, options={"bf": "2"})
    data = bytearray(path.read_bytes())
    (timescale,) = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)
    position = data.index(b"elst") + 16  # of the first edit's start, in units of the timescale
    (start,) = struct.unpack_from(">i", data, position)
    struct.pack_into(">i", data, position, start + cut * timescale // 25)
    path.write_bytes(data)
    return path


def write_audio_only(path: Path, *, cover: bool = False) -> Path:
    """Half a second of silence, like a song with or without a picture of its cover."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        picture = container.add_stream("mjpeg", rate=1) if cover else None
        assert isinstance(stream, av.AudioStream)
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = Disposition.attached_pic
        for _ in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if picture is not None:
            grey = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, dtype=np.uint8), format="rgb24")
            container.mux([*picture.encode(grey), *picture.encode(None)])
    return path


def write_truncated(path: Path, num_frames: int, *, keep: float) -> Path:
    """An mp4 with its header in front that ends after a part of its bytes."""
    write_encoded(path, num_frames, movflags="faststart", options={"g": "10"})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def write_headless(path: Path) -> Path:
    """An mp4 cut before its header, which lies at the end: nothing of it can be decoded."""
    write_numbered(path, 20)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    return path
