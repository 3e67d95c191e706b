"""Scores of the clips of one temporal scale that were computed, and what they say of the times between.

Shapes: P times, D numbers that the network says of a clip: logits of classes, or features.
"""

import numpy as np
from numpy.typing import NDArray

from sparsedense.detection.clip_grid import ClipGrid

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

    def add(self, cell: int, outputs_D: NDArray[np.float32]) -> None:
        """Keep what the network says of a clip."""
        self._rows[cell] = outputs_D
        self.dim = len(outputs_D)

    def knows(self, cells: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which cells were computed."""
        return np.array([cell in self._rows for cell in cells.tolist()], dtype=np.bool_)

    def forget_before(self, tick: int) -> None:
        """Drop the cells that end before a tick, but for the last of them, which interpolation needs."""
        before = sorted(cell for cell in self._rows if (cell + 1) * self._grid.hop_ticks(self._scale) <= tick)
        for cell in before[:-1]:
            del self._rows[cell]

    def at(self, ticks: Floats, dim: int) -> tuple[Floats, Floats]:
        """Outputs (P, D), interpolated between the nearest clips, and how far they are present (P,), in 0..1."""
        if not self._rows:
            return np.zeros((len(ticks), dim)), np.zeros(len(ticks))
        cells = np.array(sorted(self._rows), dtype=np.int64)
        rows = np.stack([self._rows[cell] for cell in cells.tolist()]).astype(np.float64)
        centres = self._grid.centres(self._scale, cells)
        after = np.searchsorted(centres, ticks).clip(1, max(1, len(cells) - 1))
        before, after = after - 1, np.minimum(after, len(cells) - 1)
        gap = np.maximum(centres[after] - centres[before], 1e-9)
        share_P1 = np.clip((ticks - centres[before]) / gap, 0.0, 1.0)[:, None]
        outputs_PD = (1 - share_P1) * rows[before] + share_P1 * rows[after]
        distance = np.minimum(np.abs(ticks - centres[before]), np.abs(ticks - centres[after]))
        away = np.maximum(distance / self._grid.hop_ticks(self._scale) - 0.5, 0.0)
        return outputs_PD, np.clip(1 - away / (_GONE_CELLS - 0.5), _LEAST_PRESENCE, 1.0)
