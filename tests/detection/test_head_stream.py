from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsedense.detection.head_calibration import HeadCalibration
from sparsedense.detection.head_stream import HeadStream, raw_segments
from sparsedense.detection.scan import ScoreCurve
from sparsedense.detection.segments import DetectedSegment
from tests.detection.known_heads import trained_head


def curve(length: int, seed: int = 0) -> ScoreCurve:
    rng = np.random.default_rng(seed)
    edges_seconds = np.cumsum(rng.uniform(0.1, 0.3, length + 1))
    return ScoreCurve(edges_seconds, rng.normal(size=(2, length, 4)), rng.uniform(size=(2, length)))


def split(whole: ScoreCurve, cuts: list[int]) -> list[ScoreCurve]:
    bounds = [0, *sorted(cuts), whole.outputs_KPD.shape[1]]
    return [
        ScoreCurve(whole.edges_seconds[a : b + 1], whole.outputs_KPD[:, a:b], whole.presence_KP[:, a:b])
        for a, b in pairwise(bounds)
        if b > a
    ]


def rows(found: list[DetectedSegment]) -> NDArray[np.float64]:
    return np.array(sorted((each.label == "open", each.start_seconds, each.end_seconds, each.score) for each in found))


@pytest.mark.parametrize(("cuts", "core"), [([], 31), ([1, 7, 140], 60), ([210], 100)])
def test_parts_tell_what_the_whole_tells(cuts: list[int], core: int) -> None:
    """Wherever the parts are cut, and however little is decided on at a time."""
    head, whole = trained_head(num_levels=2), curve(220)
    at_once = HeadStream(head, min_score=0.7, core_positions=10_000)
    expected = [*at_once.add(whole), *at_once.finish()]
    stream = HeadStream(head, min_score=0.7, core_positions=core)
    found = [segment for part in split(whole, cuts) for segment in stream.add(part)] + stream.finish()
    assert len(expected) > 10
    assert len(found) == len(expected)
    np.testing.assert_allclose(rows(found), rows(expected), atol=1e-5)


def test_memory_does_not_grow() -> None:
    head = trained_head(num_levels=2)
    stream = HeadStream(head, min_score=0.9, core_positions=64)
    held = []
    for part in range(12):
        stream.add(curve(200, seed=part))
        held.append(len(stream._rows_PKD))
    assert max(held[4:]) <= max(held[:4]) + 64


def test_a_short_video_is_one_part_and_an_empty_one_none() -> None:
    head = trained_head()
    stream = HeadStream(head, min_score=0.0)
    assert stream.finish() == []
    whole = curve(1)
    found = [*stream.add(whole), *stream.finish()]
    first, last = whole.edges_seconds
    assert found
    assert all(first <= each.start_seconds < each.end_seconds <= last for each in found)


def test_scores_are_calibrated_and_the_weak_left_out() -> None:
    head, whole = trained_head(), curve(50)
    plain = replace(head, calibration=HeadCalibration(min_score=0.0))
    rows_PKD = np.swapaxes(whole.outputs_KPD, 0, 1).astype(np.float32)
    presence_PK = np.swapaxes(whole.presence_KP, 0, 1).astype(np.float32)
    raw = raw_segments(plain, rows_PKD, presence_PK, whole.edges_seconds, min_score=0.01)
    stream = HeadStream(head, min_score=0.4)
    found = [*stream.add(whole), *stream.finish()]
    expected = sorted(each.score for each in head.calibration.applied(raw) if each.score >= 0.4)
    assert 0 < len(expected) < len(raw)
    np.testing.assert_allclose(sorted(each.score for each in found), expected, rtol=1e-6)


@pytest.mark.parametrize("min_score", [0.0, 1.0])
def test_the_ends_of_scores_are_allowed(min_score: float) -> None:
    stream = HeadStream(trained_head(), min_score=min_score)
    found = [*stream.add(curve(20)), *stream.finish()]
    assert all(each.score >= min_score for each in found)
