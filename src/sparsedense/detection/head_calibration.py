"""Scores of a detection head that mean what they say: the probability that the segment is right at tIoU 0.5.

Platt's scaling of the logit of the score (1999): it keeps the order, and so the average precision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.segments import SegmentAnnotation
from sparsedense.detection.average_precision import best_min_score, right_detections
from sparsedense.detection.calibration import calibration_error
from sparsedense.detection.segments import DetectedSegment

Floats = NDArray[np.float64]

_ROUNDING = 1e-7
_DECAY = 1e-3


class NothingRightError(ValueError):
    """Nothing that a head found is right, so that its scores cannot be fitted."""


@dataclass(frozen=True)
class HeadCalibration:
    """How the head's own scores become those that are reported.

    Attributes:
        factor: of the logit of the score, above 0.
        shift: is added to it.
        min_score: segments with less, after that, are not reported.

    Raises:
        ValueError: a value that cannot be.
    """

    factor: float = 1.0
    shift: float = 0.0
    min_score: float = 0.3

    def __post_init__(self) -> None:
        if self.factor <= 0 or not 0 <= self.min_score <= 1:
            raise ValueError(f"factor ({self.factor}) must be above 0 and min_score ({self.min_score}) in 0..1")

    def scores(self, own: Floats) -> Floats:
        """Scores to report, of the head's own ones."""
        return np.asarray(1 / (1 + np.exp(-(self.factor * _logit(own) + self.shift))))

    def own_score(self, score: float) -> float:
        """The inverse of `scores`."""
        return float(1 / (1 + np.exp(-(_logit(np.array(score)) - self.shift) / self.factor)))

    def applied(self, segments: Sequence[DetectedSegment]) -> list[DetectedSegment]:
        """Segments with the scores that are to be reported."""
        scores = self.scores(np.array([each.score for each in segments]))
        return [replace(each, score=float(score)) for each, score in zip(segments, scores, strict=True)]

    def as_plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class HeadCalibrationReport:
    """A calibration of a head and what it does on the videos that it was fitted on.

    Attributes:
        calibration: what was fitted.
        ece_before: expected calibration error of the head's own scores, of being right at tIoU 0.5.
        ece_after: that of the fitted ones.
        f1: of the reported segments at tIoU 0.5.
        videos: number of videos.
        detections: number of segments that it was fitted on.
    """

    calibration: HeadCalibration
    ece_before: float
    ece_after: float
    f1: float
    videos: int
    detections: int


def fit_head_calibration(
    truth: Mapping[str, Sequence[SegmentAnnotation]], detections: Mapping[str, Sequence[DetectedSegment]]
) -> HeadCalibrationReport:
    """Fit the scores of detections to whether they are right, and the least score to the best F1.

    Args:
        truth: true segments by video.
        detections: what the head found, with its own scores, however low.

    Raises:
        NothingRightError: no detection is right.
    """
    from scipy.optimize import minimize  # here: detecting needs it not, and it is slow to import

    own, is_right = right_detections(truth, detections, threshold=0.5)
    if not is_right.any():
        raise NothingRightError("no segment that was found is right at tIoU 0.5; there is nothing to calibrate by")

    def loss(parameters: Floats) -> float:
        logits = np.exp(parameters[0]) * _logit(own) + parameters[1]
        likelihood = np.where(is_right, -np.logaddexp(0, -logits), -np.logaddexp(0, logits))
        return float(-likelihood.mean() + _DECAY * (parameters**2).sum())

    factor, shift = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(-3, 3), (-10, 10)]).x
    fitted = HeadCalibration(float(np.exp(factor)), float(shift))
    reported = {video: fitted.applied(several) for video, several in detections.items()}
    min_score, f1 = best_min_score(truth, reported)
    return HeadCalibrationReport(
        replace(fitted, min_score=min_score),
        ece_before=calibration_error(own, is_right),
        ece_after=calibration_error(fitted.scores(own), is_right),
        f1=f1,
        videos=len(truth),
        detections=len(own),
    )


def _logit(probabilities: Floats) -> Floats:
    inside = np.clip(probabilities, _ROUNDING, 1 - _ROUNDING)
    return np.asarray(np.log(inside) - np.log1p(-inside))
