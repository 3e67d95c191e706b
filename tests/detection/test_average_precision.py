from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.data.segments import SegmentAnnotation
from sparsedense.detection.average_precision import ALL_THRESHOLDS, average_precision, best_min_score, detection_score
from sparsedense.detection.segments import DetectedSegment

Truth = dict[str, list[SegmentAnnotation]]
Found = dict[str, list[DetectedSegment]]
VIDEOS, LABELS = ("a", "b"), ("jump", "run")


def slow_tiou(one: tuple[float, float], other: tuple[float, float]) -> float:
    intersection = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    union = (one[1] - one[0]) + (other[1] - other[0]) - intersection
    return intersection / union if union > 0 else 0.0


def slow_map(truth: Truth, found: Found, threshold: float) -> float:
    """The definition, word by word."""
    labels = {segment.label for segments in truth.values() for segment in segments}
    precisions = []
    for label in labels:
        wanted = [(video, each) for video, several in truth.items() for each in several if each.label == label]
        guesses = [(video, each) for video, several in found.items() for each in several if each.label == label]
        guesses.sort(key=lambda guess: guess[1].score, reverse=True)
        used: set[int] = set()
        right = []
        for video, guess in guesses:
            best, best_tiou = None, threshold - 1e-9
            for number, (home, each) in enumerate(wanted):
                tiou = slow_tiou((guess.start_seconds, guess.end_seconds), (each.start_seconds, each.end_seconds))
                if home == video and number not in used and tiou >= best_tiou and (best is None or tiou > best_tiou):
                    best, best_tiou = number, tiou
            right.append(best is not None)
            if best is not None:
                used.add(best)
        area = 0.0
        for hits in range(1, len(used) + 1):
            # Recall goes up by one true segment; precision is the best at this recall or beyond.
            area += max(
                sum(right[:count]) / count for count in range(1, len(right) + 1) if sum(right[:count]) >= hits
            ) / len(wanted)
        precisions.append(area)
    return sum(precisions) / len(precisions)


@st.composite
def segments_of(draw: st.DrawFn, most: int) -> list[tuple[float, float, str, float]]:
    # Few different times and scores, so that overlaps, ties and equal segments are frequent.
    times = st.integers(0, 8)
    rows = draw(
        st.lists(st.tuples(times, times, st.sampled_from(LABELS), st.sampled_from([0.1, 0.5, 0.9])), max_size=most)
    )
    return [(min(a, b), max(a, b) + 1.0, label, score) for a, b, label, score in rows]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Truth, Found]:
    truth = {v: [SegmentAnnotation(a, b, n) for a, b, n, _ in draw(segments_of(4))] for v in VIDEOS}
    found = {v: [DetectedSegment(a, b, n, s) for a, b, n, s in draw(segments_of(7))] for v in (*VIDEOS, "c")}
    return truth, found


@settings(max_examples=150, deadline=None)
@given(scene=scenes(), threshold=st.sampled_from([0.3, 0.5, 0.75, 1.0]))
def test_it_is_the_definition(scene: tuple[Truth, Found], threshold: float) -> None:
    truth, found = scene
    if not any(truth.values()):
        with pytest.raises(ValueError, match="no true segment"):
            detection_score(truth, found)
        return
    score = detection_score(truth, found, thresholds=(threshold,))
    assert score.map_by_threshold[threshold] == pytest.approx(slow_map(truth, found, threshold))


@settings(max_examples=60, deadline=None)
@given(scene=scenes())
def test_it_falls_with_the_threshold_and_depends_on_the_order_of_the_scores_alone(scene: tuple[Truth, Found]) -> None:
    truth, found = scene
    truth["a"].append(SegmentAnnotation(2.0, 5.0, "jump"))
    score = detection_score(truth, found)
    # Not a law with overlapping true segments, of which greedy matching may take the wrong one; with one there is.
    alone = detection_score({"a": truth["a"][-1:]}, found).map_by_threshold
    assert list(alone.values()) == sorted(alone.values(), reverse=True)
    halved = {video: [replace(each, score=each.score**2) for each in several] for video, several in found.items()}
    assert detection_score(truth, halved).map_by_threshold == score.map_by_threshold


