"""Detection on annotated videos: which there are, and how good it is.

Annotations are a file in the format of ActivityNet; the videos lie in a folder, each named by its id.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparsedense.data.catalog_folder import VIDEO_EXTENSIONS, visible_files
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted
from sparsedense.data.segments import AnnotatedVideo, read_segments_json
from sparsedense.data.splits import shown
from sparsedense.detection.average_precision import (
    ACTIVITYNET_THRESHOLDS,
    DetectionScore,
    detection_score,
)
from sparsedense.prediction.long_videos import (
    Detection,
    DetectionSettings,
    LongVideoModel,
    detect_in,
)
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.errors import UnreadableVideoError

Progress = Callable[[int, int], None]

# Average precision is made of all detections, however weak, but for those that are nothing.
LEAST_SCORE = 0.01
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
        settings = replace(settings, min_score=LEAST_SCORE)
    detections: dict[str, Detection] = {}
    for video in videos:
        detection = detect_in(source_of(video), model, settings)
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


def source_of(video: AnnotatedVideo) -> VideoSource:
    """What to read of an annotated video."""
    return VideoSource(str(video.path), video.path)
