"""One open video file: what it is, and its frames in presentation order.

Files are decoded strictly from the beginning. Seeking is not used: XviD and MPEG-4 AVI files with B-frames carry no
presentation time stamps, and a seek in them lands one frame off.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from sparsedense.video.container import open_container, reason_of, video_stream
from sparsedense.video.errors import DamagedVideoError, UnreadableVideoError
from sparsedense.video.jpeg_planes import JpegPlanes, JpegPlaneScaler
from sparsedense.video.scale import FrameScaler
from sparsedense.video.url import is_url


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file says about itself, measured on its first frame where headers tend to lie.

    Attributes:
        path: the file or URL.
        width: width of an upright frame in pixels (the rotation is applied).
        height: height of an upright frame in pixels.
        fps: average frame rate; None where the file does not say.
        num_frames_header: number of frames the header claims (it may be wrong); None where it claims nothing.
        duration_seconds: duration the header claims; None where it claims nothing.
        codec: FFmpeg's name of the codec, such as "h264".
        rotation_degrees: counter-clockwise turn that makes the coded frame upright: 0, 90, 180 or 270.
    """

    path: Path | str
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
        path: a file in any format FFmpeg reads, or the URL of one. Its first video stream that is no cover picture is
            taken.

    Raises:
        UnreadableVideoError: the file is missing, empty, no video, or has no frame that decodes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path if is_url(path) else Path(path)
        self._num_frames = 0
        self._seconds: float | None = None
        self._damage: str | None = None
        self._container = open_container(path)
        try:
            self._stream = video_stream(self._container, self.path)
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
        for picture in self.pictures(short_side=short_side):
            yield picture()

    def pictures(self, *, short_side: int | None = None) -> Iterator[Callable[[], NDArray[np.uint8]]]:
        """All frames once, as `frames`, but each is scaled and converted only where it is called for.

        That is about half of the work, which those who need few frames of a video save.

        Args:
            short_side: as in `frames`.

        Yields:
            functions without arguments that give an upright RGB frame (H, W, 3).

        Raises:
            DamagedVideoError: as in `frames`.
            ValueError: `short_side` is not positive.
        """
        scale = FrameScaler(self._first.width, self._first.height, short_side=short_side)
        quarter_turns = self.info.rotation_degrees // 90
        for frame in self._shown():
            yield partial(_upright, scale, frame, quarter_turns)

    def jpeg_frames(self, *, short_side: int) -> Iterator[JpegPlanes | NDArray[np.uint8]]:
        """All frames once, as `frames`, in the form from which a JPEG file is made with the least work.

        Args:
            short_side: as in `frames`.

        Yields:
            planes of JPEG's own colours where the video's allow it, otherwise RGB frames (H, W, 3).

        Raises:
            DamagedVideoError: as in `frames`.
            ValueError: `short_side` is not positive.
        """
        scale = FrameScaler(self._first.width, self._first.height, short_side=short_side)
        planes_of = JpegPlaneScaler(self._first.width, self._first.height, short_side=short_side)
        quarter_turns = self.info.rotation_degrees // 90
        for frame in self._shown():
            yield planes_of(frame, quarter_turns) or _upright(scale, frame, quarter_turns)

    def _shown(self) -> Iterator[av.VideoFrame]:
        """Decoded frames once; counts them, and raises the damage behind the last."""
        frame: av.VideoFrame | None = self._first
        while frame is not None:
            self._num_frames += 1
            self._seconds = frame.time
            yield frame
            frame = next(self._decoded, None)
        if self._damage is not None:
            raise DamagedVideoError(self.path, self._damage, self._num_frames)

    @property
    def frame_seconds(self) -> float | None:
        """Presentation time of the frame that was given last, which need not count from 0; None if there is none."""
        return self._seconds

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
                self._damage = reason_of(error)
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
                self._damage = reason_of(error)
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
        tells_rate = not Path(self.path).is_dir()  # of a folder of pictures FFmpeg makes one up
        return VideoInfo(
            path=self.path,
            width=height if rotation % 180 else width,
            height=width if rotation % 180 else height,
            fps=float(stream.average_rate) if stream.average_rate and tells_rate else None,
            num_frames_header=stream.frames or None,
            duration_seconds=duration,
            codec=stream.codec_context.codec.canonical_name,
            rotation_degrees=rotation,
        )


def _upright(scale: FrameScaler, frame: av.VideoFrame, quarter_turns: int) -> NDArray[np.uint8]:
    # The rows of the scaler may be padded; what leaves here is an ordinary array.
    return np.ascontiguousarray(np.rot90(scale(frame), quarter_turns))
