from __future__ import annotations

from pathlib import Path

import pytest

from sparsedense.data.datasets import read_dataset
from sparsedense.data.errors import CatalogError
from tests.data.datasets.layouts import table_of, touch, write_lines


def write_labels(folder: Path, prefix: str = "") -> None:
    write_lines(folder / f"{prefix}labels.csv", ["Swiping Left", "Doing other things"])
    write_lines(folder / f"{prefix}train.csv", ["10;Swiping Left", "9;Doing other things"])
    write_lines(folder / f"{prefix}validation.csv", ["8;Swiping Left"])
    write_lines(folder / f"{prefix}test.csv", ["7", "6"])


@pytest.mark.parametrize("prefix", ["", "jester-v1-"])
def test_a_folder_of_frames_is_a_video(tmp_path: Path, prefix: str) -> None:
    write_labels(tmp_path / "labels", prefix)
    touch(tmp_path / "20bn-jester-v1", "10/00001.jpg", "10/00002.jpg", "9/00001.jpg", "7/00001.jpg", "8.webm")
    catalog = read_dataset("jester", tmp_path)
    assert table_of(catalog) == {
        "20bn-jester-v1/10": ("Swiping Left", "10", "train"),
        "20bn-jester-v1/9": ("Doing other things", "9", "train"),
        "20bn-jester-v1/8.webm": ("Swiping Left", "8", "val"),
    }
    assert catalog.notes == ("2 test videos without answers (test-answers.csv) left out",)


def test_answers_make_the_test(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels")
    write_lines(tmp_path / "labels" / "test-answers.csv", ["7;Swiping Left"])
    touch(tmp_path, "7/00001.jpg")
    assert [entry.split for entry in read_dataset("jester", tmp_path)] == ["test"]


@pytest.mark.parametrize("line", ["10;Swiping Lef", "ten;Swiping Left", "10,Swiping Left"])
def test_a_line_that_makes_no_sense_is_named(tmp_path: Path, line: str) -> None:
    write_labels(tmp_path)
    write_lines(tmp_path / "train.csv", ["9;Swiping Left", line])
    with pytest.raises(CatalogError, match=r"train.csv, line 2: .*; expected a number and a gesture of labels.csv"):
        read_dataset("jester", tmp_path)
