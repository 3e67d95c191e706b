"""Something-Something V2 (Goyal et al., ICCV 2017): 174 actions with everyday things, by their templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparsedense.data.catalog import Catalog
from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.list_files import find_list, find_lists, read_json, read_lines
from sparsedense.data.datasets.official import OfficialEntry, official_catalog
from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted

DESCRIPTION = DatasetDescription(
    title="Something-Something V2",
    videos="220,847 videos",
    classes=174,
    size="19.4 GB",
    page="https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
    download=(
        "the parts of the videos (after signing in); `cat 20bn-something-something-v2-?? | tar xz`",
        "the labels: train.json, validation.json, test.json, labels.json, test-answers.csv",
    ),
    layout=(
        "SOURCE/20bn-something-something-v2/1.webm ...\n"
        "SOURCE/labels/train.json, validation.json, labels.json, and for the test test-answers.csv\n"
        "(also under their old names, something-something-v2-train.json ...)"
    ),
    about=(
        "12 fps and 2 to 6 seconds, about 45 frames: the paper's length filter leaves none, lower clips.skip_ratio "
        "and clips.min_dense_stride_frames",
        "left and right are different classes: switch flips off",
        "published numbers are of the validation videos",
    ),
)
_HINT = "unpack the labels there, or name their folder as the lists"


def read(source: Path, lists: Path, split: int) -> Catalog:
    """Something-Something V2: train, val, and test where its answers are there.

    Raises:
        CatalogError: a list or the videos are missing, or a template is not in the list of classes.
    """
    classes_path = find_list(lists, "labels.json", "something-something-v2-labels.json", hint=_HINT)
    classes = read_json(classes_path)
    if not isinstance(classes, dict):
        raise CatalogError(f"{classes_path}: expected an object with the templates as keys")
    entries = []
    for part, split_name in (("train", "train"), ("validation", "val")):
        path = find_list(lists, f"{part}.json", f"something-something-v2-{part}.json", hint=_HINT)
        entries += [_entry(path, row, split_name, classes) for row in _rows(path)]
    test, notes = _test_entries(lists, classes)
    index = VideoIndex(source)
    return official_catalog(DESCRIPTION, index, [*entries, *test], notes=notes)


def template_label(template: str) -> str:
    """The class that a template stands for: "Holding [something]" is "Holding something"."""
    return template.replace("[", "").replace("]", "")


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = read_json(path)
    if not isinstance(rows, list):
        raise CatalogError(f"{path}: expected a list of objects with id and template")
    return rows


def _entry(path: Path, row: dict[str, Any], split: str, classes: dict[str, Any]) -> OfficialEntry:
    if not isinstance(row, dict) or "id" not in row or "template" not in row:
        raise CatalogError(f"{path}: {row!r}; expected an object with id and template")
    return _labelled(path, str(row["id"]), template_label(row["template"]), split, classes)


def _labelled(path: Path, video_id: str, label: str, split: str, classes: dict[str, Any]) -> OfficialEntry:
    if label not in classes:
        raise CatalogError(f"{path}: video {video_id} is of {label!r}, which labels.json does not have")
    # Who filmed a clip is not published, so that each is a group of its own.
    return OfficialEntry(f"{video_id}.webm", video_id, label, video_id, split)


def _test_entries(lists: Path, classes: dict[str, Any]) -> tuple[list[OfficialEntry], list[str]]:
    answers = find_lists(lists, "test-answers.csv")
    if answers:
        path = find_list(lists, "test-answers.csv", hint=_HINT)
        pairs = [line.partition(";")[::2] for _, line in read_lines(path)]
        return [_labelled(path, video_id, label.strip(), "test", classes) for video_id, label in pairs], []
    unanswered = find_lists(lists, "test.json", "something-something-v2-test.json")
    if not unanswered:
        return [], ["no list of test videos"]
    return [], [f"{counted(len(_rows(unanswered[0])), 'test video')} without answers (test-answers.csv) left out"]
