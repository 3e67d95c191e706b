from __future__ import annotations

from pathlib import Path

import pytest

from sparsedense.data.datasets import read_dataset
from sparsedense.data.datasets.mini_kinetics import TRAIN_LIST, VAL_LIST, read_ids
from sparsedense.data.errors import CatalogError
from tests.data.datasets.layouts import published, table_of, touch, write_lines


@pytest.fixture
def source(tmp_path: Path) -> Path:
    touch(tmp_path, "train/abcdefghij1_000010_000020.mp4", "train/yoga/abcdefghij2.mp4",
          "val/abcdefghij4_000000_000010.mp4", "train/other_6789a_000000_000010.mp4")  # fmt: skip
    write_lines(tmp_path / TRAIN_LIST, ["abcdefghij1", "abcdefghij2", "abcdefghij3"])
    write_lines(tmp_path / VAL_LIST, ["abcdefghij4"])
    return tmp_path


def test_without_annotations_the_training_videos_are_unlabelled(source: Path) -> None:
    catalog = read_dataset("mini-kinetics", source)
    assert table_of(catalog) == {
        "train/abcdefghij1_000010_000020.mp4": (None, "abcdefghij1", "unlabelled"),
        "train/yoga/abcdefghij2.mp4": (None, "abcdefghij2", "unlabelled"),
    }
    assert catalog.missing == ("abcdefghij3",)
    assert "all training videos unlabelled, 1 validation video left out" in catalog.notes[0]
    assert catalog.notes[2] == "1 video in no list left out: 'train/other_6789a_000000_000010.mp4'"


def test_annotations_of_kinetics_give_the_labels(source: Path) -> None:
    rows = ["yoga,abcdefghij1,10,20,train", "yoga,abcdefghij3,10,20,train", "crying,abcdefghij4,0,10,val"]
    header = "label,youtube_id,time_start,time_end,split"
    write_lines(source / "annotations" / "train.csv", [header, *rows])
    catalog = read_dataset("mini-kinetics", source)
    assert [(entry.label, entry.split) for entry in catalog] == [("yoga", "train"), ("crying", "val")]
    assert catalog.notes[0] == "1 listed id without a line in the annotations left out"
    assert catalog.missing == ("abcdefghij3",)


def test_a_line_that_is_no_id_and_a_missing_list_are_named(source: Path) -> None:
    write_lines(source / TRAIN_LIST, ["abcdefghij1", "too short"])
    with pytest.raises(CatalogError, match=r"train_ytid_list.txt, line 2: 'too short'; expected the 11 characters"):
        read_dataset("mini-kinetics", source)
    (source / TRAIN_LIST).unlink()
    with pytest.raises(CatalogError, match=r"has no file train_ytid_list.txt, only .*; download the two lists"):
        read_dataset("mini-kinetics", source)


def test_the_published_lists_have_the_official_counts() -> None:
    lists = published("mini_kinetics_200")
    train, val = set(read_ids(lists, TRAIN_LIST)), set(read_ids(lists, VAL_LIST))
    assert (len(train), len(val), len(train & val)) == (80_000, 5_000, 0)
