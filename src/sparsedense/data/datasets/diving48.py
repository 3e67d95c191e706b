"""Diving48 (Li, Li, Vasconcelos, ECCV 2018): 48 dives that a single frame does not tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sparsedense.data.catalog import Catalog
from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.list_files import find_list, find_lists, read_json
from sparsedense.data.datasets.official import OfficialEntry, official_catalog
from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.errors import CatalogError

DESCRIPTION = DatasetDescription(
    title="Diving48",
    videos="16,997 videos in the lists of version 2",
    classes=48,
    size="about 10 GB",
    page="http://www.svcl.ucsd.edu/projects/resound/dataset.html",
    download=(
        "Diving48_rgb.tar.gz; `tar xzf` makes rgb/",
        "Diving48_V2_train.json, Diving48_V2_test.json and Diving48_vocab.json; version 1 has many wrong labels",
    ),
    layout=(
        "SOURCE/rgb/_8Vy3dlHg2w_00000.mp4 ...\n"
        "SOURCE/Diving48_V2_train.json, Diving48_V2_test.json, Diving48_vocab.json"
    ),
    about=(
        "the group is the competition that a dive was cut from; the official split cuts groups",
        "without Diving48_vocab.json the classes are called by their numbers",
    ),
)
_HINT = "download the lists of version 2 into it, or name their folder as the lists"
_CLIP_NUMBER = re.compile(r"_\d+$")


def read(source: Path, lists: Path, split: int) -> Catalog:
    """Diving48 with its official train and test.

    Raises:
        CatalogError: a list or the videos are missing, or a label is not a class.
    """
    names = _class_names(lists)
    entries = []
    for part in ("train", "test"):
        path = find_list(lists, f"Diving48_V2_{part}.json", f"Diving48_{part}.json", hint=_HINT)
        rows = read_json(path)
        if not isinstance(rows, list):
            raise CatalogError(f"{path}: expected a list of objects with vid_name and label")
        entries += [_entry(path, row, part, names) for row in rows]
    return official_catalog(DESCRIPTION, VideoIndex(source), entries)


def _class_names(lists: Path) -> list[str]:
    if not find_lists(lists, "Diving48_vocab.json"):
        return [f"{number:02d}" for number in range(DESCRIPTION.classes)]
    path = find_list(lists, "Diving48_vocab.json", hint=_HINT)
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise CatalogError(f"{path}: expected a list of lists, the four properties of each dive")
    return [f"{number:02d} {' '.join(map(str, row))}" for number, row in enumerate(rows)]


def _entry(path: Path, row: Any, split: str, names: list[str]) -> OfficialEntry:  # noqa: ANN401 - of JSON
    if not isinstance(row, dict) or "vid_name" not in row or not isinstance(row.get("label"), int):
        raise CatalogError(f"{path}: {row!r}; expected an object with vid_name and a whole number as label")
    name, label = str(row["vid_name"]), row["label"]
    if not 0 <= label < len(names):
        raise CatalogError(f"{path}: {name} has label {label}; expected 0 to {len(names) - 1}")
    return OfficialEntry(name, name, names[label], _CLIP_NUMBER.sub("", name), split)
