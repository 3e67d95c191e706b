from __future__ import annotations

from pathlib import Path

import pytest

from sparsedense.data.datasets import read_dataset
from sparsedense.data.datasets.kinetics import youtube_id
from sparsedense.data.errors import CatalogError
from tests.data.datasets.layouts import table_of, touch, write_lines

HEADER = "label,youtube_id,time_start,time_end,split"
TRAIN = [
    "abseiling,-abcdefghi1,10,20,train",
    '"passing American football, in game",_bcdefghij2,0,10,train',
    "abseiling,Abcdefghi-3,1234,1244,train",
    "yoga,-abcdefghi1,50,60,train",
]
VAL = ["yoga,dbcdefghi_4,7.0,17.0,validate"]
TEST = ["yoga,ebcdefghij5,7,17,test", ",fbcdefghij6,7,17,test"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, lines in (("train", TRAIN), ("validate", VAL), ("test", TEST)):
        write_lines(tmp_path / "annotations" / f"{name}.csv", [HEADER, *lines])
    return tmp_path


def test_flat_and_class_folders_names_with_times_and_without(source: Path) -> None:
    touch(source, "train/-abcdefghi1_000010_000020.mp4", "train/-abcdefghi1_000050_000060.mp4",
          "train/passing American football/_bcdefghij2.mkv", "val/yoga/dbcdefghi_4_000007_000017.mp4",
          "test/ebcdefghij5_000007_000017.webm")  # fmt: skip
    catalog = read_dataset("kinetics400", source)
    assert table_of(catalog) == {
        "train/-abcdefghi1_000010_000020.mp4": ("abseiling", "-abcdefghi1", "train"),
        "train/-abcdefghi1_000050_000060.mp4": ("yoga", "-abcdefghi1", "train"),
        "train/passing American football/_bcdefghij2.mkv": (
            "passing American football, in game", "_bcdefghij2", "train"
        ),
        "val/yoga/dbcdefghi_4_000007_000017.mp4": ("yoga", "dbcdefghi_4", "val"),
        "test/ebcdefghij5_000007_000017.webm": ("yoga", "ebcdefghij5", "test"),
    }  # fmt: skip
    assert catalog.missing == ("Abcdefghi-3_001234_001244",)
    assert catalog.notes[:2] == ("the annotations have 3 of 400 classes", "1 listed video without a label left out")
    assert "1 listed video missing (train 1 of 4): 'Abcdefghi-3_001234_001244'" in catalog.notes[2]


def test_ids_are_told_apart_by_their_case(source: Path) -> None:
    touch(source, "train/abcdefghi-3_001234_001244.mp4", "val/dbcdefghi_4_000007_000017.mp4")
    assert [entry.label for entry in read_dataset("kinetics400", source)] == ["yoga"]


def test_a_replacement_comes_before_the_corrupted_file(source: Path) -> None:
    name = "-abcdefghi1_000010_000020.mp4"
    touch(source, f"train/{name}", f"replacement/replacement_for_corrupted_k400/{name}")
    assert "replacement_for_corrupted_k400" in Path(read_dataset("kinetics400", source)[0].path).parts
    touch(source, f"val/{name}")
    assert "replacement_for_corrupted_k400" in Path(read_dataset("kinetics400", source)[0].path).parts


def test_repeated_rows_of_several_releases_are_one_and_contradictions_are_refused(source: Path) -> None:
    touch(source, "-abcdefghi1_000010_000020.mp4")
    write_lines(source / "annotations" / "train_delta.csv", [HEADER, TRAIN[0]])
    assert len(read_dataset("kinetics600", source)) == 1
    write_lines(source / "annotations" / "train_delta.csv", [HEADER, TRAIN[0].replace("abseiling", "yoga")])
    with pytest.raises(CatalogError, match="'-abcdefghi1_000010_000020' is 'abseiling' in train and 'yoga' in train"):
        read_dataset("kinetics600", source)


def test_other_lists_are_not_taken_for_annotations(source: Path) -> None:
    touch(source, "-abcdefghi1_000010_000020.mp4")
    write_lines(source / "path_to_archives.txt", ["https://host/part_0.tar.gz"])
    write_lines(source / "other.csv", ["path,label", "1.mp4,a"])
    assert len(read_dataset("kinetics700", source)) == 1


def test_annotations_of_a_larger_kinetics_are_refused(source: Path) -> None:
    rows = [f"class {number},{number:011d},0,10,train" for number in range(401)]
    write_lines(source / "annotations" / "train.csv", [HEADER, *rows])
    touch(source, "00000000000_000000_000010.mp4")
    with pytest.raises(CatalogError, match="have 402 classes, Kinetics-400 has 400; keep one"):
        read_dataset("kinetics400", source)
    assert len(read_dataset("kinetics600", source)) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("yoga,ebcdefghij5,x,17,test", "'x' to '17'; expected start and end in seconds"),
        ("yoga,ebcdefghij5,7,17", "split ''; expected train, val"),
        ("yoga,ebcdefghij5,7,17,holdout", "split 'holdout'; expected train, val"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(source: Path, row: str, message: str) -> None:
    write_lines(source / "annotations" / "test.csv", [HEADER, row])
    with pytest.raises(CatalogError, match=rf"test.csv, line 2: {message}"):
        read_dataset("kinetics400", source)


def test_without_annotations_it_says_what_to_download(tmp_path: Path) -> None:
    touch(tmp_path, "train/yoga/ebcdefghij5_000007_000017.mp4")
    with pytest.raises(CatalogError, match=r"no annotation file with the columns youtube_id, .* leave out --dataset"):
        read_dataset("kinetics400", tmp_path)


def test_the_id_in_a_name() -> None:
    assert youtube_id("_-bcdefgh_0_000010_000020") == "_-bcdefgh_0"
    assert youtube_id("_-bcdefgh_0") == "_-bcdefgh_0"
    assert youtube_id("something_10_20") == "something_10_20"
