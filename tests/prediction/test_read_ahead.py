import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sparsedense.prediction import read_ahead as module
from sparsedense.prediction.clips import ClipForm, StoppedError, VideoClips
from sparsedense.prediction.read_ahead import read_ahead
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.errors import UnreadableVideoError
from tests.prediction.test_clips import form

SOURCES = [VideoSource(str(number), Path(str(number))) for number in range(20)]
CLIPS = VideoClips(np.zeros((1, 2, 4, 4, 3), dtype=np.uint8), np.ones(1, dtype=np.float32), 2)


class Reader:
    """In place of `read_clips`: the first video is slow, number 3 cannot be read."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended = 0

    def __call__(self, source: VideoSource, form: ClipForm, stop: threading.Event) -> VideoClips:
        self.begun.append(source.name)
        if source.name == "0":
            time.sleep(0.05)
        if source.name == "3":
            raise UnreadableVideoError(source.name, "broken")
        return CLIPS


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    reader = Reader()
    monkeypatch.setattr(module, "read_clips", reader)
    return reader


@pytest.mark.parametrize("num_threads", [1, 3, 50])
def test_videos_come_in_order_and_a_bad_one_in_its_place(reader: Reader, num_threads: int) -> None:
    read = list(read_ahead(SOURCES, form(), num_threads=num_threads))
    assert [source for source, _ in read] == SOURCES
    assert [isinstance(clips, UnreadableVideoError) for _, clips in read] == [number == 3 for number in range(20)]


def test_reading_keeps_a_bounded_way_ahead(reader: Reader) -> None:
    read = read_ahead(SOURCES, form(), num_threads=2)
    most = 0
    for done, _ in enumerate(read):
        time.sleep(0.002)
        most = max(most, len(reader.begun) - done)
    assert 2 <= most <= 6
    assert len(reader.begun) == len(SOURCES)


def test_an_early_end_stops_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, stopped = threading.Event(), []

    def endless(source: VideoSource, form: ClipForm, stop: threading.Event) -> VideoClips:
        if source.name == "0":
            return CLIPS
        begun.set()
        assert stop.wait(10)
        stopped.append(source.name)
        raise StoppedError

    monkeypatch.setattr(module, "read_clips", endless)
    read = read_ahead(SOURCES, form(), num_threads=1)
    next(read)
    assert begun.wait(10)
    read.close()
    assert stopped == ["1"]


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(source: VideoSource, form: ClipForm, stop: threading.Event) -> VideoClips:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(module, "read_clips", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        list(read_ahead(SOURCES, form(), num_threads=2))


def test_a_thread_is_needed() -> None:
    with pytest.raises(ValueError, match=r"num_threads \(0\) must be at least 1"):
        next(read_ahead(SOURCES, form(), num_threads=0))
