from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsedense.data.datasets import read_dataset
from sparsedense.data.errors import CatalogError
from tests.data.datasets.layouts import table_of, touch

VOCABULARY = [["Back", "15som", "05Twis", "FREE"], ["Forward", "25som", "NoTwis", "PIKE"]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    touch(tmp_path / "rgb", "_8Vy3dlHg2w_00000.mp4", "_8Vy3dlHg2w_00001.mp4", "0x_bcdefghi_00007.mp4")
    train = [{"vid_name": "_8Vy3dlHg2w_00000", "label": 1, "start_frame": 0, "end_frame": 164},
             {"vid_name": "0x_bcdefghi_00007", "label": 0, "start_frame": 0, "end_frame": 64}]  # fmt: skip
    (tmp_path / "Diving48_V2_train.json").write_text(json.dumps(train))
    (tmp_path / "Diving48_V2_test.json").write_text(json.dumps([{"vid_name": "_8Vy3dlHg2w_00001", "label": 1}]))
    (tmp_path / "Diving48_vocab.json").write_text(json.dumps(VOCABULARY))
    return tmp_path


def test_numbers_become_names_and_the_competition_is_the_group(source: Path) -> None:
    catalog = read_dataset("diving48", source)
    assert table_of(catalog) == {
        "rgb/_8Vy3dlHg2w_00000.mp4": ("01 Forward 25som NoTwis PIKE", "_8Vy3dlHg2w", "train"),
        "rgb/0x_bcdefghi_00007.mp4": ("00 Back 15som 05Twis FREE", "0x_bcdefghi", "train"),
        "rgb/_8Vy3dlHg2w_00001.mp4": ("01 Forward 25som NoTwis PIKE", "_8Vy3dlHg2w", "test"),
    }
    assert catalog.notes[0].startswith("the official lists cut 1 group: 1 val or test video")


def test_without_the_vocabulary_the_classes_are_numbers(source: Path) -> None:
    (source / "Diving48_vocab.json").unlink()
    assert [entry.label for entry in read_dataset("diving48", source)] == ["01", "00", "01"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("Diving48_V2_train.json", [{"vid_name": "a", "label": "1"}], "expected an object with vid_name and a whole"),
        ("Diving48_V2_train.json", [{"vid_name": "a", "label": 2}], "a has label 2; expected 0 to 1"),
        ("Diving48_V2_train.json", {"a": 1}, "expected a list of objects"),
        ("Diving48_vocab.json", {"a": 1}, "expected a list of lists"),
    ],
)
def test_lists_that_make_no_sense_are_named(source: Path, file: str, content: object, message: str) -> None:
    (source / file).write_text(json.dumps(content))
    with pytest.raises(CatalogError, match=message) as caught:
        read_dataset("diving48", source)
    assert file in str(caught.value)
