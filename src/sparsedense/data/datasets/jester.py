"""Jester (Materzynska et al., ICCV Workshops 2019): 27 hand gestures before a web camera, as folders of frames."""

from __future__ import annotations

from pathlib import Path

from sparsedense.data.catalog import Catalog
from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.list_files import find_list, find_lists, read_lines
from sparsedense.data.datasets.official import OfficialEntry, official_catalog
from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted

DESCRIPTION = DatasetDescription(
    title="Jester",
    videos="148,092 videos",
    classes=27,
    size="22.8 GB",
    page="https://www.qualcomm.com/developer/software/jester-dataset",
    download=(
        "the parts of the frames (after signing in); `cat 20bn-jester-v1-?? | tar xz`",
        "the labels: train.csv, validation.csv, test.csv, labels.csv (test-answers.csv where there is one)",
    ),
    layout=(
        "SOURCE/20bn-jester-v1/1/00001.jpg, 00002.jpg, ... (one folder a video; 1.mp4 or 1.webm is read too)\n"
        "SOURCE/labels/train.csv, validation.csv, labels.csv, with lines '1;Swiping Left'\n"
        "(also under their old names, jester-v1-train.csv ...)"
    ),
    about=(
        "12 fps, about 36 frames a video: the paper's length filter leaves none, lower clips.skip_ratio and "
        "clips.min_dense_stride_frames",
        "left and right are different classes: switch flips off",
        "published numbers are of the validation videos",
    ),
)
_HINT = "unpack the labels there, or name their folder as the lists"


def read(source: Path, lists: Path, split: int) -> Catalog:
    """Jester: train, val, and test where its answers are there.

    Raises:
        CatalogError: a list or the videos are missing, or a gesture is not in the list of classes.
    """
    classes_path = find_list(lists, "labels.csv", "jester-v1-labels.csv", hint=_HINT)
    classes = {line for _, line in read_lines(classes_path)}
    entries, notes = [], []
    for part, split_name in (("train", "train"), ("validation", "val")):
        entries += _entries(find_list(lists, f"{part}.csv", f"jester-v1-{part}.csv", hint=_HINT), split_name, classes)
    if find_lists(lists, "test-answers.csv"):
        entries += _entries(find_list(lists, "test-answers.csv", hint=_HINT), "test", classes)
    else:
        unanswered = find_lists(lists, "test.csv", "jester-v1-test.csv")
        left_out = len(read_lines(unanswered[0])) if unanswered else 0
        notes.append(f"{counted(left_out, 'test video')} without answers (test-answers.csv) left out")
    index = VideoIndex(source, frame_folders={entry.key for entry in entries})
    return official_catalog(DESCRIPTION, index, entries, notes=notes)


def _entries(path: Path, split: str, classes: set[str]) -> list[OfficialEntry]:
    entries = []
    for number, line in read_lines(path):
        video_id, _, label = line.partition(";")
        if not video_id.isdigit() or label not in classes:
            raise CatalogError(
                f"{path}, line {number}: {line!r}; expected a number and a gesture of labels.csv: '1;Swiping Left'"
            )
        # Who made a gesture is not published, so that each video is a group of its own.
        entries.append(OfficialEntry(video_id, video_id, label, video_id, split))
    return entries
