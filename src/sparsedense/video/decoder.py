"""One open video file: what it is, and its frames in presentation order.

Files are decoded strictly from the beginning. Seeking is not used: XviD and MPEG-4 AVI files with B-frames carry no
presentation time stamps, and a seek in them lands one frame off.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import numpy as np
from av.stream import Disposition
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from sparsedense.video.errors import DamagedVideoError, UnreadableVideoError


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file says about itself, measured on its first frame where headers tend to lie.

    Attributes:
        path: the file.
        width: width of an upright frame in pixels (the rotation is applied).
        height: height of an upright frame in pixels.
        fps: average frame rate; None where the file does not say.
        num_frames_header: number of frames the header claims (it may be wrong); None where it claims nothing.
        duration_seconds: duration the header claims; None where it claims nothing.
        codec: FFmpeg's name of the codec, such as "h264".
        rotation_degrees: counter-clockwise turn that makes the coded frame upright: 0, 90, 180 or 270.
    """

    path: Path
    width: int
    height: int
    fps: float | None
    num_frames_header: int | None
    duration_seconds: float | None
    codec: str
    rotation_degrees: int


class VideoDecoder:
    """A video file opened for decoding, as a context manager.

    The first frame is decoded at once, so `info` is about what really comes out. Decoding uses one thread: the
    parallelism is over files.

    Args:
        path: a file in any format FFmpeg reads. Its first video stream that is no cover picture is taken.

    Raises:
        UnreadableVideoError: the file is missing, empty, no video, or has no frame that decodes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        _check_file(self.path)
        self._num_frames = 0
        self._damage: str | None = None
        try:
            # An absolute path, because FFmpeg takes "a:b.mp4" for a protocol. Latin-1 tags must not stop the reading.
            self._container = av.open(str(self.path.absolute()), metadata_errors="replace")
        except (av.error.FFmpegError, OSError) as error:
            raise UnreadableVideoError(path, _open_reason(error)) from error
        try:
            self._stream = _video_stream(self._container, self.path)
            self._stream.codec_context.thread_count = 1
            self._decoded = self._decode()
            self._first = self._first_frame()
        except BaseException:
            self._container.close()
            raise
        self.info = self._describe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; frames cannot be read after it."""
        self._decoded.close()
        self._container.close()

    def frames(self, *, short_side: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """All frames once, in presentation order; to be called once.

        Args:
            short_side: length of the shorter side in pixels to scale down to, aspect kept; a smaller video is left as
                it is. None keeps the size.

        Yields:
            upright RGB frames (H, W, 3), all of the size of the first one.

        Raises:
            DamagedVideoError: after the last good frame, where the file stops decoding before its end.
            ValueError: `short_side` is not positive.
        """
        # One reformatter a file: without it each frame pays for a new scaler, which costs as much as decoding.
        reformatter = VideoReformatter()
        width, height = scaled_size(self._first.width, self._first.height, short_side=short_side)
        quarter_turns = self.info.rotation_degrees // 90
        frame: av.VideoFrame | None = self._first
        while frame is not None:
            # Scaling and colour conversion are one pass of swscale, in this thread.
            rgb = reformatter.reformat(
                frame, width=width, height=height, format="rgb24", interpolation=Interpolation.AREA, threads=1
            )
            pixels = rgb.to_ndarray().astype(np.uint8, copy=False)
            self._num_frames += 1
            # The rows of the scaler may be padded; what leaves here is an ordinary array.
            yield np.ascontiguousarray(np.rot90(pixels, quarter_turns))
            frame = next(self._decoded, None)
        if self._damage is not None:
            raise DamagedVideoError(self.path, self._damage, self._num_frames)

    def _decode(self) -> Generator[av.VideoFrame, None, None]:
        """Frames up to the end or the first damage, which is kept in `_damage`."""
        num_accepted = 0
        begun = False
        for packet in self._packets():
            try:
                if packet.is_corrupt and packet.size:
                    self._damage = "a packet is incomplete"
                    break
                frames = packet.decode()
            except av.error.FFmpegError as error:
                if num_accepted == 0:
                    continue  # a stream cut out of a longer one begins with what refers to missing packets
                self._damage = _reason(error)
                break
            num_accepted += packet.size > 0
            for frame in frames:
                if frame.is_corrupt and begun:
                    self._damage = "a frame is incomplete"
                    return
                if not frame.is_corrupt:
                    begun = True
                    yield frame
        if self._damage is not None:
            yield from self._flush()

    def _packets(self) -> Iterator[av.Packet[av.VideoStream]]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError) as error:
                self._damage = _reason(error)
                return
            yield packet

    def _flush(self) -> Iterator[av.VideoFrame]:
        """Good frames that the decoder still holds when a later packet is damaged."""
        try:
            frames = self._stream.codec_context.decode(None)
        except av.error.FFmpegError:
            return
        for frame in frames:
            if frame.is_corrupt:
                return
            yield frame

    def _first_frame(self) -> av.VideoFrame:
        frame = next(self._decoded, None)
        if frame is None:
            raise UnreadableVideoError(self.path, f"no frame can be decoded ({self._damage or 'the stream is empty'})")
        return frame

    def _describe(self) -> VideoInfo:
        stream, container = self._stream, self._container
        rotation = round(self._first.rotation / 90) * 90 % 360
        width, height = self._first.width, self._first.height
        duration: float | None = None
        if stream.duration is not None and stream.time_base is not None:
            duration = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration = container.duration / av.time_base
        return VideoInfo(
            path=self.path,
            width=height if rotation % 180 else width,
            height=width if rotation % 180 else height,
            fps=float(stream.average_rate) if stream.average_rate else None,
            num_frames_header=stream.frames or None,
            duration_seconds=duration,
            codec=stream.codec_context.codec.canonical_name,
            rotation_degrees=rotation,
        )


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


def _check_file(path: Path) -> None:
    """Refuse what needs no decoder to refuse (and what would block it, such as a named pipe)."""
    try:
        if path.is_dir():
            raise UnreadableVideoError(path, "is a folder")
        if not path.exists():
            raise UnreadableVideoError(path, "file not found")
        if not path.is_file():
            raise UnreadableVideoError(path, "not a regular file")
        if path.stat().st_size == 0:
            raise UnreadableVideoError(path, "file is empty")
    except OSError as error:
        raise UnreadableVideoError(path, _reason(error)) from error


def _video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The first video stream that is no cover picture of an audio file."""
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        if stream.codec_context is None:
            raise UnreadableVideoError(path, "no decoder for its video codec")
        return stream
    raise UnreadableVideoError(path, "no video stream (audio only)" if container.streams.audio else "no video stream")


def _open_reason(error: Exception) -> str:
    if isinstance(error, av.error.InvalidDataError):
        return f"not a video file ({_reason(error)})"
    return _reason(error)


def _reason(error: Exception) -> str:
    """The system's or FFmpeg's words for an error, without path and number."""
    text = getattr(error, "strerror", None)
    return text if isinstance(text, str) and text else type(error).__name__
