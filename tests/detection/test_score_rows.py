import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.detection.clip_grid import ClipGrid
from sparsedense.detection.score_rows import ScoreRows


def test_scores_are_interpolated_and_fade() -> None:
    rows = ScoreRows(ClipGrid(8, 1), 0)
    for cell, value in ((0, 0.0), (4, 4.0)):
        rows.add(cell, np.array([[value]], dtype=np.float32))
    logits, presence = rows.at(np.array([0.0, 1.0, 5.0, 9.0, 40.0]), 1)
    np.testing.assert_allclose(logits[:, 0], [0.0, 0.0, 2.0, 4.0, 4.0])
    np.testing.assert_allclose(presence, [1.0, 1.0, 0.4, 1.0, 1e-3])
    rows.forget_before(10)  # both have ended, but they are the last ones
    assert rows.knows(np.array([0, 4])).tolist() == [True, True]


@given(
    cells=st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True),
    scale=st.integers(0, 2),
    length=st.sampled_from([4, 8, 16]),
)
def test_quarters_lie_where_their_frames_are(cells: list[int], scale: int, length: int) -> None:
    grid = ClipGrid(length, 3)
    rows = ScoreRows(grid, scale)
    middles = []
    for cell in cells:
        # Each quarter says the middle of its stretch, from the first tick of the clip on.
        first, quarter = grid.clip_ticks(scale, cell)[0], grid.span_ticks(scale) / 4
        middle_R = first + quarter * (np.arange(4) + 0.5)
        rows.add(cell, middle_R[:, None].astype(np.float32))
        middles += middle_R.tolist()
    said, presence = rows.at(np.array(middles), 1)
    # A cell's clip begins half a cell before a whole number of ticks where cells are of an odd number of ticks.
    np.testing.assert_allclose(said[:, 0], middles, atol=0.5)
    assert (presence > 0.9).all()


def test_quarters_of_clips_that_overlap_are_averaged() -> None:
    rows = ScoreRows(ClipGrid(8, 1), 0)
    rows.add(2, np.array([[1.0], [1.0], [1.0], [1.0]], dtype=np.float32))
    rows.add(3, np.array([[5.0], [5.0], [5.0], [5.0]], dtype=np.float32))
    # Quarters of the first lie at cells 1, 2, 3 and 4, of the second at 2, 3, 4 and 5; a cell has two ticks.
    said, _ = rows.at(np.array([2.0, 4.0, 8.0, 10.0, 9.0]), 1)
    np.testing.assert_allclose(said[:, 0], [1.0, 3.0, 3.0, 5.0, 4.0])


def test_old_rows_are_forgotten() -> None:
    rows = ScoreRows(ClipGrid(8, 1), 0)
    for cell in range(20):
        rows.add(cell, np.full((4, 1), float(cell), dtype=np.float32))
    before = rows.at(np.arange(24.0, 30.0), 1)
    rows.forget_before(24)
    assert rows.knows(np.arange(20)).tolist() == [False] * 8 + [True] * 12
    after = rows.at(np.arange(24.0, 30.0), 1)
    np.testing.assert_allclose(before[0], after[0])
    assert rows.dim == 1


def test_no_row_is_absent() -> None:
    said, presence = ScoreRows(ClipGrid(8, 1), 0).at(np.array([1.0, 2.0]), 3)
    assert said.shape == (2, 3)
    assert presence.tolist() == pytest.approx([0.0, 0.0])
