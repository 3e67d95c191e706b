from __future__ import annotations

from pathlib import Path

import pytest

from sparsedense.data.datasets import read_segments
from sparsedense.data.errors import CatalogError
from sparsedense.data.segments import SegmentAnnotation
from tests.data.datasets.layouts import touch, write_lines

VAL, TEST = "video_validation_0000266", "video_test_0000004"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_lines(tmp_path / "annotation" / "Diving_val.txt", [f"{VAL}  72.8 76.4", f"{VAL}  3 9.5"])
    write_lines(tmp_path / "annotation" / "CliffDiving_val.txt", [f"{VAL}  3.0 9.5", f"{VAL}  9 9"])
    write_lines(tmp_path / "annotation" / "Ambiguous_val.txt", [f"{VAL}  20.0 21.0"])
    write_lines(tmp_path / "annotation_test" / "Diving_test.txt", [f"{TEST}  0.2 1.1"])
    write_lines(tmp_path / "annotation_test" / "detclasslist.txt", ["7 BaseballPitch"])
    touch(tmp_path, f"validation/{VAL}.mp4")
    return tmp_path


def test_segments_of_all_classes_come_together(source: Path) -> None:
    found = read_segments("thumos14", source)
    test, val = found.videos
    assert (val.video_id, val.split, val.path) == (VAL, "train", source / "validation" / f"{VAL}.mp4")
    assert val.segments == (
        SegmentAnnotation(3.0, 9.5, "CliffDiving"),
        SegmentAnnotation(3.0, 9.5, "Diving"),
        SegmentAnnotation(72.8, 76.4, "Diving"),
    )
    assert val.ambiguous == (SegmentAnnotation(20.0, 21.0, "Ambiguous"),)
    assert (test.split, test.path, len(test.segments)) == ("test", None, 1)
    assert found.class_names == ("CliffDiving", "Diving")
    assert found.notes == (
        "1 segment that end before they begin left out",
        f"1 listed video of 2 missing: '{TEST}'",
    )


@pytest.mark.parametrize("line", [f"{VAL} 1.0", f"{VAL} a b", "video_0000266 1.0 2.0", f"{VAL} -1.0 2.0"])
def test_a_line_that_makes_no_sense_is_named(source: Path, line: str) -> None:
    write_lines(source / "annotation" / "Diving_val.txt", [line])
    with pytest.raises(CatalogError, match=r"Diving_val.txt, line 1: .*; expected a video, start and end in seconds"):
        read_segments("thumos14", source)


def test_annotations_twice_or_not_at_all_are_explained(source: Path, tmp_path: Path) -> None:
    write_lines(source / "copy" / "Diving_val.txt", [f"{VAL}  72.8 76.4"])
    with pytest.raises(CatalogError, match=r"has Diving_val.txt in several folders"):
        read_segments("thumos14", source)
    touch(tmp_path / "other", "video_test_0000004.mp4")
    with pytest.raises(CatalogError, match=r"has no annotations such as BaseballPitch_val.txt; unpack"):
        read_segments("thumos14", tmp_path / "other")
