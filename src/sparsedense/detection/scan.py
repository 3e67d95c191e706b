"""Skim, then zoom: scores over a whole video at several temporal scales, dense only where it is worth it.

    window w-2      window w-1      window w        look-ahead
    |  emitted  |   zoomed      |   skimmed     |   read  |
                |<--------- frames that are held -------->|

The video is read once, window by window. The skim computes sparse clips of a window; the zoom, one window behind it,
adds the clips where what the skim says is unsure or changes. Frames are forgotten as soon as no clip can need them, and
scores as soon as they are given out, so memory does not depend on the length of the video.

Shapes: K scales, P positions of the finest scale, R rows of a clip (4 quarters, or 1), D numbers that the network says
of a row (logits of classes, or features), A = classes with background, B clips of a batch, T frames.
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsedense.detection.clip_grid import ClipGrid
from sparsedense.detection.held_frames import HeldFrames, TimedPicture
from sparsedense.detection.score_rows import ScoreRows
from sparsedense.detection.zoom import Candidate, choose

Floats = NDArray[np.float64]
Score = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Probabilities = Callable[[Floats, Floats], Floats]

# The skim alone: on generated videos a little zoom found no more, a tenth of all clips and more did.
DEFAULT_EFFORT = 0.0


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
        read_ahead: read the next window on a thread of its own while the network computes.

    Raises:
        ValueError: a value that cannot be.
    """

    grid: ClipGrid
    stride_frames: float
    effort: float = DEFAULT_EFFORT
    batch_size: int = 16
    scale_weights: tuple[float, ...] | None = None
    read_ahead: bool = True

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
        score: clips (B, T, S, S, 3) of uint8 to what the network says of them (B, R, D), in R = 4 quarters or R = 1
            for the whole clip.
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
        grid = settings.grid
        # The skim alone leaves out many frames.
        needed = grid.skimmed_ticks() if settings.effort == 0 else np.ones(1, dtype=np.bool_)
        self._held = HeldFrames(frames, settings.stride_frames, needed, grid.hop_ticks(0))
        self._rows = [ScoreRows(settings.grid, scale) for scale in range(settings.grid.num_scales)]
        self._budget = 0.0  # clips of the zoom that may be computed and were not
        self.counts = self._held.counts

    def __iter__(self) -> Generator[ScoreCurve, None, None]:
        """Curves of the parts of the video, which join without a gap."""
        length, margin = self._grid.window_ticks, self._grid.span_ticks(self._grid.num_scales - 1) // 2
        window, is_last = 0, False
        with self._held.reading(ahead=self._settings.read_ahead) as read_to:
            while not is_last:
                read_to((window + 1) * length + margin, next_tick=(window + 2) * length + margin)
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
        """Compute the clips of a window that are worth it; what calm windows leave of the effort, others may spend."""
        fine = self._cells(window, 0)
        candidates = []
        for scale, rows in enumerate(self._rows):
            cells = self._cells(window, scale)
            candidates += [self._candidate(scale, cell, fine) for cell in cells[~rows.knows(cells)].tolist()]
        self._budget += self._settings.effort * len(candidates)
        # The small constant keeps a sum of shares from falling just under its whole number.
        most = int(self._budget + 1e-6)
        if not most:
            return
        chosen = choose(
            self._uncertainty(fine),
            candidates,
            most=most,
            scale_values=self._settings.scale_values,
            effort=self._settings.effort,
        )
        self._budget -= len(chosen)
        self._compute(sorted((each.scale, each.cell) for each in chosen))

    def _candidate(self, scale: int, cell: int, fine: NDArray[np.int64]) -> Candidate:
        """A clip with the positions that it sees, of those of the window."""
        hop, middle = self._grid.hop_ticks(0), (cell + 0.5) * self._grid.hop_ticks(scale)
        reach = self._grid.span_ticks(scale) / 2
        first, end = (round(tick / hop) - int(fine[0]) for tick in (middle - reach, middle + reach))
        first = min(max(first, 0), len(fine) - 1)
        return Candidate(scale, cell, first, min(max(end, first + 1), len(fine)))

    def _uncertainty(self, fine: NDArray[np.int64]) -> Floats:
        """How unsure the scores are or how much they change about the positions `fine`, in 0..1."""
        centres = self._grid.centres(0, fine)
        reach = self._grid.skim_step_ticks(self._grid.skimmed_scale) / 2
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
            for (scale, cell), outputs_RD in zip(batch, self._score(clips), strict=True):
                self._rows[scale].add(cell, outputs_RD)
            self.counts.clips_computed += len(batch)

    def _emit(self, window: int) -> ScoreCurve:
        fine = self._cells(window, 0)
        outputs_KPD, presence_KP = self._at(self._grid.centres(0, fine))
        edges_seconds = self._held.edges_seconds(fine)
        for rows in self._rows:
            rows.forget_before(window * self._grid.window_ticks)
        return ScoreCurve(edges_seconds, outputs_KPD, presence_KP)
