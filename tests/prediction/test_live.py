import math
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsedense.prediction import live as module
from sparsedense.prediction.live import live_windows
from sparsedense.prediction.video_recogniser import VideoRecogniser
from sparsedense.video.errors import UnreadableVideoError
from sparsedense.video.live import LiveFrame
from tests.conftest import HEIGHT, MOTIONS, square_frames
from tests.evaluation.colour_model import ColourFeatures, Sharpen, tiny_recogniser
from tests.prediction.test_clips import form
from tests.video.stream_server import FPS, serve_stream


def grey(number: int) -> NDArray[np.uint8]:
    return np.full((20, 24, 3), number % 256, dtype=np.uint8)


class Sender:
    """In place of a stream: a frame each 0.1 s of its clock; it waits for nobody but before the given frames."""

    def __init__(self, num_frames: int, error: str | None = None) -> None:
        self.num_frames, self.error, self.waiting = num_frames, error, -1
        self.may_go_on = threading.Semaphore(0)
        self.waits_before: set[int] = set()

    def __call__(self, address: str, *, short_side: int | None = None) -> Iterator[LiveFrame]:
        for number in range(self.num_frames):
            if number in self.waits_before:
                self.waiting = number
                assert self.may_go_on.acquire(timeout=10)
            yield LiveFrame(number / 10, grey(number))
        if self.error is not None:
            raise UnreadableVideoError(address, self.error)


def shown(window: module.LiveWindow) -> list[int]:
    """Numbers of the frames of the one clip."""
    return [int(frame[0, 0, 0]) for frame in window.clips.frames_UTHWC[0]]


def test_windows_slide_at_a_fixed_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Sender(60)
    sender.waits_before = set(range(21, 60))
    monkeypatch.setattr(module, "live_frames", sender)
    windows = []
    for window in live_windows("camera", form(clips_per_video=1), window_seconds=2.0, every_seconds=0.5):
        windows.append((window.start_seconds, window.end_seconds))
        assert shown(window)[0] >= round(10 * window.start_seconds)
        assert shown(window)[-1] <= round(10 * window.end_seconds)
        assert window.clips.num_frames == 21
        for _ in range(5):
            sender.may_go_on.release()
    np.testing.assert_allclose(windows, [(end - 2.0, end) for end in np.arange(2.0, 6.0, 0.5)])


def test_who_is_too_slow_misses_windows_and_sees_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Sender(101)
    sender.waits_before = {11, 41}
    monkeypatch.setattr(module, "live_frames", sender)
    windows = live_windows("camera", form(clips_per_video=1), window_seconds=1.0, every_seconds=0.5)
    assert next(windows).end_seconds == 1.0
    sender.may_go_on.release()
    while sender.waiting < 41:
        time.sleep(0.001)
    second = next(windows)
    assert second.end_seconds == 4.0
    assert second.clips.num_frames == 11, "only the last second is kept"
    sender.may_go_on.release()
    later = [window.end_seconds for window in windows]
    assert later[0] >= 4.5, "the next one is not about the same frames"
    slots = [math.floor((end + 1e-6) / 0.5) for end in later]
    assert all(after > before for before, after in pairwise(slots)), "no half second has two"


def test_a_stream_that_breaks_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "live_frames", Sender(5, error="the cable is cut"))
    with pytest.raises(UnreadableVideoError, match="camera: the cable is cut"):
        next(live_windows("camera", form(), window_seconds=2.0, every_seconds=1.0))


def test_a_stream_that_is_shorter_than_a_window_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "live_frames", Sender(5))
    assert list(live_windows("camera", form(), window_seconds=2.0, every_seconds=1.0)) == []


def test_leaving_the_loop_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Sender(10_000)
    monkeypatch.setattr(module, "live_frames", sender)
    sender.waits_before = {30}
    windows = live_windows("camera", form(), window_seconds=1.0, every_seconds=1.0)
    next(windows)
    threading.Timer(0.05, sender.may_go_on.release).start()
    windows.close()
    assert sender.waiting <= 30
    assert not [thread for thread in threading.enumerate() if thread.name == "live"]


@pytest.mark.parametrize("times", [(0.0, 1.0), (1.0, -1.0)])
def test_times_are_positive(times: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        next(live_windows("camera", form(), window_seconds=times[0], every_seconds=times[1]))


def test_a_live_stream_is_recognised_as_it_changes() -> None:
    """A green square for 4 seconds, then a blue one, through FFmpeg's MPEG-TS over TCP at 8 times the pace."""
    model = VideoRecogniser(tiny_recogniser().eval(), short_side=HEIGHT)
    model.register_module("encoder", ColourFeatures())
    model.register_module("classifier", Sharpen())
    green = list(square_frames(MOTIONS["down"], 1, num_frames=4 * FPS, seed=0))
    blue = list(square_frames(MOTIONS["right"], 2, num_frames=4 * FPS, seed=0))
    with serve_stream(green + blue, pace=8) as url:
        predictions = list(model.predict_live(url, window_seconds=1.0, every_seconds=0.5))
    assert {prediction.labels[0] for prediction in predictions if prediction.end_seconds < 4} == {"down"}
    assert {prediction.labels[0] for prediction in predictions if prediction.start_seconds > 4} == {"right"}
    assert all(0.9 < prediction.end_seconds - prediction.start_seconds <= 1.0 + 1e-6 for prediction in predictions)
    assert len(predictions) <= 15
