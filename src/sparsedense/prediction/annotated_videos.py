"""Detection on annotated videos: how good it is, and calibration on them.

Annotations are a file in the format of ActivityNet; the videos lie in a folder, each named by its id.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsedense.data.catalog_folder import VIDEO_EXTENSIONS, visible_files
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted
from sparsedense.data.segments import AnnotatedVideo, read_segments_json
from sparsedense.data.splits import shown
from sparsedense.detection.average_precision import (
    ACTIVITYNET_THRESHOLDS,
    DetectionScore,
    best_min_score,
    detection_score,
)
from sparsedense.detection.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
    idle_class,
    position_labels,
)
from sparsedense.detection.head_calibration import HeadCalibration, HeadCalibrationReport, fit_head_calibration
from sparsedense.detection.segments import DetectedSegment, SegmentSettings, find_segments
from sparsedense.prediction.detection_methods import foreground_classes
from sparsedense.prediction.long_videos import (
    Detection,
    DetectionSettings,
    LongVideo,
    LongVideoModel,
    detect_in,
)
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.errors import UnreadableVideoError

Progress = Callable[[int, int], None]

# Average precision is made of all detections, however weak, but for those that are nothing.
_LEAST_SCORE = 0.01
ANNOTATIONS_NAME = "annotations.json"


@dataclass(frozen=True)
class DetectionEvaluation:
    """How good detection is on some videos.

    Attributes:
        score: mean average precision.
        detections: of each video, by its id.
        frames_decoded: of all videos.
        clips_computed: clips that went through the network.
        clips_exhaustive: clips that effort 1 computes.
    """

    score: DetectionScore
    detections: dict[str, Detection]
    frames_decoded: int
    clips_computed: int
    clips_exhaustive: int

    def record(self) -> dict[str, Any]:
        """As JSON can hold it; `average` is over tIoU 0.3-0.7."""
        return {
            "map": {f"{threshold:g}": value for threshold, value in self.score.map_by_threshold.items()},
            "average": self.score.average(),
            "average_0.5_0.95": self.score.average(ACTIVITYNET_THRESHOLDS),
            "videos": len(self.detections),
            "segments": self.score.num_segments,
            "unknown_labels": list(self.score.unknown_labels),
            "frames_decoded": self.frames_decoded,
            "clips_computed": self.clips_computed,
            "clips_exhaustive": self.clips_exhaustive,
        }


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


def find_annotated(annotations: Path, folder: Path, split: str) -> list[AnnotatedVideo]:
    """Annotated videos of a split with their files.

    Args:
        annotations: file in the format of ActivityNet.
        folder: where the videos lie, at any depth, named by their ids (or `v_` and their ids, as ActivityNet's are).
        split: `train`, `val` or `test`.

    Raises:
        CatalogError: the annotations cannot be read, none is of the split, or files are missing.
    """
    videos = [video for video in read_segments_json(annotations).videos if video.split == split]
    if not videos:
        raise CatalogError(f"{annotations}: no video of the split {split!r}")
    return _with_files(videos, folder, split)


def annotated_splits(
    folder: str | Path, annotations: str | Path | None, splits: Sequence[str]
) -> dict[str, list[AnnotatedVideo]]:
    """Annotated videos of several splits with their files; the first split must have segments, others may be empty.

    Args:
        folder: where the videos lie.
        annotations: file in the format of ActivityNet; `annotations.json` in the folder if None.
        splits: of `train`, `val` and `test`.

    Raises:
        CatalogError: the annotations cannot be read, the first split has no segment, or files are missing.
    """
    folder = Path(folder)
    annotations = folder / ANNOTATIONS_NAME if annotations is None else Path(annotations)
    if not annotations.exists():
        raise CatalogError(
            f"{annotations}: no such file; detection learns from a folder of long videos and a file of what happens "
            "when in them, in the format of ActivityNet (--annotations)"
        )
    videos = read_segments_json(annotations).videos
    found = {split: _with_files([video for video in videos if video.split == split], folder, split) for split in splits}
    if not any(video.segments for video in found[splits[0]]):
        raise CatalogError(f"{annotations}: no video of the split {splits[0]!r} has a segment")
    return found


def _with_files(videos: Sequence[AnnotatedVideo], folder: Path, split: str) -> list[AnnotatedVideo]:
    files = {path.stem: path for path in visible_files(folder) if path.suffix.lower() in VIDEO_EXTENSIONS}
    found = [replace(each, path=files.get(each.video_id, files.get(f"v_{each.video_id}"))) for each in videos]
    missing = [each.video_id for each in found if each.path is None]
    if missing:
        raise CatalogError(
            f"{folder}: {counted(len(missing), 'video')} of {len(found)} of the split {split!r} missing: "
            f"{shown(missing, 3)}; take them out of the annotations or put the files there"
        )
    return found


def evaluate_detection(
    model: LongVideoModel,
    videos: Sequence[AnnotatedVideo],
    settings: DetectionSettings,
    *,
    progress: Progress | None = None,
) -> DetectionEvaluation:
    """Detect in annotated videos and compare.

    Args:
        model: what to judge.
        videos: with their files.
        settings: how to detect; where no least score is told, all segments count, which average precision needs.
        progress: called with videos done and videos in all.

    Raises:
        UnreadableVideoError: a video cannot be read.
        ValueError: no video has a segment.
    """
    if settings.min_score is None:
        settings = replace(settings, min_score=_LEAST_SCORE)
    detections: dict[str, Detection] = {}
    for video in videos:
        detection = detect_in(_source(video), model, settings)
        if detection.error is not None:
            raise UnreadableVideoError(detection.video, detection.error)
        detections[video.video_id] = detection
        if progress:
            progress(len(detections), len(videos))
    score = detection_score(
        {video.video_id: video.segments for video in videos},
        {name: detection.segments for name, detection in detections.items()},
        ambiguous={video.video_id: video.ambiguous for video in videos},
    )
    counts = [detection.counts for detection in detections.values()]
    return DetectionEvaluation(
        score,
        detections,
        frames_decoded=sum(each.frames_decoded for each in counts),
        clips_computed=sum(each.clips_computed for each in counts),
        clips_exhaustive=sum(each.clips_exhaustive for each in counts),
    )


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
    idle = idle_class(model.class_names)
    background = len(model.class_names) if idle is None else idle
    exhaustive = replace(settings, effort=1.0, method="window")
    # The old background must not steer what is measured; every clip is computed in any case.
    bare = replace(model, calibration=Calibration())
    edges, logits, labels = [], [], []
    for done, video in enumerate(videos, 1):
        curves = list(LongVideo(_source(video), bare, exhaustive).curves())
        edges.append(np.concatenate([curves[0].edges_seconds[:1], *(curve.edges_seconds[1:] for curve in curves)]))
        logits.append(np.concatenate([curve.outputs_KPD for curve in curves], axis=1))
        centres = (edges[-1][1:] + edges[-1][:-1]) / 2
        labels.append(position_labels(video.segments, centres, model.class_names, background))
        if progress:
            progress(done, len(videos))
    logits_KPL, labels_P = np.concatenate(logits, axis=1), np.concatenate(labels)
    known, acting = labels_P >= 0, (labels_P >= 0) & (labels_P != background)
    if not acting.any():
        raise ValueError(f"no annotated action is one of the model's classes ({', '.join(model.class_names)})")
    fitted = fit_calibration(
        logits_KPL[:, known],
        labels_P[known],
        has_idle_class=idle is not None,
        stride_frames=bare.stride_frames(settings),
    )
    presence_KP = np.ones(logits_KPL.shape[:2])
    after_PA = fitted.probabilities(logits_KPL, presence_KP)
    before_PL = Calibration().probabilities(logits_KPL, presence_KP)
    foreground = foreground_classes(model.class_names)
    parts = np.split(after_PA[:, foreground], np.cumsum([len(each) - 1 for each in edges])[:-1])
    names, keep_all = [model.class_names[index] for index in foreground], SegmentSettings(min_score=_LEAST_SCORE)
    found = {
        video.video_id: find_segments(part_PL, edges_seconds, names, keep_all)
        for video, part_PL, edges_seconds in zip(videos, parts, edges, strict=True)
    }
    min_score, f1 = best_min_score({video.video_id: video.segments for video in videos}, found)
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
    every_clip = replace(settings, method="head", effort=1.0, min_score=_LEAST_SCORE)
    detections: dict[str, Sequence[DetectedSegment]] = {}
    for video in videos:
        detection = detect_in(_source(video), bare, every_clip)
        if detection.error is not None:
            raise UnreadableVideoError(detection.video, detection.error)
        detections[video.video_id] = detection.segments
        if progress:
            progress(len(detections), len(videos))
    return fit_head_calibration({video.video_id: video.segments for video in videos}, detections)


def _source(video: AnnotatedVideo) -> VideoSource:
    return VideoSource(str(video.path), video.path)
