"""THUMOS14 (Jiang et al., 2014; Idrees et al., 2017): 20 sports actions in untrimmed videos, with their segments."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.list_files import find_lists, read_lines
from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted
from sparsedense.data.segments import (
    AnnotatedVideo,
    AnnotatedVideos,
    SegmentAnnotation,
    missing_note,
    ordered_segments,
)

DESCRIPTION = DatasetDescription(
    title="THUMOS14, temporal detection",
    videos="200 validation and 213 test videos with segments",
    classes=20,
    size="tens of GB",
    page="https://www.crcv.ucf.edu/THUMOS14/download.html",
    download=(
        "TH14_Temporal_annotations_validation.zip and TH14_Temporal_annotations_test.zip",
        "TH14_validation_set_mp4.zip, and TH14_Test_set_mp4.zip (its password is sent after registering)",
    ),
    layout=(
        "SOURCE/validation/video_validation_0000051.mp4 ..., SOURCE/test/video_test_0000004.mp4 ... (any folders)\n"
        "SOURCE/annotation/BaseballPitch_val.txt, ... Ambiguous_val.txt, BaseballPitch_test.txt, ...\n"
        "with lines 'video_validation_0000266  72.8 76.4'"
    ),
    about=(
        "one trains on the validation videos (here: train) and reports on the test videos; its training set is UCF101",
        "every CliffDiving segment is a Diving segment too",
        "the field leaves out video_test_0000270, video_test_0001292 and video_test_0001496: wrong annotations",
    ),
    kind="segments",
)
_AMBIGUOUS = "Ambiguous"
_FILE = re.compile(r"(?P<label>\w+?)_(?P<part>val|test)\.txt")
_LINE = re.compile(r"(?P<video>video_(?:validation|test)_\d{7})\s+(?P<start>\d+(?:\.\d*)?)\s+(?P<end>\d+(?:\.\d*)?)")


def read(source: Path, lists: Path) -> AnnotatedVideos:
    """The videos of THUMOS14 that have segments; the validation videos are the split "train".

    Raises:
        CatalogError: there are no annotations, or a line is not as expected.
    """
    segments: dict[str, list[SegmentAnnotation]] = defaultdict(list)
    ambiguous: dict[str, list[SegmentAnnotation]] = defaultdict(list)
    for path in _annotation_files(lists):
        match = _FILE.fullmatch(path.name)
        assert match is not None
        of_video = ambiguous if match["label"] == _AMBIGUOUS else segments
        for number, line in read_lines(path):
            parsed = _LINE.fullmatch(line)
            if parsed is None:
                raise CatalogError(
                    f"{path}, line {number}: {line!r}; expected a video, start and end in seconds: "
                    "'video_validation_0000266  72.8 76.4'"
                )
            of_video[parsed["video"]].append(
                SegmentAnnotation(float(parsed["start"]), float(parsed["end"]), match["label"])
            )
    index = VideoIndex(source)
    odd: Counter[str] = Counter()
    videos = tuple(
        AnnotatedVideo(
            video_id=name,
            split="train" if name.startswith("video_validation") else "test",
            segments=ordered_segments(segments.get(name, []), None, odd),
            ambiguous=ordered_segments(ambiguous.get(name, []), None, odd),
            path=index.find(name),
        )
        for name in sorted({*segments, *ambiguous})
    )
    notes = [f"{counted(odd[what], 'segment')} {what}" for what in sorted(odd)]
    found = AnnotatedVideos(videos)
    return AnnotatedVideos(videos, (*notes, *missing_note(found)))


def _annotation_files(lists: Path) -> list[Path]:
    paths = [path for path in find_lists(lists, "*_val.txt", "*_test.txt") if _FILE.fullmatch(path.name)]
    if not paths:
        raise CatalogError(
            f"{lists} has no annotations such as BaseballPitch_val.txt; unpack the archives of temporal annotations "
            "there, or name their folder as the lists"
        )
    names = Counter(path.name for path in paths)
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise CatalogError(f"{lists} has {twice[0]} in several folders; give the folder that holds it once")
    return paths
