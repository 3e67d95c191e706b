"""ActivityNet 1.3 (Caba Heilbron et al., CVPR 2015): 200 activities in untrimmed web videos, with their segments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.list_files import find_list
from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.segments import AnnotatedVideos, missing_note, read_segments_json

DESCRIPTION = DatasetDescription(
    title="ActivityNet 1.3",
    videos="19,994 videos",
    classes=200,
    size="hundreds of GB",
    page="http://activity-net.org/download.html",
    download=(
        "activity_net.v1-3.min.json",
        "the videos, on request through the form of the page",
    ),
    layout=(
        "SOURCE/train_val/v_ID.mp4 ... (any folders; .mkv and .webm too, with or without v_)\n"
        "SOURCE/activity_net.v1-3.min.json"
    ),
    about=("segments in long videos, to detect actions in; the testing videos have none",),
    kind="segments",
)
_HINT = "download activity_net.v1-3.min.json into it, or name its folder as the lists"


def read(source: Path, lists: Path) -> AnnotatedVideos:
    """The videos of ActivityNet with their segments.

    Raises:
        CatalogError: the annotations are missing or not as expected.
    """
    annotated = read_segments_json(find_list(lists, "activity_net.v1-3.min.json", "activity_net*.json", hint=_HINT))
    index = VideoIndex(source, key=_video_id)
    videos = [replace(video, path=index.find(video.video_id)) for video in annotated.videos]
    found = AnnotatedVideos(tuple(videos), annotated.notes)
    return replace(found, notes=(*found.notes, *missing_note(found)))


def _video_id(name: str) -> str:
    """The id in a file's name: an id has 11 characters and may itself begin with v_."""
    return name.removeprefix("v_") if len(name) == len("v_") + 11 else name
