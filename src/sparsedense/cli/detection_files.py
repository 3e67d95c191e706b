"""Files of what `detect` found: tables, captions and pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparsedense.prediction.long_videos import Detection


def write_detections(
    detections: "Sequence[Detection]",
    *,
    csv: Path | None,
    activitynet: Path | None,
    vtt: Path | None,
    srt: Path | None,
    timeline: Path | None,
) -> None:
    """Write what was asked for of the videos that could be read.

    Args:
        detections: of all videos.
        csv: file for the segments of all videos.
        activitynet: file for them in ActivityNet's format of results.
        vtt: file for captions in WebVTT; with several videos, a folder.
        srt: the same in SubRip.
        timeline: picture of what happens when; with several videos, a folder.
    """
    from sparsedense.detection import segment_files
    from sparsedense.detection.timeline import write_timeline

    read = [each for each in detections if each.error is None]
    if csv is not None:
        segment_files.write_segments_csv(csv, {each.video: each.segments for each in read})
    if activitynet is not None:
        segment_files.write_results_json(activitynet, {Path(each.video).stem: each.segments for each in read})
    writers: list[tuple[Path | None, str, Callable[[Path, Detection], None]]] = [
        (vtt, ".vtt", lambda path, each: segment_files.write_vtt(path, each.segments)),
        (srt, ".srt", lambda path, each: segment_files.write_srt(path, each.segments)),
        (timeline, ".png", lambda path, each: write_timeline(
            path, each.segments, duration_seconds=each.counts.duration_seconds, thumbnails=each.thumbnails,
            title=Path(each.video).name,
        )),
    ]  # fmt: skip
    for out, ending, write in writers:
        for path, each in _places(out, ending, read, several=len(detections) > 1):
            write(path, each)


def _places(
    out: Path | None, ending: str, read: "Sequence[Detection]", *, several: bool
) -> "list[tuple[Path, Detection]]":
    """Where the file of each video goes; of several videos of one name, the later ones get a number."""
    if out is None:
        return []
    if not several:
        return [(out, each) for each in read]
    places: list[tuple[Path, Detection]] = []
    taken: set[str] = set()
    for each in read:
        stem = name = Path(each.video).stem or "video"
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        places.append((out / f"{name}{ending}", each))
    return places
