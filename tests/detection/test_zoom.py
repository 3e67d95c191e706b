import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.detection.zoom import Candidate, choose

POSITIONS = 16
# Clips of two scales, of 4 and of 8 positions, at every position.
CANDIDATES = [
    Candidate(scale, cell, max(0, cell - reach), min(POSITIONS, cell + reach))
    for scale, reach in ((0, 2), (1, 4))
    for cell in range(POSITIONS)
]
ALIKE = np.ones(2)
UNCERTAINTY = st.lists(st.floats(0, 1), min_size=POSITIONS, max_size=POSITIONS).map(np.array)


@given(uncertainty=UNCERTAINTY, less=st.integers(0, 40), more=st.integers(0, 40), effort=st.floats(0, 1))
def test_more_clips_are_the_same_and_others(uncertainty: np.ndarray, less: int, more: int, effort: float) -> None:
    few, many = (
        choose(uncertainty, CANDIDATES, most=most, scale_values=ALIKE, effort=effort) for most in sorted((less, more))
    )
    assert set(few) <= set(many) <= set(CANDIDATES)
    assert len(few) == len(set(few)) <= min(less, more)


@given(uncertainty=UNCERTAINTY)
def test_full_effort_takes_all_and_none_takes_none(uncertainty: np.ndarray) -> None:
    everything = choose(uncertainty, CANDIDATES, most=len(CANDIDATES), scale_values=ALIKE, effort=1.0)
    assert sorted(everything) == sorted(CANDIDATES)
    assert choose(uncertainty, CANDIDATES, most=0, scale_values=ALIKE, effort=0.0) == []


def test_what_is_calm_is_left_out() -> None:
    uncertainty = np.zeros(POSITIONS)
    uncertainty[12:] = 0.5
    chosen = choose(uncertainty, CANDIDATES, most=len(CANDIDATES), scale_values=ALIKE, effort=0.2)
    assert chosen
    assert all(each.end > 12 for each in chosen)


def test_clips_lie_side_by_side_before_they_overlap() -> None:
    chosen = choose(np.ones(POSITIONS), CANDIDATES, most=2, scale_values=ALIKE, effort=0.5)
    assert {each.scale for each in chosen} == {1}  # those of the coarser scale see more
    covered = {position for each in chosen for position in range(each.first, each.end)}
    assert len(covered) == POSITIONS


def test_a_scale_that_says_little_is_taken_last() -> None:
    chosen = choose(np.ones(POSITIONS), CANDIDATES, most=4, scale_values=np.array([1.0, 0.1]), effort=0.5)
    assert {each.scale for each in chosen} == {0}
    assert len({position for each in chosen for position in range(each.first, each.end)}) == POSITIONS
