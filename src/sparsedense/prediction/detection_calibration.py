"""Calibration on annotated videos: so that scores mean probabilities, for both ways to find segments.

Shapes: K scales, P positions, L classes, A = classes with background.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.segments import AnnotatedVideo
from sparsedense.detection.average_precision import best_min_score
from sparsedense.detection.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
    idle_class,
    position_labels,
)
from sparsedense.detection.head_calibration import HeadCalibration, HeadCalibrationReport, fit_head_calibration
from sparsedense.detection.segments import DetectedSegment, SegmentSettings, find_segments
from sparsedense.prediction.annotated_videos import LEAST_SCORE, Progress, source_of
from sparsedense.prediction.detection_methods import foreground_classes
from sparsedense.prediction.long_videos import DetectionSettings, LongVideo, LongVideoModel, detect_in
from sparsedense.video.errors import UnreadableVideoError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationReport:
    """A calibration and what it does on the videos that it was fitted on.

    Attributes:
        calibration: what was fitted.
        ece_before: expected calibration error of the model's own probabilities, on positions in actions; where there is
            no idle class, they say nothing of background.
        ece_after: of the fitted ones, on all positions, background among the classes.
        accuracy: share of positions whose most probable class is right, background among the classes.
        f1: of the reported segments at tIoU 0.5.
        videos: number of videos.
        positions: number of positions.
    """

    calibration: Calibration
    ece_before: float
    ece_after: float
    accuracy: float
    f1: float
    videos: int
    positions: int


def calibrate(
    model: LongVideoModel,
    videos: Sequence[AnnotatedVideo],
    settings: DetectionSettings,
    *,
    progress: Progress | None = None,
) -> CalibrationReport:
    """Fit temperature, background, weights of the scales and the least score on annotated videos, by every clip.

    Args:
        model: what to calibrate.
        videos: with their files; not those that detection is judged on.
        settings: stride, number of scales and frame rate; the effort is 1.
        progress: called with videos done and videos in all.

    Raises:
        UnreadableVideoError: a video cannot be read.
        ValueError: there is no segment of a class that the model knows, or no background.
    """
    exhaustive = replace(settings, effort=1.0, method="window")
    # The old background must not steer what is measured; every clip is computed in any case.
    bare = replace(model, calibration=Calibration(), calibration_problem=None)
    edges, logits = [], []
    for done, video in enumerate(videos, 1):
        curves = list(LongVideo(source_of(video), bare, exhaustive).curves())
        edges.append(np.concatenate([curves[0].edges_seconds[:1], *(curve.edges_seconds[1:] for curve in curves)]))
        logits.append(np.concatenate([curve.outputs_KPD for curve in curves], axis=1))
        if progress:
            progress(done, len(videos))
    return fit_to_scores(videos, edges, logits, model.class_names, stride_frames=bare.stride_frames(settings))


def fit_to_scores(
    videos: Sequence[AnnotatedVideo],
    edges: Sequence[Floats],
    logits: Sequence[NDArray[np.floating]],
    class_names: Sequence[str],
    *,
    stride_frames: float,
) -> CalibrationReport:
    """Fit a calibration to logits that are there.

    Args:
        videos: what happens when.
        edges: of each video, where positions begin and the last one ends, in seconds (P + 1,).
        logits: of each video (K, P, L).
        class_names: of the L classes.
        stride_frames: of the finest clips, to be kept.

    Raises:
        ValueError: as in `calibrate`.
    """
    idle = idle_class(class_names)
    background = len(class_names) if idle is None else idle
    labels_P = np.concatenate(
        [
            position_labels(video.segments, (each[1:] + each[:-1]) / 2, class_names, background)
            for video, each in zip(videos, edges, strict=True)
        ]
    )
    logits_KPL = np.concatenate(logits, axis=1)
    known, acting = labels_P >= 0, (labels_P >= 0) & (labels_P != background)
    if not acting.any():
        raise ValueError(f"no annotated action is one of the model's classes ({', '.join(class_names)})")
    fitted = fit_calibration(
        logits_KPL[:, known], labels_P[known], has_idle_class=idle is not None, stride_frames=stride_frames
    )
    presence_KP = np.ones(logits_KPL.shape[:2])
    after_PA = fitted.probabilities(logits_KPL, presence_KP)
    before_PL = Calibration().probabilities(logits_KPL, presence_KP)
    min_score, f1 = _best_min_score(videos, edges, after_PA, class_names)
    judged = known if idle is not None else acting
    return CalibrationReport(
        replace(fitted, min_score=min_score),
        ece_before=expected_calibration_error(before_PL[judged], labels_P[judged]),
        ece_after=expected_calibration_error(after_PA[known], labels_P[known]),
        accuracy=float((after_PA[known].argmax(axis=1) == labels_P[known]).mean()),
        f1=f1,
        videos=len(videos),
        positions=int(known.sum()),
    )


def _best_min_score(
    videos: Sequence[AnnotatedVideo], edges: Sequence[Floats], probabilities_PA: Floats, class_names: Sequence[str]
) -> tuple[float, float]:
    """The least score to report, and F1 with it."""
    foreground = foreground_classes(class_names)
    parts = np.split(probabilities_PA[:, foreground], np.cumsum([len(each) - 1 for each in edges])[:-1])
    names, keep_all = [class_names[index] for index in foreground], SegmentSettings(min_score=LEAST_SCORE)
    found = {
        video.video_id: find_segments(part_PL, edges_seconds, names, keep_all)
        for video, part_PL, edges_seconds in zip(videos, parts, edges, strict=True)
    }
    return best_min_score({video.video_id: video.segments for video in videos}, found)


def calibrate_head(
    model: LongVideoModel,
    videos: Sequence[AnnotatedVideo],
    settings: DetectionSettings,
    *,
    progress: Progress | None = None,
) -> HeadCalibrationReport:
    """Fit the scores of a learned head on annotated videos, by every clip.

    Args:
        model: with a head.
        videos: with their files; not those that detection is judged on.
        settings: frame rate and batch size; the effort is 1.
        progress: called with videos done and videos in all.

    Raises:
        UnreadableVideoError: a video cannot be read.
        ValueError: the model has no head, or nothing that it finds is right.
    """
    if model.head is None:
        raise ValueError("the model has no detection head; train one with `sparsedense finetune --task detection`")
    bare = replace(model, head=replace(model.head, calibration=HeadCalibration()))
    every_clip = replace(settings, method="head", effort=1.0, min_score=LEAST_SCORE)
    detections: dict[str, Sequence[DetectedSegment]] = {}
    for video in videos:
        detection = detect_in(source_of(video), bare, every_clip)
        if detection.error is not None:
            raise UnreadableVideoError(detection.video, detection.error)
        detections[video.video_id] = detection.segments
        if progress:
            progress(len(detections), len(videos))
    return fit_head_calibration({video.video_id: video.segments for video in videos}, detections)
