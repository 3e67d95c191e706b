from __future__ import annotations

from pathlib import Path

import pytest

from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.datasets import read_dataset
from sparsedense.data.datasets.paper import frame_counts, paper_counts_of_lists, paper_counts_of_store
from sparsedense.data.store import FrameStore
from tests.conftest import TEST_PER_CLASS, TRAIN_PER_CLASS, UNLABELLED
from tests.data.datasets.layouts import published, table_of, touch, write_lines

TRAIN = {f"Archery/v_Archery_g0{group}_c01": 100 + group for group in range(2, 8)}
IDS = [f"abcdefghij{number}" for number in range(4)]


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    folder = tmp_path / "lists"
    write_lines(folder / "ucf101" / "classInd.txt", ["1 Archery"])
    write_lines(folder / "ucf101" / "trainlist01.txt", [f"{name}.avi 1" for name in TRAIN])
    write_lines(folder / "ucf101" / "testlist01.txt", ["Archery/v_Archery_g01_c01.avi"])
    write_lines(folder / "train_ytid_list.txt", IDS)
    return folder


def test_one_folder_with_both_data_sets_gives_labelled_and_unlabelled_videos(lists: Path, tmp_path: Path) -> None:
    source = touch(
        tmp_path / "source",
        "UCF-101/Archery/v_Archery_g01_c01.avi",
        "UCF-101/Archery/v_Archery_g02_c01.avi",
        f"k400/train/{IDS[1]}_000010_000020.mp4",
        "k400/train/zbcdefghij9_000000_000010.mp4",
    )
    catalog = read_dataset("paper", source, lists=lists)
    assert table_of(catalog) == {
        "UCF-101/Archery/v_Archery_g02_c01.avi": ("Archery", "Archery_g02", "train"),
        "UCF-101/Archery/v_Archery_g01_c01.avi": ("Archery", "Archery_g01", "test"),
        f"k400/train/{IDS[1]}_000010_000020.mp4": (None, IDS[1], "unlabelled"),
    }
    assert len(catalog.missing) == 5 + 3


def test_the_filter_is_counted_where_lengths_are_known(lists: Path) -> None:
    write_lines(lists / "frames" / "ucf101.txt", [f"{name} {frames} 0" for name, frames in TRAIN.items()])
    write_lines(lists / "frames" / "k100.txt", [f"yoga/{IDS[0]}_000010_000020 300 5", f"yoga/{IDS[2]}_0_1 8 5"])
    write_lines(lists / "frames" / "k100_again.txt", [f"yoga/{IDS[0]}_000010_000020 90 5"])
    labelled, unlabelled, validation = paper_counts_of_lists(lists, min_frames=105)
    assert (labelled.listed, labelled.measured, labelled.kept, labelled.used) == (6, 6, 3, 3)
    assert labelled.why == "3 of 6 have at least 105 frames"
    assert (unlabelled.listed, unlabelled.measured, unlabelled.kept) == (4, 1, 0)  # 90 frames, the smaller number
    assert "lengths of 1 of 4 are known, 0 of them (0.0%) pass" in unlabelled.why
    assert (validation.listed, validation.measured, validation.used) == (1, 0, 1)
    assert validation.why.startswith("UCF101's test list 1 has 3,783 videos, here are 1; the paper validates on videos")


def test_without_lengths_it_says_so(lists: Path) -> None:
    labelled, unlabelled, _ = paper_counts_of_lists(lists, min_frames=105)
    assert labelled.why == "no list below the folder tells the numbers of frames"
    assert "the filter does not explain that" in unlabelled.why


def test_a_store_is_counted_by_its_splits(squares: FrameStore) -> None:
    labelled, unlabelled, validation = paper_counts_of_store(squares, min_frames=20)
    assert (labelled.listed, labelled.kept) == (3 * TRAIN_PER_CLASS, 3 * TRAIN_PER_CLASS)
    assert (unlabelled.listed, unlabelled.kept) == (UNLABELLED + 1, UNLABELLED)  # one is too short
    assert validation.used == 3 * TEST_PER_CLASS + 1
    assert labelled.measured == labelled.listed


def test_the_published_lists_give_table_1() -> None:
    labelled, unlabelled, validation = paper_counts_of_lists(published(), min_frames=ClipConfig().min_frames)
    assert (labelled.used, labelled.listed, labelled.why) == (7_417, 9_537, "")
    assert (validation.used, validation.kept) == (3_783, 2_898)
    assert (unlabelled.listed, unlabelled.measured, unlabelled.kept) == (80_000, 36_430, 35_055)
    assert unlabelled.used != unlabelled.paper
    assert "46% of these; the filter does not explain that" in unlabelled.why


def test_frame_counts_ignores_other_lists(lists: Path) -> None:
    write_lines(lists / "readme.txt", ["hello"])
    (lists / "empty.txt").touch()
    assert frame_counts(lists) == {}
