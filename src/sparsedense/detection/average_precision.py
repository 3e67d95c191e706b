"""Mean average precision of detected segments, as ActivityNet defines it (Caba Heilbron et al., CVPR 2015).

For each class and each threshold of temporal intersection over union (tIoU): detections, the best score first, take of
the true segments of their video that are still free the one with the largest tIoU, if that reaches the threshold; else
they are false. The average precision is the area under the curve of precision over recall, where the precision at a
recall is the best one at this recall or beyond. The mean is over the classes that have true segments.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.segments import SegmentAnnotation
from sparsedense.detection.segments import DetectedSegment, temporal_iou

THUMOS_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
ACTIVITYNET_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
ALL_THRESHOLDS = tuple(sorted({*THUMOS_THRESHOLDS, *ACTIVITYNET_THRESHOLDS}))

# 0.5 may come out as 0.49999...; a threshold is reached if it is missed by less than this.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class DetectionScore:
    """How good detections are; all in 0..1.

    Attributes:
        map_by_threshold: mean average precision by tIoU threshold.
        average_precision: by class, then by threshold; of the classes that have true segments.
        num_segments: true segments.
        num_detections: detections.
        unknown_labels: labels of detections that no true segment has; they have no average precision, so that they
            count neither as right nor as wrong.
    """

    map_by_threshold: dict[float, float]
    average_precision: dict[str, dict[float, float]]
    num_segments: int
    num_detections: int
    unknown_labels: tuple[str, ...]

    def average(self, thresholds: Sequence[float] = THUMOS_THRESHOLDS) -> float:
        """The mean of the mAP at some of the thresholds."""
        return float(np.mean([self.map_by_threshold[threshold] for threshold in thresholds]))


def detection_score(
    truth: Mapping[str, Sequence[SegmentAnnotation]],
    detections: Mapping[str, Sequence[DetectedSegment]],
    *,
    thresholds: Sequence[float] = ALL_THRESHOLDS,
    ambiguous: Mapping[str, Sequence[SegmentAnnotation]] | None = None,
) -> DetectionScore:
    """Judge detections by true segments.

    Args:
        truth: true segments by video; a video in which nothing happens has none.
        detections: what was found, by video. Of equal scores, the earlier one in order of videos and list is first.
        thresholds: of tIoU.
        ambiguous: stretches of videos, whatever their label; a detection that is not right but overlaps one of them
            by the threshold is left out (THUMOS14).

    Raises:
        ValueError: there is no true segment, or a threshold is not in 0..1.
    """
    if not any(truth.values()):
        raise ValueError("there is no true segment to judge detections by; check the annotations and the split")
    if not thresholds or not all(0 < threshold <= 1 for threshold in thresholds):
        raise ValueError(f"tIoU thresholds ({list(thresholds)}) must be in 0..1, and at least one")
    labels = sorted({segment.label for segments in truth.values() for segment in segments})
    precision = {
        label: _class_precision(
            _by_video(truth, label),
            _ordered(detections, label),
            _by_video(ambiguous or {}, None),
            thresholds,
        )
        for label in labels
    }
    return DetectionScore(
        map_by_threshold={
            threshold: float(np.mean([precision[label][threshold] for label in labels])) for threshold in thresholds
        },
        average_precision=precision,
        num_segments=sum(map(len, truth.values())),
        num_detections=sum(map(len, detections.values())),
        unknown_labels=tuple(sorted({found.label for several in detections.values() for found in several} - {*labels})),
    )


def best_min_score(
    truth: Mapping[str, Sequence[SegmentAnnotation]],
    detections: Mapping[str, Sequence[DetectedSegment]],
    *,
    threshold: float = 0.5,
) -> tuple[float, float]:
    """The least score to report that gives the best F1 over all classes, at one threshold of tIoU.

    Returns:
        the score, half-way to the next lower one so that it is not the score of a detection itself; F1 with it. Where
        no detection is right, 1 and 0.
    """
    scores, hits = right_detections(truth, detections, threshold=threshold)
    if not hits.any():
        return 1.0, 0.0
    f1 = 2 * np.cumsum(hits) / (np.arange(1, len(hits) + 1) + sum(map(len, truth.values())))
    # Detections of one score are reported together or not at all.
    best = int(np.where(np.append(scores[1:] < scores[:-1], True), f1, 0.0).argmax())
    lower = scores[best + 1 :][scores[best + 1 :] < scores[best]].max(initial=0.0)
    return float((scores[best] + lower) / 2), float(f1[best])


def right_detections(
    truth: Mapping[str, Sequence[SegmentAnnotation]],
    detections: Mapping[str, Sequence[DetectedSegment]],
    *,
    threshold: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores (N,) of the detections of all classes that have true segments, best first, and which of them are right."""
    rows: list[tuple[float, bool]] = []
    for label in sorted({each.label for several in truth.values() for each in several}):
        ordered = _ordered(detections, label)
        right = _matches(_overlaps(ordered, _by_video(truth, label), {}), threshold)
        rows += [(found.score, bool(hit)) for (_, found), hit in zip(ordered, right, strict=True)]
    rows.sort(key=lambda row: -row[0])
    return np.array([score for score, _ in rows]), np.array([hit for _, hit in rows], dtype=np.bool_)


