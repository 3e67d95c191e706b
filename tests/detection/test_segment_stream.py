import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsedense.detection.segment_stream import SegmentStream
from sparsedense.detection.segments import DetectedSegment, SegmentSettings, find_segments

CONFIG = SegmentSettings(smoothing_positions=(1,), min_score=0.2)


def streamed(curve: NDArray[np.float64], part: int, most: int) -> list[DetectedSegment]:
    stream = SegmentStream(["a"], CONFIG, most_positions=most)
    edges = np.arange(len(curve) + 1, dtype=np.float64) * 0.5
    found = []
    for begin in range(0, len(curve), part):
        end = min(len(curve), begin + part)
        found += stream.add(edges[begin : end + 1], curve[begin:end, None])
    found += stream.finish()
    assert stream.finish() == []
    return sorted(found, key=lambda each: (each.start_seconds, -each.score))


@settings(max_examples=50, deadline=None)
@given(starts=st.lists(st.integers(0, 14), min_size=1, max_size=8), part=st.integers(1, 30), most=st.integers(60, 90))
def test_parts_give_what_the_whole_gives(starts: list[int], part: int, most: int) -> None:
    curve = np.zeros(30 * len(starts))
    for number, start in enumerate(starts):
        curve[30 * number + start : 30 * number + start + 6] = 0.9
    whole = find_segments(curve[:, None], np.arange(len(curve) + 1, dtype=np.float64) * 0.5, ["a"], CONFIG)
    parts = streamed(curve, part, most)
    part_bounds, whole_bounds = (
        np.array([(each.start_seconds, each.end_seconds) for each in found]) for found in (parts, whole)
    )
    np.testing.assert_allclose(part_bounds, whole_bounds, atol=1e-5)
    np.testing.assert_allclose([each.score for each in parts], [each.score for each in whole], atol=1e-9)


def test_an_action_longer_than_what_is_kept_is_one_segment() -> None:
    curve = np.zeros(500)
    curve[40:460] = 0.9
    best = max(streamed(curve, part=20, most=64), key=lambda each: each.end_seconds - each.start_seconds)
    np.testing.assert_allclose([best.start_seconds, best.end_seconds], [20.0, 230.0], atol=0.5)
    assert best.score > 0.7


def test_no_more_positions_are_kept_than_said() -> None:
    stream = SegmentStream(["a"], CONFIG, most_positions=50)
    for number in range(200):
        stream.add(np.arange(11, dtype=np.float64) * 0.5 + 5.0 * number, np.full((10, 1), 0.05))
        assert len(stream._probabilities_PL) <= 50
    with pytest.raises(ValueError, match="most_positions"):
        SegmentStream(["a"], CONFIG, most_positions=1)
