"""Mini-Kinetics-200 (Xie et al., ECCV 2018): 200 classes of Kinetics-400, by their ids."""

from __future__ import annotations

from pathlib import Path

from sparsedense.data.catalog import Catalog
from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.kinetics import REPLACEMENTS, read_annotations, youtube_id
from sparsedense.data.datasets.list_files import find_list, find_lists, read_lines
from sparsedense.data.datasets.official import OfficialEntry, official_catalog
from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted

TRAIN_LIST, VAL_LIST = "train_ytid_list.txt", "val_ytid_list.txt"
_HINT = "download the two lists of ids and name their folder as the lists"
_ID_LENGTH = 11
DESCRIPTION = DatasetDescription(
    title="Mini-Kinetics-200",
    videos="80,000 training and 5,000 validation videos",
    classes=200,
    size="about 120 GB of Kinetics-400",
    page="https://github.com/s9xie/Mini-Kinetics-200",
    download=(
        f"{TRAIN_LIST} and {VAL_LIST} from the page",
        "the videos of Kinetics-400 (`sparsedense datasets kinetics400`); others of them are left out",
        "its annotations train.csv and val.csv, if labels are wanted",
    ),
    layout=(
        "SOURCE/train/ID_000010_000020.mp4 ...  (any folders, as for kinetics400)\n"
        f"SOURCE/{TRAIN_LIST}, {VAL_LIST}, one id a line\n"
        "SOURCE/annotations/train.csv, val.csv  (without them all videos are unlabelled, and val is left out)"
    ),
    about=("videos vanish from the web, so every copy lacks some; the missing ones are counted and listed",),
)


def read(source: Path, lists: Path, split: int) -> Catalog:
    """Mini-Kinetics-200: labelled where annotations of Kinetics lie beside the lists, else unlabelled.

    Raises:
        CatalogError: a list is missing, a line is no id, or no video is there.
    """
    training = read_ids(lists, TRAIN_LIST)
    validation = read_ids(lists, VAL_LIST)
    labels = _labels(lists)
    entries, notes = [], []
    if labels:
        ids = [(name, "train") for name in training] + [(name, "val") for name in validation]
        entries = [OfficialEntry(name, name, labels[name], name, part) for name, part in ids if name in labels]
        if len(entries) < len(ids):
            notes.append(f"{counted(len(ids) - len(entries), 'listed id')} without a line in the annotations left out")
    else:
        entries = unlabelled_entries(lists)
        notes.append(
            f"no annotations of Kinetics below {lists}: all training videos unlabelled, "
            f"{counted(len(validation), 'validation video')} left out"
        )
    index = VideoIndex(source, key=youtube_id)
    for name in validation:
        if name in index:
            index.find(name, prefer=REPLACEMENTS)
    return official_catalog(DESCRIPTION, index, entries, notes=notes, prefer=REPLACEMENTS)


def unlabelled_entries(lists: Path) -> list[OfficialEntry]:
    """The training videos, without labels.

    Raises:
        CatalogError: the list is missing, or a line is no id.
    """
    return [OfficialEntry(name, name, None, name, "unlabelled") for name in read_ids(lists, TRAIN_LIST)]


def read_ids(lists: Path, name: str) -> list[str]:
    """The ids of a list.

    Raises:
        CatalogError: the list is missing, or a line is no id.
    """
    path = find_list(lists, name, hint=_HINT)
    ids = []
    for number, line in read_lines(path):
        if len(line) != _ID_LENGTH:
            raise CatalogError(f"{path}, line {number}: {line!r}; expected the 11 characters of a video's id")
        ids.append(line)
    return ids


def _labels(lists: Path) -> dict[str, str]:
    """Class of each web video, from the annotations of Kinetics below the lists; empty where there are none."""
    if not find_lists(lists, "*.csv"):
        return {}
    return {clip.youtube_id: clip.label for clip in read_annotations(lists) if clip.label is not None}
