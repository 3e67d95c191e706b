from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Self

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsedense.video import live
from sparsedense.video.errors import UnreadableVideoError
from sparsedense.video.live import StreamClock, live_frames
from tests.video.sample_videos import numbered_frames, numbers_of, write_numbered
from tests.video.stream_server import FPS, serve_stream


def test_frames_come_in_order_with_their_times() -> None:
    with serve_stream(numbered_frames(30), pace=20) as url:
        frames = list(live_frames(url))
    assert numbers_of([frame.frame_HWC for frame in frames]) == list(range(30))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(30) / FPS, atol=1e-3)


def test_frames_are_scaled() -> None:
    with serve_stream(numbered_frames(5), pace=20) as url:
        assert {frame.frame_HWC.shape for frame in live_frames(url, short_side=24)} == {(24, 32, 3)}


def test_noise_on_the_way_is_left_out() -> None:
    with serve_stream(numbered_frames(40), pace=20, noise_at=12) as url:
        numbers = numbers_of([frame.frame_HWC for frame in live_frames(url)])
    assert numbers[:10] == list(range(10))
    assert numbers[-10:] == list(range(30, 40))


@pytest.mark.parametrize("joined_at", range(5, 10))
def test_one_may_join_between_key_frames(joined_at: int) -> None:
    with serve_stream(numbered_frames(40), pace=20, joined_at=joined_at) as url:
        frames = list(live_frames(url))
    numbers = numbers_of([frame.frame_HWC for frame in frames])
    assert numbers == list(range(numbers[0], 40))
    assert joined_at <= numbers[0] <= 10
    assert frames[0].seconds == 0


class Packet:
    """A packet that holds a frame or cannot be decoded; the last one breaks the connection."""

    def __init__(self, number: int | None) -> None:
        self.number = number

    def decode(self) -> list[av.VideoFrame]:
        if self.number is None:
            raise av.error.InvalidDataError(1, "no frame")
        return [av.VideoFrame.from_ndarray(numbered_frames(45)[self.number], format="rgb24")]


def packets(_container: object, _stream: object) -> Iterator[Packet]:
    yield from (Packet(3), Packet(None), Packet(5))
    raise av.error.ConnectionResetError(104, "connection reset")


def test_a_packet_that_does_not_decode_is_left_out_and_a_broken_connection_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Container:
        def __init__(self) -> None:
            self.real = av.open(str(write_numbered(tmp_path / "a.mp4", 2)))
            self.streams = self.real.streams
            self.demux = partial(packets, self)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_error: object) -> None:
            self.real.close()

    monkeypatch.setattr(live, "_open", lambda _address: Container())
    frames: list[NDArray[np.uint8]] = []
    with pytest.raises(UnreadableVideoError, match=r"camera: the stream broke off \(connection reset\)"):
        frames.extend(frame.frame_HWC for frame in live_frames("camera"))
    assert numbers_of(frames) == [3, 5]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://127.0.0.1:1", "cannot be opened as a live stream"),
        ("/dev/absent", "no such camera|cameras are not known|cannot be opened"),
        ("no-scheme://host", "cannot be opened as a live stream"),
    ],
)
def test_what_is_not_there_is_told(address: str, reason: str) -> None:
    with pytest.raises(UnreadableVideoError, match=reason):
        next(live_frames(address))


@given(steps=st.lists(st.floats(-1e5, 1e5), max_size=20), start=st.floats(0, 1e5))
def test_time_never_goes_back_or_leaps(steps: list[float], start: float) -> None:
    clock = StreamClock()
    assert clock.since_start(start) == 0
    times = [clock.since_start(seconds) for seconds in np.cumsum([start, *steps]).tolist()]
    assert all(0 <= later - earlier <= 10 + 1e-6 for earlier, later in pairwise(times))


def test_time_goes_on_after_the_sender_began_anew() -> None:
    clock = StreamClock()
    times = [clock.since_start(seconds) for seconds in (100.0, 100.5, 3.0, 3.5, 90_000.0, 90_000.25)]
    assert times == [0.0, 0.5, 0.5, 1.0, 1.0, 1.25]
