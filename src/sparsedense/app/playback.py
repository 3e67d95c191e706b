"""A file that browsers play: the upload itself where they can, an H.264 file of it where they cannot."""

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from sparsedense.app.inspection import VideoFacts
from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.errors import DamagedVideoError, UnreadableVideoError

_SHORT_SIDE = 720
_TICKS_PER_SECOND = 90_000  # as MPEG counts; every usual frame rate divides it well
_EIGHT_BIT = ("yuv420p", "yuvj420p")


def media_type(facts: VideoFacts) -> str | None:
    """The type under which browsers play a file as it is; None where they cannot."""
    if facts.pixels not in _EIGHT_BIT:
        return None
    if "mp4" in facts.container and facts.codec in ("h264", "av1", "vp9"):
        return "video/mp4"
    if "webm" in facts.container and facts.codec in ("vp8", "vp9", "av1"):
        return "video/webm"
    return None


def write_playable(source: Path, target: Path, facts: VideoFacts, progress: Callable[[float], None]) -> None:
    """Encode the pictures of a video, upright and at their times, as H.264 in MP4, without sound.

    Args:
        source: any video; what is damaged ends it.
        target: the .mp4 file.
        facts: of the source.
        progress: called with the share that is done; what it raises ends the encoding.

    Raises:
        UnreadableVideoError: no frame can be had.
    """
    with VideoDecoder(source) as decoder, av.open(str(target), "w", options={"movflags": "+faststart"}) as container:
        short_side = min(_SHORT_SIDE, decoder.info.width, decoder.info.height)
        options = {"preset": "ultrafast", "crf": "23"}
        stream = container.add_stream("libx264", rate=Fraction(facts.fps).limit_denominator(1001), options=options)
        stream.codec_context.time_base = Fraction(1, _TICKS_PER_SECOND)
        stream.codec_context.gop_size = max(1, round(facts.fps))  # a second, so that seeking is quick
        stream.pix_fmt = "yuv420p"
        clock = _Clock(facts.fps)
        try:
            for number, frame_HWC in enumerate(decoder.frames(short_side=short_side)):
                even_HWC = even_sided(frame_HWC)
                if number == 0:
                    stream.height, stream.width = even_HWC.shape[:2]
                seconds = clock.seconds(number, decoder.frame_seconds)
                frame = av.VideoFrame.from_ndarray(even_HWC, format="rgb24")
                frame.pts, frame.time_base = round(seconds * _TICKS_PER_SECOND), Fraction(1, _TICKS_PER_SECOND)
                container.mux(stream.encode(frame))
                progress(seconds / max(facts.duration_seconds, 1e-3))
        except DamagedVideoError as error:
            if not error.num_frames:
                raise UnreadableVideoError(source, error.reason) from error
        container.mux(stream.encode(None))


class _Clock:
    """Times of frames that start at 0 and always rise, as `detect` counts them."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._first: float | None = None
        self._last = -1.0

    def seconds(self, number: int, told: float | None) -> float:
        if told is None or not math.isfinite(told):
            now = number / self._fps
        else:
            self._first = told if self._first is None else self._first
            now = told - self._first
        self._last = max(now, self._last + 1e-3, 0.0)
        return self._last


def even_sided(frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame without its last row or column where their number is odd, as 4:2:0 needs."""
    height, width = frame_HWC.shape[:2]
    if height < 2 or width < 2:  # too small to cut
        return np.ascontiguousarray(np.repeat(np.repeat(frame_HWC, 2, axis=0), 2, axis=1))
    return np.ascontiguousarray(frame_HWC[: height // 2 * 2, : width // 2 * 2])
