from __future__ import annotations

from pathlib import Path

import pytest

from sparsedense.data.datasets import DATASETS, describe_dataset, read_dataset, read_segments
from sparsedense.data.errors import CatalogError
from tests.data.datasets.layouts import touch, write_lines


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_is_described(name: str) -> None:
    about = describe_dataset(name)
    assert about.page.startswith("http")
    assert about.layout.startswith("SOURCE/")
    assert about.download
    assert "videos" in about.videos
    assert "GB" in about.size
    assert about.kind in ("videos", "segments")


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_refuses_an_empty_folder_and_says_what_it_wants(name: str, tmp_path: Path) -> None:
    read = read_segments if describe_dataset(name).kind == "segments" else read_dataset
    with pytest.raises(CatalogError, match=f"{tmp_path} has no .*(unpack|download)"):
        read(name, tmp_path)
    with pytest.raises(CatalogError, match="does not exist"):
        read(name, tmp_path / "missing")
    (tmp_path / "file.mp4").touch()
    with pytest.raises(CatalogError, match="is not a folder"):
        read(name, tmp_path / "file.mp4")


def test_unknown_names_and_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no data set 'UCF-101'; did you mean 'ucf101'\?"):
        read_dataset("UCF-101", tmp_path)
    with pytest.raises(ValueError, match="no data set 'x'; use one of ucf101, hmdb51"):
        read_dataset("x", tmp_path)
    for split in (0, 4):
        with pytest.raises(ValueError, match=rf"split \({split}\) must be from 1 to 3 for UCF101"):
            read_dataset("ucf101", tmp_path, split=split)
    with pytest.raises(ValueError, match=r"split \(2\) must be from 1 to 1 for Jester"):
        read_dataset("jester", tmp_path, split=2)


def test_segments_and_videos_are_not_mixed_up(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"segments of long videos.*read_segments\('thumos14', ...\)"):
        read_dataset("thumos14", tmp_path)
    with pytest.raises(ValueError, match="UCF101 has no segments; use one of activitynet, thumos14, gmdcsa24"):
        read_segments("ucf101", tmp_path)


def test_a_data_set_with_a_validation_gets_no_second_one(tmp_path: Path) -> None:
    rows = ["label,youtube_id,time_start,time_end,split", "a,abcdefghij1,0,10,train", "a,abcdefghij2,0,10,val"]
    write_lines(tmp_path / "train.csv", rows)
    touch(tmp_path, "abcdefghij1.mp4", "abcdefghij2.mp4")
    assert len(read_dataset("kinetics400", tmp_path)) == 2
    with pytest.raises(ValueError, match=r"val_fraction \(0.1\) must be 0: Kinetics-400 has a validation of its own"):
        read_dataset("kinetics400", tmp_path, val_fraction=0.1)