def one_jump(*, extra: Sequence[SegmentAnnotation] = ()) -> Truth:
    return {"a": [SegmentAnnotation(1.0, 3.0, "jump"), *extra], "b": []}


def test_right_detections_are_worth_all_and_none_nothing() -> None:
    truth = one_jump(extra=[SegmentAnnotation(2.0, 6.0, "run")])
    perfect: Found = {"a": [DetectedSegment(1.0, 3.0, "jump", 0.2), DetectedSegment(2.0, 6.0, "run", 0.1)]}
    score = detection_score(truth, perfect)
    assert set(score.map_by_threshold) == set(ALL_THRESHOLDS)
    assert set(score.map_by_threshold.values()) == {1.0}
    assert score.average() == 1.0
    nothing = detection_score(truth, {})
    assert set(nothing.map_by_threshold.values()) == {0.0}
    assert (nothing.num_segments, nothing.num_detections) == (2, 0)


def test_a_true_segment_is_found_once() -> None:
    twice: Found = {"a": [DetectedSegment(1.0, 3.0, "jump", 0.9), DetectedSegment(1.0, 3.0, "jump", 0.8)]}
    truth = {"a": [SegmentAnnotation(1.0, 3.0, "jump")], "b": [SegmentAnnotation(1.0, 3.0, "jump")]}
    assert detection_score(truth, twice).map_by_threshold[0.5] == 0.5
    twice["b"] = [DetectedSegment(1.0, 3.0, "jump", 0.7)]  # third of three, two of them right
    assert detection_score(truth, twice).map_by_threshold[0.5] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_unknown_classes_are_told_and_do_not_count() -> None:
    found: Found = {"a": [DetectedSegment(1.0, 3.0, "jump", 0.5), DetectedSegment(1.0, 3.0, "fly", 0.9)]}
    score = detection_score(one_jump(), found)
    assert score.map_by_threshold[0.5] == 1.0
    assert score.unknown_labels == ("fly",)
    assert list(score.average_precision) == ["jump"]


def test_what_is_found_in_ambiguous_stretches_does_not_count() -> None:
    found: Found = {"a": [DetectedSegment(7.0, 9.0, "jump", 0.9), DetectedSegment(1.0, 3.0, "jump", 0.5)]}
    assert detection_score(one_jump(), found).map_by_threshold[0.5] == 0.5
    ambiguous = {"a": [SegmentAnnotation(7.0, 9.0, "Ambiguous")]}
    assert detection_score(one_jump(), found, ambiguous=ambiguous).map_by_threshold[0.5] == 1.0


def test_a_threshold_is_reached_by_rounding() -> None:
    found: Found = {"a": [DetectedSegment(0.1, 0.4, "jump", 0.9)]}
    truth = {"a": [SegmentAnnotation(0.1, 0.7, "jump")]}  # 0.3 / 0.6 is 0.5000000000000001 or 0.49999999999999994
    assert detection_score(truth, found, thresholds=(0.5,)).map_by_threshold[0.5] == 1.0


def test_thresholds_are_shares() -> None:
    with pytest.raises(ValueError, match="tIoU thresholds"):
        detection_score(one_jump(), {}, thresholds=(0.0,))
    with pytest.raises(ValueError, match="tIoU thresholds"):
        detection_score(one_jump(), {}, thresholds=())


def test_the_area_of_a_known_curve() -> None:
    # precision 1, 1/2, 2/3, 2/4 at recalls 1/3, 1/3, 2/3, 2/3
    assert average_precision(np.array([True, False, True, False]), 3) == pytest.approx((1 + 2 / 3) / 3)


def test_the_best_least_score_does_not_divide_detections_of_one_score() -> None:
    """The right one of the weak comes first by chance, but with it come nine wrong ones."""
    truth = {"a": [SegmentAnnotation(1.0, 3.0, "jump"), SegmentAnnotation(11.0, 13.0, "jump")]}
    weak = [DetectedSegment(11.0, 13.0, "jump", 0.2), *[DetectedSegment(20.0, 21.0, "jump", 0.2)] * 9]
    score, f1 = best_min_score(truth, {"a": [DetectedSegment(1.0, 3.0, "jump", 0.9), *weak]})
    assert 0.2 < score < 0.9
    assert f1 == pytest.approx(2 / 3)
