import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.detection.head import points
from sparsedense.detection.head_targets import HeadTargets, head_targets

POINTS = points(32, 4)
NONE = np.zeros((0, 2))
times = st.floats(0, 32, allow_nan=False).map(lambda value: round(value, 2))
segments = st.tuples(times, times).filter(lambda each: each[0] < each[1])


def targets(several: list[tuple[float, float]], labels: list[int]) -> HeadTargets:
    bounds = np.array(several, dtype=np.float64).reshape(-1, 2)
    return head_targets(bounds, np.array(labels, dtype=np.int64), POINTS, 3, ignored_N2=NONE)


@given(segment=segments, label=st.integers(0, 2))
def test_every_segment_has_a_point(segment: tuple[float, float], label: int) -> None:
    """However short or long, at whatever place."""
    found = targets([segment], [label])
    assert found.positive_M.any()
    assert (found.classes_ML.argmax(axis=1)[found.positive_M] == label).all()
    assert not found.classes_ML[~found.positive_M].any()
    assert (found.distances_M2 >= 0).all()


@given(segment=segments)
def test_distances_lead_to_the_segment(segment: tuple[float, float]) -> None:
    found = targets([segment], [0])
    centres = POINTS.centres_M[found.positive_M]
    inside = (centres > segment[0]) & (centres < segment[1])
    starts = centres - found.distances_M2[found.positive_M][:, 0]
    ends = centres + found.distances_M2[found.positive_M][:, 1]
    np.testing.assert_allclose(starts[inside], segment[0], atol=1e-4)
    np.testing.assert_allclose(ends[inside], segment[1], atol=1e-4)
    assert inside.all() or (len(centres) == 1 and segment[1] - segment[0] <= 1)


def test_long_segments_are_for_coarse_points_and_short_ones_for_fine_ones() -> None:
    short, long = targets([(10.0, 13.0)], [0]), targets([(5.0, 27.0)], [0])
    assert set(POINTS.strides_M[short.positive_M]) == {1.0}
    assert set(POINTS.strides_M[long.positive_M]) == {4.0}, "13 positions away are between 2 and 4 strides of 4"


def test_points_far_from_the_middle_find_nothing() -> None:
    found = targets([(10.0, 17.0)], [0])
    distances = np.abs(POINTS.centres_M - 13.5)[found.positive_M]
    assert (distances <= 1.5 * POINTS.strides_M[found.positive_M]).all()


def test_of_overlapping_segments_the_shortest_gets_the_point() -> None:
    found = targets([(8.0, 16.0), (11.0, 13.0)], [0, 1])
    at_middle = np.flatnonzero((POINTS.strides_M == 1) & (POINTS.centres_M == 11.5))[0]
    assert found.classes_ML[at_middle].tolist() == [0, 1, 0]
    np.testing.assert_allclose(found.distances_M2[at_middle], [0.5, 1.5])
    assert found.classes_ML[:, 0].any(), "the longer one keeps points of its own"


def test_two_things_at_once_are_both_told() -> None:
    found = targets([(8.0, 12.0), (8.0, 12.0)], [0, 2])
    assert (found.classes_ML[found.positive_M] == [1, 0, 1]).all()


def test_a_video_without_segments_is_all_background() -> None:
    found = targets([], [])
    assert not found.positive_M.any()
    assert not found.classes_ML.any()
    assert not found.ignored_M.any()


def test_stretches_of_which_nothing_is_known_are_left_out() -> None:
    segment = np.array([[10.0, 12.0]])
    found = head_targets(segment, np.array([0]), POINTS, 1, ignored_N2=np.array([[9.0, 20.0]]))
    assert found.positive_M.any()
    assert not (found.ignored_M & found.positive_M).any()
    inside = (POINTS.centres_M >= 9) & (POINTS.centres_M < 20)
    assert (found.ignored_M == (inside & ~found.positive_M)).all()
