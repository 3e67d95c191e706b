"""Which clips of a long video there are to compute: a grid of cells at several temporal scales.

A tick is one kept frame: a clip of the finest scale takes T ticks that follow each other, one of the next scale every
second tick, then every fourth. The cells of a scale tile the video, a quarter of a clip each; the clip of a cell has
the cell in its middle.

    ticks           . . . . . . . . . . . . . . . . . . . .
    cells, scale 0  |_____|_____|_____|_____|_____|_____|     T = 8: two ticks a cell
    clip of cell 3            x x x x X X x x
    cells, scale 1  |___________|___________|___________|

The skim takes every fourth cell of one scale, so that its clips lie end to end; exhaustive scanning takes every cell of
every scale. The scale of the skim is the second, which by default has the stride that the network was trained at: on
generated videos a skim at the coarser scales too found no more for the same number of clips (docs/experiments.md).
Shapes: T frames of a clip, N cells.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

CELLS_PER_CLIP = 4
_FIRST_SKIMMED = 2  # of each four cells, one in their middle


@dataclass(frozen=True)
class ClipGrid:
    """Cells and clips at several scales.

    Args:
        clip_length: frames T of a clip.
        num_scales: how many; each has twice the stride of the one before.

    Raises:
        ValueError: a number is too small.
    """

    clip_length: int
    num_scales: int = 3

    def __post_init__(self) -> None:
        if self.clip_length < 2 or self.num_scales < 1:
            raise ValueError(
                f"clip_length ({self.clip_length}) must be at least 2 and num_scales ({self.num_scales}) at least 1"
            )

    @property
    def skimmed_scale(self) -> int:
        """The second; the finest where there is no other."""
        return min(1, self.num_scales - 1)

    @property
    def window_ticks(self) -> int:
        """A stretch that holds whole skim steps of every scale: four of the coarsest."""
        return 4 * self.skim_step_ticks(self.num_scales - 1)

    def hop_ticks(self, scale: int) -> int:
        """Length of a cell."""
        return max(1, self.clip_length // CELLS_PER_CLIP) << scale

    def span_ticks(self, scale: int) -> int:
        """Length of a clip."""
        return self.clip_length << scale

    def skim_step_ticks(self, scale: int) -> int:
        """From one clip of the skim to the next."""
        return CELLS_PER_CLIP * self.hop_ticks(scale)

    def num_cells(self, scale: int, num_ticks: int) -> int:
        """Cells that tile so many ticks; the last one may be cut."""
        return -(-num_ticks // self.hop_ticks(scale))

    def centres(self, scale: int, cells: Ints) -> NDArray[np.float64]:
        """Middles of cells, in ticks."""
        return np.asarray((cells + 0.5) * self.hop_ticks(scale))

    def is_skimmed(self, scale: int, cells: Ints) -> NDArray[np.bool_]:
        """Which cells the skim takes; the first one always, so that the beginning is seen, too."""
        if scale != self.skimmed_scale:
            return np.zeros(len(cells), dtype=np.bool_)
        return np.asarray((cells % CELLS_PER_CLIP == _FIRST_SKIMMED) | (cells == 0))

    def clip_ticks(self, scale: int, cell: int) -> Ints:
        """Ticks of the clip of a cell (T,); they may lie before or behind the video."""
        hop = self.hop_ticks(scale)
        first = cell * hop + hop // 2 - self.span_ticks(scale) // 2
        return first + (np.arange(self.clip_length, dtype=np.int64) << scale)

    def skimmed_ticks(self) -> NDArray[np.bool_]:
        """Which ticks of a window the skim needs; the same in every window."""
        needed = np.zeros(self.window_ticks, dtype=np.bool_)
        needed[0] = True  # what lies before the video is its first frame
        scale = self.skimmed_scale
        cells = np.arange(self.window_ticks // self.hop_ticks(scale), dtype=np.int64)
        for cell in cells[self.is_skimmed(scale, cells)].tolist():
            needed[self.clip_ticks(scale, cell) % self.window_ticks] = True
        return needed
