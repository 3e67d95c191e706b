"""Skim, then zoom: scores over a whole video at several temporal scales, dense only where it is worth it.

    window w-2      window w-1      window w        look-ahead
    |  emitted  |   zoomed      |   skimmed     |   read  |
                |<--------- frames that are held -------->|

The video is read once, window by window. The skim computes sparse clips of a window; the zoom, one window behind it,
adds the clips where what the skim says is unsure or changes. Frames are forgotten as soon as no clip can need them, and
scores as soon as they are given out, so memory does not depend on the length of the video.

Shapes: K scales, P positions of the finest scale, D numbers that
the network says of a clip (logits of classes, or features), A = classes with background, B clips of a batch, T frames.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsedense.detection.clip_grid import ClipGrid
from sparsedense.detection.score_rows import ScoreRows

Floats = NDArray[np.float64]
Frame = NDArray[np.uint8]
Score = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Probabilities = Callable[[Floats, Floats], Floats]

DEFAULT_EFFORT = 0.25
# Below full effort, clips where uncertainty is under this share are not worth computing even if they may be.
_CALM = 0.1


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


@dataclass(frozen=True)
class ScoreCurve:
    """Scores over a part of a video.

    Attributes:
        edges_seconds: where positions begin and the last one ends (P + 1,).
        outputs_KPD: what the network says of the clips of each scale, interpolated between them.
        presence_KP: how far each scale is known in each position, in 0..1.
    """

    edges_seconds: Floats
    outputs_KPD: Floats
    presence_KP: Floats


@dataclass(frozen=True)
class ScanSettings:
    """How to scan.

    Args:
        grid: the clips there are.
        stride_frames: frames of the video between two ticks of the grid, at least 1.
        effort: from 0, the skim alone, to 1, every clip of the grid; between, the most uncertain share of the others.
        batch_size: clips that go through the network at a time.
        scale_weights: what each scale counts for in the probabilities; clips of scales that count for little are
            computed last. None where all count alike.

    Raises:
        ValueError: a value that cannot be.
    """

    grid: ClipGrid
    stride_frames: float
    effort: float = DEFAULT_EFFORT
    batch_size: int = 16
    scale_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.stride_frames < 1 or not 0 <= self.effort <= 1 or self.batch_size < 1:
            raise ValueError(
                f"stride_frames ({self.stride_frames}) must be at least 1, effort ({self.effort}) in 0..1 and "
                f"batch_size ({self.batch_size}) at least 1"
            )
        if self.scale_weights is not None and len(self.scale_weights) != self.grid.num_scales:
            raise ValueError(
                f"{len(self.scale_weights)} scale_weights for {self.grid.num_scales} scales; use the number of scales "
                "that the model was calibrated for, or calibrate again"
            )

    @property
    def scale_values(self) -> Floats:
        """What a clip of each scale is worth (K,), that of the best scale 1."""
        weights_K = np.array(self.scale_weights or (1.0,) * self.grid.num_scales)
        return np.asarray(weights_K / weights_K.max())


class Scan:
    """The scores of one video, to be iterated once; `counts` is complete after that.

    Args:
        frames: all frames in order.
        score: clips (B, T, S, S, 3) of uint8 to what the network says of them (B, D).
        settings: how.
        probabilities: that (K, P, D) and its presence (K, P) to probabilities (P, A), to see where they are unsure.

    Raises:
        ValueError: while iterating: there is no frame.
    """

    def __init__(
        self, frames: Iterable[TimedPicture], score: Score, settings: ScanSettings, probabilities: Probabilities
    ) -> None:
        self._grid, self._settings = settings.grid, settings
        self._score, self._probabilities = score, probabilities
        self._held = _HeldFrames(frames, settings)
        self._rows = [ScoreRows(settings.grid, scale) for scale in range(settings.grid.num_scales)]
        self.counts = self._held.counts

    def __iter__(self) -> Iterator[ScoreCurve]:
        """Curves of the parts of the video, which join without a gap."""
        length, margin = self._grid.window_ticks, self._grid.span_ticks(self._grid.num_scales - 1) // 2
        window, is_last = 0, False
        while not is_last:
            self._held.read_to((window + 1) * length + margin)
            is_last = self._held.ended and (window + 1) * length >= self._held.num_ticks
            self._compute(self._skimmed(window))
            if window >= 1:
                self._zoom(window - 1)
            if window >= 2:
                yield self._emit(window - 2)
            self._held.forget_before(window * length - margin - 1)
            window += 1
        self._zoom(window - 1)
        for unseen in range(max(0, window - 2), window):
            yield self._emit(unseen)

    def _cells(self, window: int, scale: int) -> NDArray[np.int64]:
        """Cells of a scale that begin in a window."""
        per_window = self._grid.window_ticks // self._grid.hop_ticks(scale)
        stop = (window + 1) * per_window
        if self._held.ended:
            stop = min(stop, self._grid.num_cells(scale, self._held.num_ticks))
        return np.arange(window * per_window, stop, dtype=np.int64)

    def _skimmed(self, window: int) -> list[tuple[int, int]]:
        """Scale and cell of each clip of the skim of a window."""
        chosen = []
        for scale in range(self._grid.num_scales):
            cells = self._cells(window, scale)
            self.counts.clips_exhaustive += len(cells)
            chosen += [(scale, cell) for cell in cells[self._grid.is_skimmed(scale, cells)].tolist()]
        return chosen

    def _zoom(self, window: int) -> None:
        """Compute the clips of a window that are worth it."""
        fine = self._cells(window, 0)
        uncertainty_P = self._uncertainty(fine)
        values: list[Floats] = []
        places: list[tuple[int, int]] = []
        for scale, rows in enumerate(self._rows):
            cells = self._cells(window, scale)
            first_fine = (cells * self._grid.hop_ticks(scale)) // self._grid.hop_ticks(0) - fine[0]
            covered = np.diff(np.append(first_fine, len(fine)))
            is_open = ~rows.knows(cells)
            mean = np.add.reduceat(uncertainty_P, first_fine) / covered
            values.append(self._settings.scale_values[scale] * mean[is_open])
            places += [(scale, cell) for cell in cells[is_open].tolist()]
        self._compute(choose(np.concatenate(values), places, self._settings.effort))

    def _uncertainty(self, fine: NDArray[np.int64]) -> Floats:
        """How unsure the scores are or how much they change about the positions `fine`, in 0..1."""
        centres = self._grid.centres(0, fine)
        reach = self._grid.skim_step_ticks(self._grid.skimmed_scales[0]) / 2
        ordered_PA = np.sort(self._probabilities(*self._at(centres)), axis=1)
        margin_P = ordered_PA[:, -1] - ordered_PA[:, -2] if ordered_PA.shape[1] > 1 else ordered_PA[:, -1]
        before_PA, after_PA = (self._probabilities(*self._at(centres + side * reach)) for side in (-1, 1))
        return np.asarray(np.maximum(1 - margin_P, np.abs(after_PA - before_PA).sum(axis=1) / 2))

    def _at(self, ticks: Floats) -> tuple[Floats, Floats]:
        """What the network says (K, P, D) and its presence (K, P) at times."""
        dim = next(rows.dim for rows in self._rows if rows.dim)
        curves = [rows.at(ticks, dim) for rows in self._rows]
        return np.stack([outputs for outputs, _ in curves]), np.stack([presence for _, presence in curves])

    def _compute(self, places: list[tuple[int, int]]) -> None:
        for begin in range(0, len(places), self._settings.batch_size):
            batch = places[begin : begin + self._settings.batch_size]
            clips = np.stack([self._held.clip(self._grid.clip_ticks(scale, cell)) for scale, cell in batch])
            for (scale, cell), row in zip(batch, self._score(clips), strict=True):
                self._rows[scale].add(cell, row)
            self.counts.clips_computed += len(batch)

    def _emit(self, window: int) -> ScoreCurve:
        fine = self._cells(window, 0)
        outputs_KPD, presence_KP = self._at(self._grid.centres(0, fine))
        edges_seconds = self._held.edges_seconds(fine)
        for rows in self._rows:
            rows.forget_before(window * self._grid.window_ticks)
        return ScoreCurve(edges_seconds, outputs_KPD, presence_KP)


def choose(values: Floats, places: list[tuple[int, int]], effort: float) -> list[tuple[int, int]]:
    """The clips worth computing: at most the share `effort`, the most uncertain first, none that is calm.

    More effort takes what less effort takes, and more; effort 1 takes all.

    Args:
        values: how uncertain each is.
        places: scale and cell of each.
        effort: in 0..1.
    """
    most = int(np.ceil(effort * len(values)))
    order = np.argsort(-values, kind="stable")[:most]
    return sorted(places[index] for index in order.tolist() if values[index] >= (1 - effort) * _CALM)


@dataclass
class _HeldFrames:
    """The frames of a stretch of the video, by their tick; ticks that no clip needs are not converted."""

    source: Iterable[TimedPicture]
    settings: ScanSettings
    counts: ScanCounts = field(default_factory=ScanCounts)
    num_ticks: int = 0
    ended: bool = False

    def __post_init__(self) -> None:
        self._source = iter(self.source)
        self._needed = self.settings.grid.skimmed_ticks() if self.settings.effort == 0 else np.ones(1, dtype=np.bool_)
        self._frames: dict[int, Frame] = {}
        self._tick_seconds: dict[int, float] = {}  # of the ticks at which positions begin
        self._seconds = 0.0
        self._last_kept = 0

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
            if number == int(self.num_ticks * self.settings.stride_frames + 1e-6):
                self._keep(timed)

    def _keep(self, timed: TimedPicture) -> None:
        tick = self.num_ticks
        if self._needed[tick % len(self._needed)]:
            self._frames[tick] = timed.picture()
            self._last_kept = tick
            self.counts.frames_converted += 1
            self.counts.most_frames_held = max(self.counts.most_frames_held, len(self._frames))
        if tick % self.settings.grid.hop_ticks(0) == 0:
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
        for old in [kept for kept in self._frames if kept < tick]:
            del self._frames[old]

    def edges_seconds(self, cells: NDArray[np.int64]) -> Floats:
        """Where cells of the finest scale begin, and where the last one ends; earlier ones are forgotten."""
        hop = self.settings.grid.hop_ticks(0)
        end = self._tick_seconds.get((int(cells[-1]) + 1) * hop, self.counts.duration_seconds)
        return np.array([*(self._tick_seconds.pop(cell * hop) for cell in cells.tolist()), end])
