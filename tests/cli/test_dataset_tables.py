from __future__ import annotations

from pathlib import Path

import pytest

from sparsedense.cli import main
from sparsedense.data.datasets import DATASETS
from tests.data.datasets.layouts import published, touch, write_lines

Capture = pytest.CaptureFixture[str]


def shown(capsys: Capture, *arguments: str) -> str:
    assert main(["datasets", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys: Capture, *arguments: str) -> str:
    assert main(["datasets", *arguments]) == 1
    return capsys.readouterr().err


def test_all_data_sets_are_listed_with_size_and_page(capsys: Capture) -> None:
    text = shown(capsys)
    for name, about in DATASETS.items():
        assert f"\n{name} " in f"\n{text}"
        assert f"{about.size}, {about.page}\n" in text


@pytest.mark.parametrize("name", DATASETS)
def test_one_data_set_is_told_in_detail(name: str, capsys: Capture) -> None:
    text = shown(capsys, name)
    about = DATASETS[name]
    for line in (*about.download, *about.layout.splitlines(), *about.about):
        assert line in text
    assert ("--dataset" in text.splitlines()[-1]) == (about.kind == "videos")


def test_a_folder_is_checked_and_the_missing_videos_are_listed(tmp_path: Path, capsys: Capture) -> None:
    write_lines(tmp_path / "lists" / "train_ytid_list.txt", ["abcdefghij1", "abcdefghij2"])
    write_lines(tmp_path / "lists" / "val_ytid_list.txt", ["abcdefghij3"])
    touch(tmp_path / "videos", "abcdefghij1.mp4")
    listed = tmp_path / "missing.txt"
    text = shown(capsys, "mini-kinetics", str(tmp_path / "videos"), "--lists", str(tmp_path / "lists"),
                 "--missing", str(listed))  # fmt: skip
    assert text.startswith("mini-kinetics: 1 videos found (unlabelled 1), 0 classes\n")
    assert "1 listed video missing (unlabelled 1 of 2)" in text
    assert f"1 missing videos listed in {listed}" in text
    assert listed.read_text() == "abcdefghij2\n"
    assert "no annotation" not in refused(capsys, "ucf101", str(tmp_path / "videos"))


def test_segments_are_checked_too(tmp_path: Path, capsys: Capture) -> None:
    write_lines(tmp_path / "Diving_val.txt", ["video_validation_0000266 1.0 2.0", "video_validation_0000267 1.0 2.0"])
    touch(tmp_path, "video_validation_0000266.mp4")
    text = shown(capsys, "thumos14", str(tmp_path))
    assert text.startswith("thumos14: 1 videos found (train 1), 1 classes\n  1 listed video of 2 missing")


def test_wrong_names_and_folders_are_refused(tmp_path: Path, capsys: Capture) -> None:
    assert refused(capsys, "ucf") == "error: there is no data set 'ucf'; did you mean 'ucf101'?\n"
    assert "has no file classInd.txt, only nothing" in refused(capsys, "ucf101", str(tmp_path))


def test_the_papers_table_is_counted(squares_path: Path, capsys: Capture) -> None:
    text = shown(capsys, "paper", "--store", str(squares_path))
    assert "the length filter asks for 109 frames" in text
    assert "labelled training: differs from the paper; 0 of 12 have at least 109 frames" in text


def test_the_papers_table_comes_out_of_the_published_lists(capsys: Capture) -> None:
    text = shown(capsys, "paper", "--lists", str(published()))
    assert "labelled training: as the paper\n" in text
    assert "unlabelled training: differs from the paper; lengths of 36,430 of 80,000" in text
    assert "validation: as the paper" in text
