import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsedense.detection.segments import (
    DetectedSegment,
    SegmentSettings,
    find_segments,
    runs_above,
    segment_scores,
    smoothed,
    soft_nms,
    temporal_iou,
)

Floats = NDArray[np.float64]
CURVES = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(lambda values: np.array(values, dtype=np.float64))


def edges(num_positions: int, width_seconds: float = 0.5) -> Floats:
    return np.arange(num_positions + 1, dtype=np.float64) * width_seconds


def slow_soft_nms(segments: list[tuple[float, float]], scores: list[float], sigma: float) -> list[tuple[int, float]]:
    """Bodla et al., the pseudo-code of figure 3 with the Gaussian rule, in Python numbers."""
    left = dict(enumerate(scores))
    taken = []
    while left:
        best = max(left, key=lambda number: (left[number], -number))
        score = left.pop(best)
        taken.append((best, score))
        for number in left:
            one, other = segments[best], segments[number]
            intersection = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
            union = one[1] - one[0] + other[1] - other[0] - intersection
            left[number] *= math.exp(-((intersection / union) ** 2) / sigma)
    return taken


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.floats(0.01, 1)), max_size=12),
    sigma=st.sampled_from([0.1, 0.5, 2.0]),
)
def test_soft_nms_is_the_published_one(rows: list[tuple[int, int, float]], sigma: float) -> None:
    segments = [(float(start), float(start + length)) for start, length, _ in rows]
    scores = [score for *_, score in rows]
    taken, decayed = soft_nms(
        np.array(segments, dtype=np.float64).reshape(-1, 2), np.array(scores), sigma=sigma, min_score=1e-300
    )
    # Equal scores may be taken in any order where rounding decides, so scores are compared, and the set.
    expected = [(number, score) for number, score in slow_soft_nms(segments, scores, sigma) if score >= 1e-300]
    np.testing.assert_allclose(decayed, [score for _, score in expected], rtol=1e-9)
    assert set(taken.tolist()) == {number for number, _ in expected}


@settings(max_examples=100, deadline=None)
@given(curve=CURVES, level=st.floats(0.05, 0.95))
def test_runs_are_where_the_curve_is_above(curve: Floats, level: float) -> None:
    times = edges(len(curve))
    centres = (times[1:] + times[:-1]) / 2
    runs = runs_above(curve, times, level)
    inside = np.array([bool(((runs[:, 0] <= centre) & (centre <= runs[:, 1])).any()) for centre in centres])
    assert inside[curve > level].all()
    fine = np.linspace(centres[0], centres[-1], 200)
    interpolated = np.interp(fine, centres, curve)
    for time, value in zip(fine, interpolated, strict=True):
        if abs(value - level) > 1e-6:
            within = ((runs[:, 0] - 1e-9 <= time) & (time <= runs[:, 1] + 1e-9)).any()
            assert within == (value > level)


def test_runs_of_a_known_curve() -> None:
    curve = np.array([0.0, 0.0, 1.0, 1.0, 0.5, 0.0, 0.8])
    runs = runs_above(curve, edges(7, 1.0), 0.4)
    np.testing.assert_allclose(runs, [[1.9, 4.7], [6.0, 7.0]], atol=1e-9)
    assert runs_above(curve, edges(7, 1.0), 0.99).tolist() == [[pytest.approx(2.49), pytest.approx(3.52)]]


@settings(max_examples=60, deadline=None)
@given(curve=CURVES, width=st.sampled_from([1, 3, 5, 9]))
def test_smoothing_is_the_mean_of_the_neighbours(curve: Floats, width: int) -> None:
    half = width // 2
    expected = [curve[max(0, place - half) : place + half + 1].mean() for place in range(len(curve))]
    np.testing.assert_allclose(smoothed(curve, width), expected, atol=1e-9)


def test_a_score_is_inside_against_beside() -> None:
    curve, times = np.array([0.0, 0.2, 0.9, 0.9, 0.9, 0.9, 0.2, 0.0]), edges(8, 1.0)
    scores = segment_scores(np.array([[2.0, 6.0], [3.0, 5.0], [0.0, 8.0]]), curve, times)
    np.testing.assert_allclose(scores, [0.9 * 0.8, 0.9 * 0.1, 4.0 / 8], atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), num_classes=st.integers(1, 3))
def test_segments_are_inside_long_enough_and_in_order(data: st.DataObject, num_classes: int) -> None:
    num_positions = data.draw(st.integers(1, 25))
    values = data.draw(
        st.lists(st.floats(0, 1), min_size=num_positions * num_classes, max_size=num_positions * num_classes)
    )
    probabilities = np.array(values).reshape(num_positions, num_classes)
    config = SegmentSettings(min_seconds=0.7, min_score=0.05)
    found = find_segments(probabilities, edges(num_positions), list("xyz")[:num_classes], config)
    assert found == sorted(found, key=lambda each: (each.start_seconds, -each.score, each.label))
    for each in found:
        assert 0 <= each.start_seconds < each.end_seconds <= num_positions * 0.5
        assert each.end_seconds - each.start_seconds >= 0.7 - 1e-5
        assert 0.05 <= each.score <= 1


def test_the_best_segment_of_a_clear_action_is_the_action() -> None:
    probabilities = np.full((40, 2), 0.02)
    probabilities[10:22, 1] = 0.95
    found = find_segments(probabilities, edges(40), ["idle hands", "wave"], SegmentSettings())
    best = max(found, key=lambda each: each.score)
    assert best.label == "wave"
    assert best.score > 0.8
    np.testing.assert_allclose([best.start_seconds, best.end_seconds], [5.0, 11.0], atol=0.3)
    assert all(each.score < 0.5 * best.score for each in found if each is not best)


def test_nothing_is_found_where_nothing_happens() -> None:
    assert find_segments(np.full((30, 1), 0.05), edges(30), ["wave"], SegmentSettings()) == []
    assert find_segments(np.zeros((0, 1)), edges(0), ["wave"], SegmentSettings()) == []


def test_two_classes_may_overlap() -> None:
    probabilities = np.zeros((40, 2))
    probabilities[5:20, 0] = probabilities[15:30, 1] = 0.9
    best = [each for each in find_segments(probabilities, edges(40), ["a", "b"], SegmentSettings()) if each.score > 0.7]
    assert [each.label for each in best] == ["a", "b"]
    assert best[0].end_seconds > best[1].start_seconds


def test_tiou_of_empty_segments_is_zero() -> None:
    assert temporal_iou(np.array([1.0, 1.0]), np.array([[1.0, 1.0], [0.0, 2.0]])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "values",
    [{"levels": ()}, {"levels": (0.0,)}, {"smoothing_positions": (2,)}, {"nms_sigma": 0.0}, {"min_score": 2.0}],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        SegmentSettings(**values)  # type: ignore[arg-type]


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="5 edges"):
        find_segments(np.zeros((4, 1)), edges(3), ["a"], SegmentSettings())
    assert DetectedSegment(0.0, 1.0, "a", 0.5).label == "a"
