"""Detected segments as files: ActivityNet's JSON, CSV, and captions (WebVTT, SRT) that players show over the video."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsedense.data.errors import CatalogError
from sparsedense.data.preparation.durable_files import complete_file
from sparsedense.detection.segments import DetectedSegment

Detections = Mapping[str, Sequence[DetectedSegment]]

_VERSION = "VERSION 1.3"  # of ActivityNet's format of results


def segment_record(segment: DetectedSegment) -> dict[str, Any]:
    """A segment as JSON can hold it."""
    return {
        "start_seconds": round(segment.start_seconds, 3),
        "end_seconds": round(segment.end_seconds, 3),
        "label": segment.label,
        "score": round(segment.score, 6),
    }


def write_results_json(path: Path, detections: Detections) -> None:
    """Write segments by video id as ActivityNet takes results (its servers know videos by their id, not their file)."""
    results = {
        video: [
            {"label": each.label, "score": each.score, "segment": [each.start_seconds, each.end_seconds]}
            for each in segments
        ]
        for video, segments in detections.items()
    }
    with complete_file(path) as partial:
        content = {"version": _VERSION, "results": results, "external_data": {}}
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_results_json(path: Path) -> dict[str, list[DetectedSegment]]:
    """Read segments by video id, as `write_results_json` and others write them for ActivityNet.

    Raises:
        CatalogError: the file cannot be read, or is not in this format; the message names the video.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CatalogError(f"{path} is not JSON ({error})") from error
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not all(isinstance(rows, list) for rows in results.values()):
        raise CatalogError(f'{path}: no object "results" of lists; expected results in the format of ActivityNet')
    return {video: [_read_segment(path, video, row) for row in rows] for video, rows in results.items()}


def _read_segment(path: Path, video: str, row: Any) -> DetectedSegment:  # noqa: ANN401 - of JSON
    try:
        start, end = row["segment"]
        return DetectedSegment(float(start), float(end), str(row["label"]), float(row["score"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CatalogError(
            f"{path}: video {video!r} has the result {row!r}; expected a label, a score and a segment of two seconds"
        ) from error


def write_segments_csv(path: Path, detections: Detections) -> None:
    """A line for each segment: `video,start_seconds,end_seconds,label,score`."""
    with complete_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["video", "start_seconds", "end_seconds", "label", "score"])
        for video, segments in detections.items():
            for each in segments:
                times = (f"{each.start_seconds:.3f}", f"{each.end_seconds:.3f}")
                writer.writerow([video, *times, each.label, f"{each.score:.6f}"])


def write_vtt(path: Path, segments: Sequence[DetectedSegment]) -> None:
    """Captions in WebVTT (W3C), in order of their starts: the label and how sure it is."""
    cues = [
        f"{_clock(each.start_seconds, '.')} --> {_clock(each.end_seconds, '.')}\n{_vtt_text(_caption(each))}\n"
        for each in _shown(segments)
    ]
    with complete_file(path) as partial:
        partial.write_text("\n".join(["WEBVTT\n", *cues]), encoding="utf-8")


def write_srt(path: Path, segments: Sequence[DetectedSegment]) -> None:
    """Captions in SubRip, in order of their starts: the label and how sure it is."""
    cues = [
        f"{number}\n{_clock(each.start_seconds, ',')} --> {_clock(each.end_seconds, ',')}\n{_caption(each)}\n"
        for number, each in enumerate(_shown(segments), 1)
    ]
    with complete_file(path) as partial:
        partial.write_text("\n".join(cues), encoding="utf-8")


def _shown(segments: Sequence[DetectedSegment]) -> list[DetectedSegment]:
    # Players drop a cue that ends when it begins.
    visible = [each for each in segments if round(each.end_seconds, 3) > round(each.start_seconds, 3)]
    return sorted(visible, key=lambda each: (each.start_seconds, each.end_seconds))


def _caption(segment: DetectedSegment) -> str:
    # A line break would end the cue.
    return f"{' '.join(segment.label.split())} {segment.score:.0%}"


def _vtt_text(text: str) -> str:
    # The arrow is what divides times, and < opens a tag.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(max(seconds, 0.0) * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"