def _by_video(segments: Mapping[str, Iterable[SegmentAnnotation]], label: str | None) -> dict[str, NDArray[np.float64]]:
    """Starts and ends (N, 2) of the segments of a label, or of all, by video."""
    bounds = {
        video: [(each.start_seconds, each.end_seconds) for each in several if label in (None, each.label)]
        for video, several in segments.items()
    }
    return {video: np.array(several, dtype=np.float64) for video, several in bounds.items() if several}


_Overlap = tuple[str, NDArray[np.float64], float]


def _ordered(detections: Mapping[str, Sequence[DetectedSegment]], label: str) -> list[tuple[str, DetectedSegment]]:
    """Detections of a label with their videos, the best score first."""
    several = [(video, found) for video, all_of_it in detections.items() for found in all_of_it if found.label == label]
    return sorted(several, key=lambda found: -found[1].score)  # a stable sort


def _overlaps(
    ordered: Iterable[tuple[str, DetectedSegment]],
    truth: Mapping[str, NDArray[np.float64]],
    ambiguous: Mapping[str, NDArray[np.float64]],
) -> list[_Overlap]:
    """Of each detection its video, its tIoU with the true segments of it, and the largest with ambiguous ones."""
    none = np.zeros((0, 2))
    overlaps = []
    for video, found in ordered:
        bounds = np.array([found.start_seconds, found.end_seconds])
        unclear = float(temporal_iou(bounds, ambiguous.get(video, none)).max(initial=0.0))
        overlaps.append((video, temporal_iou(bounds, truth.get(video, none)), unclear))
    return overlaps


def _class_precision(
    truth: Mapping[str, NDArray[np.float64]],
    ordered: list[tuple[str, DetectedSegment]],
    ambiguous: Mapping[str, NDArray[np.float64]],
    thresholds: Sequence[float],
) -> dict[float, float]:
    """Average precision of one class by threshold."""
    overlaps = _overlaps(ordered, truth, ambiguous)
    num_true = sum(map(len, truth.values()))
    return {threshold: average_precision(_matches(overlaps, threshold), num_true) for threshold in thresholds}


def _matches(overlaps: Iterable[_Overlap], threshold: float) -> NDArray[np.bool_]:
    """Which detections, best first, are right; those that are left out are not in it."""
    free: dict[str, NDArray[np.bool_]] = {}
    right = []
    for video, tiou, ambiguous_tiou in overlaps:
        is_free = free.setdefault(video, np.ones(len(tiou), dtype=np.bool_))
        open_tiou = np.where(is_free, tiou, -1.0)
        best = int(open_tiou.argmax()) if len(tiou) else -1
        if best >= 0 and open_tiou[best] >= threshold - _ROUNDING:
            is_free[best] = False
            right.append(True)
        elif ambiguous_tiou < threshold - _ROUNDING:
            right.append(False)
    return np.array(right, dtype=np.bool_)


def average_precision(is_right: NDArray[np.bool_], num_true: int) -> float:
    """Area under the interpolated curve of precision over recall.

    Args:
        is_right: of each detection, the best score first.
        num_true: number of true segments, at least 1.
    """
    if not len(is_right):
        return 0.0
    num_right = np.cumsum(is_right)
    precision = num_right / np.arange(1, len(is_right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # Each detection that is right raises the recall by one true segment.
    return float(envelope[is_right].sum() / num_true)
