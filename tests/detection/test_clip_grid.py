import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.detection.clip_grid import ClipGrid

GRIDS = st.builds(ClipGrid, st.integers(2, 33), st.integers(1, 4))


@given(grid=GRIDS, num_ticks=st.integers(1, 3000))
def test_cells_of_every_scale_tile_the_video(grid: ClipGrid, num_ticks: int) -> None:
    for scale in range(grid.num_scales):
        count = grid.num_cells(scale, num_ticks)
        assert (count - 1) * grid.hop_ticks(scale) < num_ticks <= count * grid.hop_ticks(scale)
        assert grid.window_ticks % grid.skim_step_ticks(scale) == 0


@given(grid=GRIDS, cell=st.integers(0, 500), data=st.data())
def test_a_clip_has_its_cell_in_its_middle(grid: ClipGrid, cell: int, data: st.DataObject) -> None:
    scale = data.draw(st.integers(0, grid.num_scales - 1))
    ticks = grid.clip_ticks(scale, cell)
    assert len(ticks) == grid.clip_length
    assert set(np.diff(ticks)) == {2**scale}
    middle = (ticks[0] + ticks[-1] + 2**scale) / 2
    assert abs(middle - grid.centres(scale, np.array([cell]))[0]) <= 2**scale


@given(grid=GRIDS)
def test_the_skim_leaves_no_gap_and_costs_little(grid: ClipGrid) -> None:
    cells = np.flatnonzero(grid.is_skimmed(grid.skimmed_scale, np.arange(400)))
    assert cells[0] == 0
    assert set(np.diff(cells)[1:]) == {4}
    num_ticks = 50 * grid.window_ticks
    counts = [grid.num_cells(scale, num_ticks) for scale in range(grid.num_scales)]
    skimmed = [int(grid.is_skimmed(scale, np.arange(count)).sum()) for scale, count in enumerate(counts)]
    assert (skimmed[0] == 0) == (grid.num_scales > 1)
    assert sum(skimmed) <= 0.27 * sum(counts)


@given(grid=GRIDS, window=st.integers(0, 5))
def test_the_ticks_of_the_skim_are_enough_for_it(grid: ClipGrid, window: int) -> None:
    needed = grid.skimmed_ticks()
    scale = grid.skimmed_scale
    per_window = grid.window_ticks // grid.hop_ticks(scale)
    cells = np.arange(window * per_window, (window + 1) * per_window)
    for cell in cells[grid.is_skimmed(scale, cells)].tolist():
        ticks = grid.clip_ticks(scale, cell)
        assert needed[ticks[ticks >= 0] % grid.window_ticks].all()


@pytest.mark.parametrize("values", [(1, 3), (16, 0)])
def test_grids_that_cannot_be_are_refused(values: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        ClipGrid(*values)
