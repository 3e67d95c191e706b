import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.data.segments import SegmentAnnotation
from sparsedense.detection.average_precision import detection_score
from sparsedense.detection.head_calibration import HeadCalibration, fit_head_calibration
from sparsedense.detection.segments import DetectedSegment


@given(factor=st.floats(0.1, 10), shift=st.floats(-5, 5), score=st.floats(0.01, 0.99))
def test_own_score_is_the_inverse(factor: float, shift: float, score: float) -> None:
    calibration = HeadCalibration(factor, shift)
    reported = float(calibration.scores(np.array([score]))[0])
    assert 0 <= reported <= 1
    if 1e-6 < reported < 1 - 1e-6:
        assert calibration.own_score(reported) == pytest.approx(score, abs=1e-3)


def overconfident() -> tuple[dict[str, list[SegmentAnnotation]], dict[str, list[DetectedSegment]]]:
    """A head that says 0.9 and is right half of the time, and 0.6 and is right one time in ten."""
    truth, found = {}, {}
    for number in range(200):
        sure = number % 2 == 0
        is_right = number % 4 == 0 if sure else number % 20 == 1
        name = f"video{number}"
        truth[name] = [SegmentAnnotation(0.0, 5.0, "a")]
        start = 0.0 if is_right else 10.0
        found[name] = [DetectedSegment(start, start + 5, "a", 0.9 if sure else 0.6)]
    return truth, found


def test_scores_become_how_often_they_are_right() -> None:
    truth, found = overconfident()
    report = fit_head_calibration(truth, found)
    sure, unsure = report.calibration.scores(np.array([0.9, 0.6]))
    assert sure == pytest.approx(0.5, abs=0.05)
    assert unsure == pytest.approx(0.1, abs=0.05)
    assert report.ece_after < 0.05 < report.ece_before
    assert unsure < report.calibration.min_score < sure, "the unsure ones are wrong nine times in ten"


def test_the_order_and_so_average_precision_stay() -> None:
    truth, found = overconfident()
    calibration = fit_head_calibration(truth, found).calibration
    reported = {video: calibration.applied(several) for video, several in found.items()}
    assert detection_score(truth, reported).average() == detection_score(truth, found).average()


def test_a_head_that_is_never_right_cannot_be_calibrated() -> None:
    truth = {"one": [SegmentAnnotation(0.0, 5.0, "a")]}
    with pytest.raises(ValueError, match="nothing to calibrate by"):
        fit_head_calibration(truth, {"one": [DetectedSegment(8.0, 9.0, "a", 0.9)]})
    with pytest.raises(ValueError, match="nothing to calibrate by"):
        fit_head_calibration(truth, {})


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="factor"):
        HeadCalibration(factor=0.0)
    with pytest.raises(ValueError, match="min_score"):
        HeadCalibration(min_score=1.5)
