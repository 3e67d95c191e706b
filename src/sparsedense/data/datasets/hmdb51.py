"""HMDB51 (Kuehne et al., ICCV 2011): 51 actions from films and the web, three official splits of 70/30 a class."""

from __future__ import annotations

import re
from pathlib import Path

from sparsedense.data.catalog import Catalog
from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.list_files import find_lists, read_lines
from sparsedense.data.datasets.official import OfficialEntry, official_catalog
from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted

_LAYOUT = (
    "SOURCE/hmdb51_org/brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi ...\n"
    "SOURCE/testTrainMulti_7030_splits/brush_hair_test_split1.txt ... (three for each of the 51 classes)"
)
_DOWNLOAD = (
    "hmdb51_org.rar; `unrar x`, and again each of the 51 archives in it, makes one folder a class",
    "test_train_splits.rar; `unrar x` makes testTrainMulti_7030_splits/",
)
_ABOUT = (
    "70 training and 30 test videos a class; the lists leave the other 1,666 of the 6,766 unused",
    "the group is the film that a clip was cut from: of 1,407 films the official splits cut 133, 149 and 144, so that "
    "a third of the test videos come from films that are trained on too",
    "no validation: --val-fraction takes some of the training films for it",
    "clips are short, half under 79 frames: the paper's length filter leaves a fifth; lower clips.skip_ratio or "
    "clips.min_dense_stride_frames",
)
DESCRIPTION = DatasetDescription(
    title="HMDB51",
    videos="6,766 videos (5,100 of them in a split)",
    classes=51,
    size="2.1 GB",
    page="https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/",
    download=_DOWNLOAD,
    layout=_LAYOUT,
    splits=3,
    about=_ABOUT,
)
WHOLE_DESCRIPTION = DatasetDescription(
    title="HMDB51, all that is not test in train",
    videos="6,766 videos",
    classes=51,
    size="2.1 GB",
    page=DESCRIPTION.page,
    download=_DOWNLOAD,
    layout=_LAYOUT,
    splits=3,
    about=("as hmdb51, with the unused videos in train: 5,236, what the published VideoSSL lists draw from",),
)

# What the file name says behind the class: visible body parts, camera motion, people, view, quality, number.
_PROPERTIES = r"_[a-z]+_(?:cm|nm)_np\d+_[a-z]+_[a-z]+_\d+"
_SPLITS = {"0": "", "1": "train", "2": "test"}


def read(source: Path, lists: Path, split: int) -> Catalog:
    """HMDB51 with an official split; the videos that the lists leave unused are left out.

    Raises:
        CatalogError: the lists or the videos are not there, or the lists are not as expected.
    """
    return _read(source, lists, split, DESCRIPTION, unused="")


def read_whole(source: Path, lists: Path, split: int) -> Catalog:
    """HMDB51 with the test videos of an official split, and all others in train.

    Raises:
        CatalogError: the lists or the videos are not there, or the lists are not as expected.
    """
    return _read(source, lists, split, WHOLE_DESCRIPTION, unused="train")


def listed_videos(lists: Path, split: int) -> list[OfficialEntry]:
    """The videos of a split, by class; those that the lists leave unused have the split "".

    Raises:
        CatalogError: there are no lists, or a line is not as expected.
    """
    suffix = f"_test_split{split}.txt"
    paths = find_lists(lists, f"*{suffix}")
    if not paths:
        raise CatalogError(
            f"{lists} has no file *{suffix}; unpack test_train_splits.rar there, or name its folder as the lists"
        )
    entries = []
    for path in paths:
        label = path.name.removesuffix(suffix)
        # The list of `sword` names only clips whose name says `_sword_`, though those of `draw_sword` exist too.
        pattern = re.compile(rf"(?P<film>.+)_{re.escape(label)}{_PROPERTIES}")
        for number, line in read_lines(path):
            name, _, use = line.rpartition(" ")
            match = pattern.fullmatch(name.strip().removesuffix(".avi"))
            if use not in _SPLITS or match is None:
                raise CatalogError(
                    f"{path}, line {number}: {line!r}; expected a clip of {label} and 0, 1 or 2: "
                    f"'April_09_{label}_u_nm_np1_ba_goo_0.avi 1'"
                )
            entries.append(OfficialEntry(f"{label}/{name.strip()}", match[0], label, match["film"], _SPLITS[use]))
    return entries


def _read(source: Path, lists: Path, split: int, description: DatasetDescription, unused: str) -> Catalog:
    listed = listed_videos(lists, split)
    index = VideoIndex(source)
    used, idle = [], []
    for entry in listed:
        if entry.split:
            used.append(entry)
        elif unused:
            used.append(OfficialEntry(entry.name, entry.key, entry.label, entry.group, unused))
        else:
            idle.append(entry)
            index.find(entry.key)  # it is in a list, though in no split
    classes = {entry.label for entry in listed}
    notes = []
    if idle:
        notes.append(f"{counted(len(idle), 'video')} that the lists mark as unused (0) left out")
    if len(classes) != description.classes:
        notes.append(f"the lists have {len(classes)} of {description.classes} classes")
    return official_catalog(description, index, used, notes=notes)
