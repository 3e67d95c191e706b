"""What happens now: predictions over a window that slides along a camera's or a network stream.

    frames     ..............................    read by a thread, so that the stream never waits
    windows    |---------|                       one each `every_seconds`, over the last `window_seconds`
                   |---------|
                       |---------|

Times are those of the stream, in seconds since its first frame.
"""

import math
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Thread

from sparsedense.prediction.clips import ClipForm, VideoClips, assemble_clips, crop_frame
from sparsedense.video.errors import UnreadableVideoError
from sparsedense.video.live import LiveFrame, live_frames

_LONGEST_JOIN_SECONDS = 2.0


@dataclass(frozen=True)
class LiveWindow:
    """The clips of the last seconds of a stream.

    Attributes:
        start_seconds: time of the first frame, since the first frame of the stream.
        end_seconds: time of the last frame.
        clips: evenly spaced clips, as of a video that consists of these frames.
    """

    start_seconds: float
    end_seconds: float
    clips: VideoClips


def live_windows(
    address: str, form: ClipForm, *, window_seconds: float, every_seconds: float
) -> Generator[LiveWindow, None, None]:
    """Windows over a stream, the first when it is full; who is too slow for all misses some, and is never late.

    Args:
        address: see `live_frames`.
        form: which clips of a window.
        window_seconds: length of a window.
        every_seconds: time between the ends of windows, by the stream's clock.

    Raises:
        UnreadableVideoError: the stream cannot be opened or breaks off.
        ValueError: a time is not positive.
    """
    if window_seconds <= 0 or every_seconds <= 0:
        raise ValueError(f"window_seconds ({window_seconds}) and every_seconds ({every_seconds}) must be above 0")
    with _reading(address, form, window_seconds) as latest:
        due_seconds = window_seconds
        while frames := latest.wait_for(due_seconds):
            start_seconds, end_seconds = frames[0].seconds, frames[-1].seconds
            yield LiveWindow(start_seconds, end_seconds, _clips(frames, form))
            due_seconds += every_seconds * (math.floor((end_seconds - due_seconds) / every_seconds) + 1)


def _clips(frames: list[LiveFrame], form: ClipForm) -> VideoClips:
    indices_MT = form.clips.evaluation_indices(len(frames), form.clips_per_video)
    return assemble_clips(indices_MT, {number: frame.frame_HWC for number, frame in enumerate(frames)}, len(frames))


class _Latest:
    """The frames of the last seconds, shared between the thread that reads and the one that predicts."""

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._frames: deque[LiveFrame] = deque()
        self._changed = Condition()
        self._ended = False
        self._error: UnreadableVideoError | None = None
        self.is_wanted = True

    def add(self, frame: LiveFrame) -> None:
        with self._changed:
            self._frames.append(frame)
            while self._frames[0].seconds < frame.seconds - self._window_seconds:
                self._frames.popleft()
            self._changed.notify()

    def end(self, error: UnreadableVideoError | None) -> None:
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify()

    def wait_for(self, seconds: float) -> list[LiveFrame]:
        """The frames once there is one of that time or later; none when the stream has ended before."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._reached(seconds))
            if self._reached(seconds):
                return list(self._frames)
            if self._error is not None:
                raise self._error
            return []

    def _reached(self, seconds: float) -> bool:
        return bool(self._frames) and self._frames[-1].seconds >= seconds


@contextmanager
def _reading(address: str, form: ClipForm, window_seconds: float) -> Iterator[_Latest]:
    """The latest frames of a stream, cropped, while the block runs."""
    latest = _Latest(window_seconds)

    def read() -> None:
        error = None
        try:
            for seconds, frame_HWC in live_frames(address, short_side=form.short_side):
                if not latest.is_wanted:
                    break
                latest.add(LiveFrame(seconds, crop_frame(frame_HWC, form.clips.size)))
        except UnreadableVideoError as broken:
            error = broken
        finally:
            latest.end(error)

    # A daemon, because a silent stream would hold the program until its time is out.
    reader = Thread(target=read, name="live", daemon=True)
    reader.start()
    try:
        yield latest
    finally:
        latest.is_wanted = False
        reader.join(_LONGEST_JOIN_SECONDS)
