from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sparsedense.data.datasets import read_dataset
from sparsedense.data.datasets.hmdb51 import listed_videos
from sparsedense.data.errors import CatalogError
from tests.data.datasets.layouts import published, table_of, touch, write_lines

# Of each class: clip without extension, and its use in split 1.
CLIPS = {
    "sword": {
        "Hero_sword_f_cm_np2_le_med_0": 1,
        "Ran!!_sword_u_nm_np1_fr_goo_1": 2,
        "Ran!!_sword_u_nm_np1_fr_goo_2": 0,
    },
    "draw_sword": {"Hero_draw_sword_f_cm_np10_le_med_0": 2, "Kendo_draw_sword_u_nm_np1_ba_bad_0": 1},
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for label, clips in CLIPS.items():
        touch(tmp_path / "hmdb51_org" / label, *(f"{clip}.avi" for clip in clips))
        for split in (1, 2, 3):
            lines = [f"{clip}.avi {(use + split - 1) % 3} " for clip, use in clips.items()]
            write_lines(tmp_path / "testTrainMulti_7030_splits" / f"{label}_test_split{split}.txt", lines)
    return tmp_path


def test_the_official_split_with_films_as_groups(source: Path) -> None:
    catalog = read_dataset("hmdb51", source)
    assert table_of(catalog) == {
        "hmdb51_org/draw_sword/Hero_draw_sword_f_cm_np10_le_med_0.avi": ("draw_sword", "Hero", "test"),
        "hmdb51_org/draw_sword/Kendo_draw_sword_u_nm_np1_ba_bad_0.avi": ("draw_sword", "Kendo", "train"),
        "hmdb51_org/sword/Hero_sword_f_cm_np2_le_med_0.avi": ("sword", "Hero", "train"),
        "hmdb51_org/sword/Ran!!_sword_u_nm_np1_fr_goo_1.avi": ("sword", "Ran!!", "test"),
    }
    assert catalog.notes == (
        "1 video that the lists mark as unused (0) left out",
        "the lists have 2 of 51 classes",
        "the official lists cut 1 group: 1 val or test video come from recordings that are trained on too, such as "
        "'Hero'",
    )


@pytest.mark.parametrize("split", [2, 3])
def test_the_other_splits_have_lists_of_their_own(source: Path, split: int) -> None:
    found = {Path(entry.path).stem: entry.split for entry in read_dataset("hmdb51", source, split=split)}
    uses = {clip: (use + split - 1) % 3 for clips in CLIPS.values() for clip, use in clips.items()}
    assert found == {clip: {1: "train", 2: "test"}[use] for clip, use in uses.items() if use}


def test_the_whole_data_set_trains_on_what_is_not_test(source: Path) -> None:
    catalog = read_dataset("hmdb51-whole", source)
    assert Counter(entry.split for entry in catalog) == {"train": 3, "test": 2}
    assert not any("unused" in note for note in catalog.notes)


@pytest.mark.parametrize(
    "line",
    ["Hero_sword_f_cm_np2_le_med_0.avi 3", "Hero_sword_f_cm_np2_le_med_0.avi", "Hero_draw_f_cm_np2_le_med_0.avi 1",
     "Hero_sword.avi 1"],
)  # fmt: skip
def test_a_line_that_makes_no_sense_is_named(source: Path, line: str) -> None:
    write_lines(source / "testTrainMulti_7030_splits" / "sword_test_split1.txt", [line])
    with pytest.raises(
        CatalogError, match=r"sword_test_split1.txt, line 1: .*; expected a clip of sword and 0, 1 or 2"
    ):
        read_dataset("hmdb51", source)


def test_without_lists_it_says_which_archive_has_them(tmp_path: Path) -> None:
    touch(tmp_path, "sword/Hero_sword_f_cm_np2_le_med_0.avi")
    with pytest.raises(CatalogError, match=r"has no file \*_test_split1.txt; unpack test_train_splits.rar"):
        read_dataset("hmdb51", tmp_path)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_the_published_lists_have_70_and_30_videos_a_class(split: int) -> None:
    entries = listed_videos(published("hmdb51"), split)
    counts = Counter((entry.label, entry.split) for entry in entries)
    labels = {entry.label for entry in entries}
    assert len(labels) == 51
    assert {counts[label, "train"] for label in labels} == {70}
    assert {counts[label, "test"] for label in labels} == {30}
    assert len({entry.key for entry in entries}) == len(entries) == 6766
    assert len({entry.group for entry in entries}) == 1407
