from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsedense.data.datasets import read_segments
from sparsedense.data.errors import CatalogError
from tests.data.datasets.layouts import touch


def test_files_are_found_with_and_without_prefix(tmp_path: Path) -> None:
    ids = ["abcdefghij1", "v_cdefghij2", "v_cdefghij3", "abcdefghij4"]
    rows = {
        name: {"subset": subset, "duration": 20.0, "annotations": [{"label": "Surfing", "segment": [1.0, 2.0]}]}
        for name, subset in zip(ids, ["training", "training", "validation", "testing"], strict=True)
    }
    (tmp_path / "activity_net.v1-3.min.json").write_text(json.dumps({"database": rows}))
    touch(tmp_path, "train_val/v_abcdefghij1.mp4", "train_val/v_v_cdefghij2.mkv", "test/v_cdefghij3.webm")
    found = read_segments("activitynet", tmp_path)
    assert {video.video_id: video.path and video.path.name for video in found.videos} == {
        "abcdefghij1": "v_abcdefghij1.mp4",
        "v_cdefghij2": "v_v_cdefghij2.mkv",
        "v_cdefghij3": "v_cdefghij3.webm",
        "abcdefghij4": None,
    }
    assert found.missing == ("abcdefghij4",)
    assert found.notes == ("1 listed video of 4 missing: 'abcdefghij4'",)


def test_without_annotations_it_says_which_file_is_wanted(tmp_path: Path) -> None:
    touch(tmp_path, "v_abcdefghij1.mp4")
    with pytest.raises(CatalogError, match=r"no file activity_net.v1-3.min.json or .*; download activity_net.v1-3"):
        read_segments("activitynet", tmp_path)
