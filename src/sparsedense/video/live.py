"""Frames of a camera or of a network stream, as they come."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from sparsedense.video.container import URL_TIMEOUT_SECONDS, reason_of, video_stream
from sparsedense.video.errors import UnreadableVideoError
from sparsedense.video.scale import FrameScaler
from sparsedense.video.url import is_url

_LONGEST_GAP_SECONDS = 10.0  # a greater step in a stream's clock is a new beginning
_CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


class LiveFrame(NamedTuple):
    """A frame (H, W, 3) of uint8, and its time since the first one."""

    seconds: float
    frame_HWC: NDArray[np.uint8]


def live_frames(address: str, *, short_side: int | None = None) -> Iterator[LiveFrame]:
    """Frames as they come, until the stream ends; what is damaged on its way is left out.

    Args:
        address: a URL such as `rtsp://camera/1`, or a camera: its number (`0` is /dev/video0 on Linux), its device
            file, or on Windows `video=NAME`.
        short_side: shorter side in pixels to scale down to, aspect kept; None keeps the size.

    Raises:
        UnreadableVideoError: it cannot be opened, has no video, or breaks off.
    """
    clock = StreamClock()
    with _open(address) as container:
        stream = video_stream(container, address)
        stream.codec_context.thread_count = 1  # more threads hold frames back
        scale: FrameScaler | None = None
        for frame in _decoded(container, stream, address):
            scale = scale or FrameScaler(frame.width, frame.height, short_side=short_side)
            seconds = time.monotonic() if frame.time is None else frame.time
            yield LiveFrame(clock.since_start(seconds), np.ascontiguousarray(scale(frame)))


class StreamClock:
    """Seconds since the first frame, which grow steadily even where the sender's clock jumps."""

    def __init__(self) -> None:
        self._origin: float | None = None
        self._latest = 0.0

    def since_start(self, seconds: float) -> float:
        """Time of a frame since the first one, from its time by the sender's clock."""
        if self._origin is None:
            self._origin = seconds
        if not 0 <= seconds - self._origin - self._latest <= _LONGEST_GAP_SECONDS:
            self._origin = seconds - self._latest
        self._latest = max(self._latest, seconds - self._origin)  # not a rounding error back
        return self._latest


def _open(address: str) -> av.container.InputContainer:
    try:
        if is_url(address):
            # UDP, the default, loses packets on many networks.
            options = {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp:") else {}
            return av.open(address, options=options, timeout=URL_TIMEOUT_SECONDS, metadata_errors="replace")
        name, kind = _camera(address)
        return av.open(name, format=kind, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UnreadableVideoError(address, f"cannot be opened as a live stream ({reason_of(error)})") from error


def _camera(address: str) -> tuple[str, str]:
    """Name and FFmpeg's kind of a camera."""
    kind = _CAMERA_FORMATS.get(sys.platform)
    if kind is None:
        raise UnreadableVideoError(address, f"cameras are not known on {sys.platform}; give a URL")
    if address.isdigit() and kind == "v4l2":
        address = f"/dev/video{address}"
    if kind == "v4l2" and not Path(address).exists():
        raise UnreadableVideoError(address, "there is no such camera; give its number, its device file or a URL")
    return address, kind


def _decoded(container: av.container.InputContainer, stream: av.VideoStream, address: str) -> Iterator[av.VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError) as error:
            raise UnreadableVideoError(address, f"the stream broke off ({reason_of(error)})") from error
        try:
            yield from (frame for frame in packet.decode() if not frame.is_corrupt)
        except av.error.FFmpegError:
            continue  # one joins a stream between key frames, and loses packets
