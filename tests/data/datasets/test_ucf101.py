from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sparsedense.data.datasets import read_dataset
from sparsedense.data.datasets.ucf101 import listed_videos
from sparsedense.data.errors import CatalogError
from tests.data.datasets.layouts import published, table_of, touch, write_lines

# Class folder, and what the files are called after.
CLASSES = {"Archery": "Archery", "HandstandPushups": "HandStandPushups"}


def names(*groups: int) -> list[str]:
    return [
        f"{label}/v_{action}_g{group:02d}_c{clip:02d}.avi"
        for label, action in CLASSES.items()
        for group in groups
        for clip in (1, 2)
    ]


def write_lists(folder: Path) -> None:
    """Three splits: each tests on another one of three groups. Line ends are those of Windows, as in the original."""
    ids = {label: number for number, label in enumerate(CLASSES, start=1)}
    write_lines(folder / "classInd.txt", [f"{number} {label}" for label, number in ids.items()], end="\r\n")
    for split in (1, 2, 3):
        train = names(*({1, 2, 3} - {split}))
        with_ids = [f"{name} {ids[name.split('/')[0]]}" for name in train]
        write_lines(folder / f"trainlist{split:02d}.txt", with_ids, end="\r\n")
        write_lines(folder / f"testlist{split:02d}.txt", names(split), end="\r\n")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    touch(tmp_path / "UCF-101", *names(1, 2, 3))
    write_lists(tmp_path / "ucfTrainTestlist")
    return tmp_path


@pytest.mark.parametrize("split", [1, 2, 3])
def test_the_official_split_with_labels_and_groups(source: Path, split: int) -> None:
    catalog = read_dataset("ucf101", source, split=split)
    expected = {
        f"UCF-101/{label}/v_{action}_g{group:02d}_c{clip:02d}.avi": (
            label, f"{label}_g{group:02d}", "test" if group == split else "train"
        )
        for label, action in CLASSES.items() for group in (1, 2, 3) for clip in (1, 2)
    }  # fmt: skip
    assert table_of(catalog) == expected
    assert all(Path(entry.path).is_file() for entry in catalog)
    assert (catalog.notes, catalog.missing) == ((), ())


def test_lists_elsewhere_other_folders_other_case_and_other_containers(source: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (source / "UCF-101").rglob("*.avi"):
        path.rename(flat / path.name.replace("HandStand", "Handstand").replace(".avi", ".mp4"))
    catalog = read_dataset("ucf101", flat, lists=source / "ucfTrainTestlist")
    assert Counter(entry.split for entry in catalog) == {"train": 8, "test": 4}
    assert {entry.label for entry in catalog} == set(CLASSES)


def test_missing_and_unlisted_videos_are_counted_and_named(source: Path) -> None:
    (source / "UCF-101" / "Archery" / "v_Archery_g01_c02.avi").unlink()
    touch(source, "extra/v_Surfing_g01_c01.avi", "UCF-101/.hidden.avi")
    catalog = read_dataset("ucf101", source)
    assert catalog.missing == ("Archery/v_Archery_g01_c02.avi",)
    assert len(catalog) == 11
    assert catalog.notes[0].startswith("1 listed video missing (test 1 of 4): 'Archery/v_Archery_g01_c02.avi'; compare")
    assert catalog.notes[1] == "1 video in no list left out: 'extra/v_Surfing_g01_c01.avi'"


def test_a_validation_is_drawn_by_group_from_training(source: Path) -> None:
    catalog = read_dataset("ucf101", source, val_fraction=0.5, seed=1)
    split_of = {entry.group: entry.split for entry in catalog}
    assert all(entry.split == split_of[entry.group] for entry in catalog)
    assert Counter(split_of.values()) == {"train": 2, "val": 2, "test": 2}
    assert {group for group, split in split_of.items() if split == "test"} == {"Archery_g01", "HandstandPushups_g01"}
    assert catalog.notes == ("4 training videos of 8 taken for validation, by group",)


def test_a_video_in_two_places_is_refused(source: Path) -> None:
    touch(source, "copy/v_Archery_g01_c01.mp4")
    with pytest.raises(
        CatalogError, match=r"'v_archery_g01_c01' 2 times: 'UCF-101/.*avi', 'copy/.*mp4'; give a folder"
    ):
        read_dataset("ucf101", source)


@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        ("classInd.txt", ["Archery 1"], r"classInd.txt, line 1: 'Archery 1'; expected a number and a class"),
        ("trainlist01.txt", ["Archery/Archery_1.avi 1"], r"trainlist01.txt, line 1: .*; expected 'ApplyEyeMakeup/v_"),
        ("trainlist01.txt", ["Archery/v_Surfing_g02_c01.avi 1"], "expected 'ApplyEyeMakeup"),
        ("trainlist01.txt", ["Surfing/v_Surfing_g02_c01.avi 1"], "class 'Surfing' is not in classInd.txt, which has 2"),
        ("trainlist01.txt", ["Archery/v_Archery_g02_c01.avi 2"], "'Archery' is class 1 in classInd.txt, and 2 here"),
        ("trainlist01.txt", ["Archery/v_Archery_g01_c01.avi 1"], "contradict themselves: .* in train and .* in test"),
    ],
)
def test_lists_that_are_not_the_official_ones_are_refused(
    source: Path, file: str, lines: list[str], message: str
) -> None:
    write_lines(source / "ucfTrainTestlist" / file, lines)
    with pytest.raises(CatalogError, match=message):
        read_dataset("ucf101", source)


def test_a_cut_group_means_wrong_lists(source: Path) -> None:
    path = source / "ucfTrainTestlist" / "trainlist01.txt"
    path.write_text(path.read_text() + "Archery/v_Archery_g01_c07.avi 1\n")
    touch(source / "UCF-101", "Archery/v_Archery_g01_c07.avi")
    with pytest.raises(CatalogError, match=r"more than one of train, val and test, .*: 'Archery_g01'; download"):
        read_dataset("ucf101", source)


def test_a_folder_of_something_else_tells_what_was_expected_and_found(source: Path, tmp_path: Path) -> None:
    touch(tmp_path / "other", "clip 1.mp4", "clip 2.mp4")
    with pytest.raises(CatalogError) as caught:
        read_dataset("ucf101", tmp_path / "other", lists=source / "ucfTrainTestlist")
    assert "none of the 12 videos in the lists of UCF101 is below" in str(caught.value)
    assert "expected such as 'Archery/v_Archery_g02_c01.avi', found 'clip 1.mp4', 'clip 2.mp4'" in str(caught.value)
    assert "SOURCE/UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi" in str(caught.value)
    with pytest.raises(CatalogError, match=r"has no file classInd.txt, only 'clip 1.mp4', .*; unpack UCF101TrainTest"):
        read_dataset("ucf101", tmp_path / "other")
    with pytest.raises(CatalogError, match="missing does not exist"):
        read_dataset("ucf101", tmp_path / "missing")


@pytest.mark.parametrize(("split", "train", "test"), [(1, 9537, 3783), (2, 9586, 3734), (3, 9624, 3696)])
def test_the_published_lists_have_the_official_counts(split: int, train: int, test: int) -> None:
    entries = listed_videos(published("ucf101"), split)
    assert Counter(entry.split for entry in entries) == {"train": train, "test": test}
    assert len({entry.label for entry in entries}) == 101
    groups = {part: {entry.group for entry in entries if entry.split == part} for part in ("train", "test")}
    assert (len(groups["train"]), len(groups["test"])) == (1818, 707)
    assert not groups["train"] & groups["test"]
    assert len({entry.key for entry in entries}) == 13_320
