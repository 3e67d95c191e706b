"""UCF101 (Soomro, Zamir, Shah, 2012): 101 actions, 25 groups of videos a class, three official splits."""

from __future__ import annotations

import re
from pathlib import Path

from sparsedense.data.catalog import Catalog
from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.list_files import find_list, read_lines
from sparsedense.data.datasets.official import OfficialEntry, official_catalog
from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.errors import CatalogError

DESCRIPTION = DatasetDescription(
    title="UCF101",
    videos="13,320 videos",
    classes=101,
    size="6.5 GB",
    page="https://www.crcv.ucf.edu/data/UCF101.php",
    download=(
        "UCF101.rar; `unrar x UCF101.rar` makes UCF-101/",
        "UCF101TrainTestSplits-RecognitionTask.zip; `unzip` makes ucfTrainTestlist/",
    ),
    layout=(
        "SOURCE/UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi ...\n"
        "SOURCE/ucfTrainTestlist/classInd.txt, trainlist01.txt, testlist01.txt, ... 03.txt"
    ),
    splits=3,
    about=(
        "25 groups a class (g01 to g25); the official splits never cut one",
        "no validation: --val-fraction takes some of the training groups for it",
        "XviD in AVI with B-frames, 320x240, 25 fps, 29 to 1,776 frames a video",
    ),
)

_HINT = "unpack UCF101TrainTestSplits-RecognitionTask.zip there, or name its folder as the lists"
# The class is HandstandPushups, and its files are v_HandStandPushups_g01_c01.avi: the case of letters must not matter.
_NAME = re.compile(r"v_(?P<action>\w+)_(?P<group>g\d+)_c\d+", re.IGNORECASE)


def read(source: Path, lists: Path, split: int) -> Catalog:
    """UCF101 with an official split.

    Raises:
        CatalogError: the lists or the videos are not there, or the lists are not the official ones.
    """
    return official_catalog(
        DESCRIPTION, VideoIndex(source, key=str.lower), listed_videos(lists, split), groups_are_whole=True
    )


def listed_videos(lists: Path, split: int) -> list[OfficialEntry]:
    """The videos of a split, training first.

    Raises:
        CatalogError: a list is missing, or a line is not as expected.
    """
    class_ids = _class_ids(find_list(lists, "classInd.txt", hint=_HINT))
    entries = []
    for part in ("train", "test"):
        path = find_list(lists, f"{part}list{split:02d}.txt", hint=_HINT)
        for number, line in read_lines(path):
            entries.append(_entry(f"{path}, line {number}", line, part, class_ids))
    return entries


def _class_ids(path: Path) -> dict[str, int]:
    class_ids = {}
    for number, line in read_lines(path):
        class_id, _, name = line.partition(" ")
        if not class_id.isdigit() or not name:
            raise CatalogError(f"{path}, line {number}: {line!r}; expected a number and a class: '1 ApplyEyeMakeup'")
        class_ids[name] = int(class_id)
    return class_ids


def _entry(where: str, line: str, split: str, class_ids: dict[str, int]) -> OfficialEntry:
    name, _, class_id = line.partition(" ")
    label, _, file = name.partition("/")
    match = _NAME.fullmatch(file.removesuffix(".avi"))
    if match is None or match["action"].lower() != label.lower():
        raise CatalogError(f"{where}: {line!r}; expected 'ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi'")
    if label not in class_ids:
        raise CatalogError(f"{where}: class {label!r} is not in classInd.txt, which has {len(class_ids)} classes")
    if class_id and class_id != str(class_ids[label]):
        raise CatalogError(f"{where}: {label!r} is class {class_ids[label]} in classInd.txt, and {class_id} here")
    return OfficialEntry(name, file.removesuffix(".avi").lower(), label, f"{label}_{match['group']}", split)
