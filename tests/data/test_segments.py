from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparsedense.actors.untrimmed import write_annotations
from sparsedense.data.errors import CatalogError
from sparsedense.data.segments import SegmentAnnotation, read_segments_json


def write(path: Path, **videos: Any) -> Path:
    path.write_text(json.dumps({"version": "VERSION 1.3", "taxonomy": [], "database": videos}))
    return path


def annotation(label: str, start: object, end: object) -> dict[str, object]:
    return {"label": label, "segment": [start, end]}


def test_videos_and_segments_are_in_order(tmp_path: Path) -> None:
    both = [annotation("run", 9, 12), annotation("sit", 1, 4)]
    videos = {
        "b": {"subset": "validation", "duration": 20, "annotations": both},
        "a": {"subset": "testing", "duration": 7.5, "annotations": []},
        "c": {"subset": "training", "annotations": [annotation("run", 0, 99)]},
    }  # fmt: skip
    found = read_segments_json(write(tmp_path / "a.json", **videos))
    assert [(video.video_id, video.split, video.duration_seconds) for video in found.videos] == [
        ("a", "test", 7.5), ("b", "val", 20.0), ("c", "train", None),
    ]  # fmt: skip
    assert found.videos[1].segments == (SegmentAnnotation(1.0, 4.0, "sit"), SegmentAnnotation(9.0, 12.0, "run"))
    assert found.class_names == ("run", "sit")
    assert found.notes == ()
    assert found.missing == ("a", "b", "c")


def test_odd_segments_are_counted(tmp_path: Path) -> None:
    segments = [annotation("run", 5, 3), annotation("run", 4, 4), annotation("run", 8, 11), annotation("sit", 8, 10.4)]
    found = read_segments_json(
        write(tmp_path / "a.json", v={"subset": "train", "duration": 10, "annotations": segments})
    )
    assert [segment.end_seconds for segment in found.videos[0].segments] == [10.4, 11.0]
    assert found.notes == (
        "2 segments that end before they begin left out",
        "1 segment that end behind the end of the video kept",
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"subset": "train"}, "video 'v' has no list of annotations"),
        ([], "video 'v' has no list of annotations"),
        ({"subset": "extra", "annotations": []}, "video 'v' is of subset 'extra'; expected training"),
        ({"subset": "train", "annotations": [{"label": "a"}]}, "'v' has the annotation .*; expected a label and a"),
        ({"subset": "train", "annotations": [{"segment": [1, 2]}]}, "expected a label and a segment"),
        ({"subset": "train", "annotations": [annotation("a", 1, "x")]}, "expected a label and a segment"),
        ({"subset": "train", "annotations": [{"label": "a", "segment": [1]}]}, "expected a label and a segment"),
    ],
)
def test_a_video_that_makes_no_sense_is_named(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        read_segments_json(write(tmp_path / "a.json", v=row))


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[]", 'no object "database"'), ("{}", "database")]
)
def test_files_of_another_format_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(CatalogError, match=message):
        read_segments_json(tmp_path / "a.json")
    with pytest.raises(CatalogError, match=r"none.json cannot be read: No such file"):
        read_segments_json(tmp_path / "none.json")


def test_the_annotations_of_the_actors_are_read(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.json", [("anna_0", "validation", 20.0, [("wave", 25, 50)])])
    found = read_segments_json(tmp_path / "a.json")
    assert found.videos[0].split == "val"
    assert found.videos[0].segments == (SegmentAnnotation(1.0, 2.0, "wave"),)
