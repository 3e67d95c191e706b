"""Where actions begin and end in long videos: typed, and read from files in the format of ActivityNet.

{"database": {"ID": {"subset": "training", "duration": 82.7,
                     "annotations": [{"label": "Surfing", "segment": [12.5, 40.1]}]}}}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted
from sparsedense.data.splits import shown

_SUBSETS = {
    "training": "train",
    "train": "train",
    "validation": "val",
    "val": "val",
    "testing": "test",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class SegmentAnnotation:
    """One action in a video, in seconds from its start."""

    start_seconds: float
    end_seconds: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedVideo:
    """A long video and what happens in it.

    Attributes:
        video_id: its name in the annotations.
        split: "train", "val" or "test".
        segments: the actions, in order of their starts; none where nothing happens or nothing is told.
        ambiguous: segments that count neither as right nor as wrong (THUMOS14).
        duration_seconds: as the annotations have it; None where they do not tell.
        path: the file; None where it is missing.
    """

    video_id: str
    split: str
    segments: tuple[SegmentAnnotation, ...]
    ambiguous: tuple[SegmentAnnotation, ...] = ()
    duration_seconds: float | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class AnnotatedVideos:
    """The annotated videos of a data set.

    Attributes:
        videos: in order of their ids.
        notes: what a person should know of how they were read.
    """

    videos: tuple[AnnotatedVideo, ...]
    notes: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Sorted labels of all segments."""
        return tuple(sorted({segment.label for video in self.videos for segment in video.segments}))

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids of the videos whose file is missing."""
        return tuple(video.video_id for video in self.videos if video.path is None)


def read_segments_json(path: Path) -> AnnotatedVideos:
    """Read an annotation file in the format of ActivityNet; the videos' files are not looked for.

    Segments that end before they begin are left out, those that end behind the video are kept; notes tell of both.

    Raises:
        CatalogError: the file cannot be read, is not JSON, or is not in this format; the message names the video.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CatalogError(f"{path} is not JSON ({error}); download it again") from error
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}") from error
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise CatalogError(f'{path}: no object "database"; expected annotations in the format of ActivityNet')
    odd: Counter[str] = Counter()
    videos = [_video(path, name, row, odd) for name, row in sorted(database.items())]
    return AnnotatedVideos(tuple(videos), tuple(f"{counted(odd[what], 'segment')} {what}" for what in sorted(odd)))


def ordered_segments(
    segments: list[SegmentAnnotation], duration_seconds: float | None, odd: Counter[str]
) -> tuple[SegmentAnnotation, ...]:
    """Segments by their starts, without those that end before they begin; `odd` counts what is odd."""
    kept = [segment for segment in segments if segment.start_seconds < segment.end_seconds]
    if len(kept) < len(segments):
        odd["that end before they begin left out"] += len(segments) - len(kept)
    late = sum(duration_seconds is not None and segment.end_seconds > duration_seconds + 0.5 for segment in kept)
    if late:
        odd["that end behind the end of the video kept"] += late
    return tuple(sorted(kept, key=lambda segment: (segment.start_seconds, segment.end_seconds, segment.label)))


def missing_note(videos: AnnotatedVideos) -> list[str]:
    """What to tell of missing files, if any are."""
    missing = videos.missing
    if not missing:
        return []
    return [f"{counted(len(missing), 'listed video')} of {len(videos.videos):,} missing: {shown(missing, 3)}"]


def _video(path: Path, name: str, row: Any, odd: Counter[str]) -> AnnotatedVideo:  # noqa: ANN401 - of JSON
    if not isinstance(row, Mapping) or not isinstance(row.get("annotations"), list):
        raise CatalogError(f"{path}: video {name!r} has no list of annotations")
    split = _SUBSETS.get(str(row.get("subset", "")).lower())
    if split is None:
        raise CatalogError(f"{path}: video {name!r} is of subset {row.get('subset')!r}; expected {', '.join(_SUBSETS)}")
    duration = row.get("duration")
    seconds = float(duration) if isinstance(duration, int | float) else None
    segments = [_segment(path, name, annotation) for annotation in row["annotations"]]
    return AnnotatedVideo(
        video_id=name, split=split, segments=ordered_segments(segments, seconds, odd), duration_seconds=seconds
    )


def _segment(path: Path, name: str, annotation: Any) -> SegmentAnnotation:  # noqa: ANN401 - of JSON
    try:
        start, end = annotation["segment"]
        return SegmentAnnotation(float(start), float(end), str(annotation["label"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CatalogError(
            f"{path}: video {name!r} has the annotation {annotation!r}; expected a label and a segment of two seconds"
        ) from error
