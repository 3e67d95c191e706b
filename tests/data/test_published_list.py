from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sparsedense.data.published_list import ListedClip, published_subset, read_published_list
from sparsedense.data.store import FrameStore
from tests.conftest import MOTIONS
from tests.data.datasets.layouts import published, write_lines

NAMES = [f"{name}/{name}_train{number}" for name in MOTIONS for number in (0, 2)]


def rows_of(store: FrameStore, names: list[str]) -> list[int]:
    return [store.paths.index(f"train/{name}.mp4") for name in names]


def with_classes(names: list[str], frames: str = "") -> list[str]:
    """A list that counts its classes from the last."""
    ids = {name: len(MOTIONS) - number for number, name in enumerate(MOTIONS)}
    return [f"{name} {frames}{ids[name.split('/')[0]]}" for name in names]


@pytest.mark.parametrize("form", ["name", "name.mp4", "name class", "name frames class"])
def test_the_videos_of_a_list_in_its_order(squares: FrameStore, tmp_path: Path, form: str) -> None:
    names = NAMES[::-1]
    lines = {
        "name": names,
        "name.mp4": [f"{name}.mp4" for name in names],
        "name class": with_classes(names),
        "name frames class": with_classes(names, "45 "),
    }[form]
    subset = published_subset(squares, write_lines(tmp_path / "list.txt", lines, end="\r\n"))
    assert subset.video_ids.tolist() == rows_of(squares, names)
    assert subset.video_ids.dtype == np.int64
    assert (subset.missing, subset.rejected, subset.too_short) == ((), (), ())


def test_short_videos_are_left_out_and_named(squares: FrameStore, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "list.txt", NAMES)
    lengths = {name: int(squares.num_frames[row]) for name, row in zip(NAMES, rows_of(squares, NAMES), strict=True)}
    min_frames = sorted(lengths.values())[2]
    subset = published_subset(squares, path, min_frames=min_frames)
    assert set(subset.too_short) == {name for name, frames in lengths.items() if frames < min_frames}
    assert len(subset.video_ids) + len(subset.too_short) == len(NAMES)
    with pytest.raises(
        ValueError, match="no video is left of 6: 0 missing, 0 rejected by prepare, 6 with fewer than 999"
    ):
        published_subset(squares, path, min_frames=999)


def test_missing_videos_are_an_error_or_named(squares: FrameStore, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "list.txt", [NAMES[0], "down/elsewhere"])
    with pytest.raises(ValueError, match=r"1 of 2 videos are not in .*: 'down/elsewhere'; the store has such as"):
        published_subset(squares, path)
    subset = published_subset(squares, path, allow_missing=True)
    assert (subset.video_ids.tolist(), subset.missing) == (rows_of(squares, NAMES[:1]), ("down/elsewhere",))
    with pytest.raises(ValueError, match="1 of 1 videos are not in"):
        published_subset(squares, write_lines(path, ["a/b"]), allow_missing=True)


def test_test_videos_and_unlabelled_ones_are_refused(squares: FrameStore, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "list.txt", ["down/down_test0", NAMES[0]])
    with pytest.raises(ValueError, match=r"1 of 2 videos are val or test videos of .*: 'down/down_test0'"):
        published_subset(squares, path)
    write_lines(path, ["unknown_0", NAMES[0]])
    with pytest.raises(ValueError, match=r"1 of 2 videos have no label in .*: 'unknown_0'"):
        published_subset(squares, path)


@pytest.mark.parametrize("ids", [(1, 1, 2), (1, 2, 1), (1, 2, 2)])
def test_one_number_is_one_class(squares: FrameStore, tmp_path: Path, ids: tuple[int, int, int]) -> None:
    names = ["down/down_train0", "down/down_train1", "right/right_train0"]
    lines = [f"{name} {class_id}" for name, class_id in zip(names, ids, strict=True)]
    path = write_lines(tmp_path / "list.txt", lines)
    if ids == (1, 1, 2):
        assert len(published_subset(squares, path).video_ids) == 3
        return
    with pytest.raises(ValueError, match=r"labels of the list are not those of .*: [12] of 3 videos differ, such as '"):
        published_subset(squares, path)


def test_a_few_wrong_classes_are_named_and_the_labels_of_the_store_hold(
    squares: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = with_classes([f"{name}/{name}_train{number}" for name in MOTIONS for number in range(4)])
    lines[0] = lines[0][:-1] + lines[-1][-1]
    path = write_lines(tmp_path / "list.txt", lines)
    monkeypatch.setattr("sparsedense.data.published_list.MOST_MISLABELLED", 1 / 12)
    subset = published_subset(squares, path)
    assert subset.mislabelled == (lines[0][:-2],)
    assert len(subset.video_ids) == 12
    monkeypatch.setattr("sparsedense.data.published_list.MOST_MISLABELLED", 0.08)
    with pytest.raises(ValueError, match="1 of 12 videos differ"):
        published_subset(squares, path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "is empty; expected a video a line"),
        (["a/b 1", "a/c"], "line 2: not of the form of line 1"),
        (["a/b 5 1", "a/c 1"], "line 2: not of the form of line 1"),
        (["a/b 1", "a/b 1"], "line 2: a/b is also in line 1"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_published_list(write_lines(tmp_path / "list.txt", lines))


def test_names_with_spaces_dots_and_numbers(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "list.txt", ["a/St. John 2 10 3", "a/x.v2.AVI 7 3"])
    first, second = read_published_list(path)
    assert first == ListedClip(1, "a/St. John 2", 10, 3)
    assert (first.stem, second.stem) == ("St. John 2", "x.v2")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_published_list(path)


@pytest.mark.parametrize(
    ("percent", "count", "classes"), [(5, 476, 100), (10, 953, 101), (20, 1907, 101), (50, 4768, 101)]
)
def test_the_published_lists_of_ucf101_are_training_videos(percent: int, count: int, classes: int) -> None:
    folder = published("low_label", "data", "ucf101")
    subset = read_published_list(
        folder / "videossl_splits" / f"ucf101_train_{percent}_percent_labeled_split_1_rawframes.txt"
    )
    whole = {clip.name: clip for clip in read_published_list(folder / "ucf101_train_split_1_rawframes.txt")}
    assert len(subset) == count
    assert len(Counter(clip.class_id for clip in subset)) == classes  # drawn at random, not class by class
    assert all(whole[clip.name].num_frames == clip.num_frames for clip in subset)
