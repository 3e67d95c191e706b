"""Scores of the clips of one temporal scale that were computed, and what they say of the times between.

A network that keeps time in its map says something of each quarter of a clip. The quarters of all clips of a scale lie
at the same ticks, a cell apart, so that clips that overlap are averaged quarter by quarter:

    cells              |_____|_____|_____|_____|_____|_____|
    clip of cell 2           q0    q1    q2    q3
    clip of cell 4                       q0    q1    q2    q3

Shapes: P times, R rows of a clip (1 or 4), Q places at which there are rows, D numbers that the network says of a clip
or of a quarter of it: logits of classes, or features.
"""

import numpy as np
from numpy.typing import NDArray

from sparsedense.detection.clip_grid import CELLS_PER_CLIP, ClipGrid

Floats = NDArray[np.float64]

# A score is wholly present in its own cell and not at all three cells away; the skim leaves gaps of two.
_GONE_CELLS = 3.0
# Behind the last clip of a video the last scores are better than none.
_LEAST_PRESENCE = 1e-3


class ScoreRows:
    """Outputs by cell of a scale.

    Args:
        grid: the cells.
        scale: which scale.
    """

    def __init__(self, grid: ClipGrid, scale: int) -> None:
        self._grid, self._scale = grid, scale
        self._rows: dict[int, NDArray[np.float32]] = {}
        self.dim = 0

    def add(self, cell: int, outputs_RD: NDArray[np.float32]) -> None:
        """Keep what the network says of a clip."""
        self._rows[cell] = outputs_RD
        self.dim = outputs_RD.shape[1]

    def knows(self, cells: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which cells were computed."""
        return np.array([cell in self._rows for cell in cells.tolist()], dtype=np.bool_)

    def forget_before(self, tick: int) -> None:
        """Drop the cells that end before a tick, but for the last few of them, which interpolation needs."""
        before = sorted(cell for cell in self._rows if (cell + 1) * self._grid.hop_ticks(self._scale) <= tick)
        for cell in before[:-CELLS_PER_CLIP]:
            del self._rows[cell]

    def at(self, ticks: Floats, dim: int) -> tuple[Floats, Floats]:
        """Outputs (P, D), interpolated between the nearest rows, and how far they are present (P,), in 0..1."""
        if not self._rows:
            return np.zeros((len(ticks), dim)), np.zeros(len(ticks))
        centres_Q, rows_QD = self._placed()
        after = np.searchsorted(centres_Q, ticks).clip(1, max(1, len(centres_Q) - 1))
        before, after = after - 1, np.minimum(after, len(centres_Q) - 1)
        gap = np.maximum(centres_Q[after] - centres_Q[before], 1e-9)
        share_P1 = np.clip((ticks - centres_Q[before]) / gap, 0.0, 1.0)[:, None]
        outputs_PD = (1 - share_P1) * rows_QD[before] + share_P1 * rows_QD[after]
        distance = np.minimum(np.abs(ticks - centres_Q[before]), np.abs(ticks - centres_Q[after]))
        away = np.maximum(distance / self._grid.hop_ticks(self._scale) - 0.5, 0.0)
        return outputs_PD, np.clip(1 - away / (_GONE_CELLS - 0.5), _LEAST_PRESENCE, 1.0)

    def _placed(self) -> tuple[Floats, Floats]:
        """Where there are rows, in ticks (Q,), and what they say (Q, D), the mean where clips overlap."""
        cells = np.array(sorted(self._rows), dtype=np.int64)
        rows_CRD = np.stack([self._rows[cell] for cell in cells.tolist()]).astype(np.float64)
        if rows_CRD.shape[1] == 1:
            return self._grid.centres(self._scale, cells), rows_CRD[:, 0]
        # The quarter r of the clip of cell c has its middle where the cell c + r - 1 begins.
        edges_CR = cells[:, None] + np.arange(CELLS_PER_CLIP) - CELLS_PER_CLIP // 2 + 1
        edges_Q, place_CR = np.unique(edges_CR, return_inverse=True)
        sums_QD = np.zeros((len(edges_Q), rows_CRD.shape[2]))
        np.add.at(sums_QD, place_CR.reshape(-1), rows_CRD.reshape(-1, rows_CRD.shape[2]))
        counts_Q1 = np.bincount(place_CR.reshape(-1), minlength=len(edges_Q))[:, None]
        return edges_Q * float(self._grid.hop_ticks(self._scale)), sums_QD / counts_Q1
