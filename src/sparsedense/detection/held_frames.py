"""The frames of a stretch of a video, each decoded once, kept by their tick for as long as a clip may need them."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Frame = NDArray[np.uint8]


class TimedPicture(NamedTuple):
    """A frame of a video that is converted, to a square of the network's size, only where it is called for."""

    seconds: float
    picture: Callable[[], Frame]


@dataclass
class ScanCounts:
    """What a scan did.

    Attributes:
        frames_decoded: frames that were read, each once.
        frames_converted: frames that were scaled to the network's size.
        clips_computed: clips that went through the network.
        clips_exhaustive: clips that effort 1 computes.
        most_frames_held: most frames that were held at a time.
        duration_seconds: end of the last frame.
    """

    frames_decoded: int = 0
    frames_converted: int = 0
    clips_computed: int = 0
    clips_exhaustive: int = 0
    most_frames_held: int = 0
    duration_seconds: float = 0.0


class ReadTo(Protocol):
    """Returns when all ticks before one are there; then goes on to another, ahead of who needs them."""

    def __call__(self, tick: int, next_tick: int) -> None: ...  # noqa: D102 - above


@dataclass
class HeldFrames:
    """The frames of a stretch of the video, by their tick; ticks that no clip needs are not converted.

    Args:
        source: all frames in order.
        stride_frames: frames between two ticks.
        needed: which ticks of a period clips need.
        edge_ticks: a position begins at every so many ticks.
    """

    source: Iterable[TimedPicture]
    stride_frames: float
    needed: NDArray[np.bool_]
    edge_ticks: int
    counts: ScanCounts = field(default_factory=ScanCounts)
    num_ticks: int = 0
    ended: bool = False

    def __post_init__(self) -> None:
        self._source = iter(self.source)
        self._frames: dict[int, Frame] = {}
        self._tick_seconds: dict[int, float] = {}  # of the ticks at which positions begin
        self._seconds = 0.0
        self._last_kept = 0

    @contextmanager
    def reading(self, *, ahead: bool) -> Iterator[ReadTo]:
        """Gives what reads up to a tick and returns when it is there; `ahead`, it then goes on to the next one."""
        if not ahead:
            yield lambda tick, next_tick: self.read_to(tick)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
            waiting: list[Future[None]] = []

            def read_to(tick: int, next_tick: int) -> None:
                (waiting.pop() if waiting else pool.submit(self.read_to, tick)).result()
                waiting.append(pool.submit(self.read_to, next_tick))

            yield read_to

    def read_to(self, tick: int) -> None:
        """Read until all ticks before this one are there, or the video ends."""
        while not self.ended and self.num_ticks < tick:
            timed = next(self._source, None)
            if timed is None:
                self._end()
                return
            number = self.counts.frames_decoded
            self.counts.frames_decoded += 1
            self._seconds = max(self._seconds, timed.seconds)
            # The small constant keeps 3 * 1.1 / 1.1 from falling just under its whole number.
            if number == int(self.num_ticks * self.stride_frames + 1e-6):
                self._keep(timed)

    def _keep(self, timed: TimedPicture) -> None:
        tick = self.num_ticks
        if self.needed[tick % len(self.needed)]:
            self._frames[tick] = timed.picture()
            self._last_kept = tick
            self.counts.frames_converted += 1
            self.counts.most_frames_held = max(self.counts.most_frames_held, len(self._frames))
        if tick % self.edge_ticks == 0:
            self._tick_seconds[tick] = self._seconds
        self.num_ticks += 1

    def _end(self) -> None:
        if not self.num_ticks:
            raise ValueError("the video has no frame to scan")
        self.ended = True
        decoded = self.counts.frames_decoded
        # The last frame lasts as long as the others do on average.
        self.counts.duration_seconds = self._seconds * decoded / (decoded - 1) if decoded > 1 else 1.0 / 25

    def clip(self, ticks: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames (T, S, S, 3); before and behind the video, its first and last ones."""
        return np.stack([self._frames[tick] for tick in np.clip(ticks, 0, self._last_kept).tolist()])

    def forget_before(self, tick: int) -> None:
        """Drop the frames before a tick."""
        # A list at once, because the thread that reads ahead adds to it.
        for old in [kept for kept in list(self._frames) if kept < tick]:
            del self._frames[old]

    def edges_seconds(self, cells: NDArray[np.int64]) -> Floats:
        """Where cells of the finest scale begin, and where the last one ends; earlier ones are forgotten."""
        hop = self.edge_ticks
        end = self._tick_seconds.get((int(cells[-1]) + 1) * hop, self.counts.duration_seconds)
        return np.array([*(self._tick_seconds.pop(cell * hop) for cell in cells.tolist()), end])
