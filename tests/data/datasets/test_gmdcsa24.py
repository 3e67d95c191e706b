from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.data.datasets import read_segments
from sparsedense.data.datasets.gmdcsa24 import read_classes
from sparsedense.data.errors import CatalogError
from sparsedense.data.segments import SegmentAnnotation

TABLE = """File Name,Length (seconds),Time of Recording,Attire,Description, Classes
01.mp4,06, Day (Light On),Full T-shirt, Falling from the chair. Left side, Falling (SW)[3.4 to 6]; Sitting[0 to 3.4]
02.mp4,10,Day,Shirt,Picking a book, Sitting[9.2 to 10]; Standing[2.4 to 3.6; 6.6 to 7.9; Walking[3.6 to 5.2; 7.9 to 9.2]
03.mp4,10,Night,Shirt,Changing pages, Reading; Sitting:[0.8 to 8.1]; Fall (FW) [ 8 to 9.5];

04.mp4,10,Day,Shirt,Reversed, Sitting[9.7 to 3]; Standing[0 to 0.5]
"""


def segments(*rows: tuple[str, float, float]) -> list[SegmentAnnotation]:
    return [SegmentAnnotation(start, end, label) for label, start, end in rows]


def test_a_table_is_read_as_far_as_it_can_be(tmp_path: Path) -> None:
    folder = tmp_path / "Subject 2"
    (folder / "Fall").mkdir(parents=True)
    (folder / "Fall.csv").write_text(TABLE, encoding="utf-8-sig")
    (folder / "Fall" / "01.mp4").write_bytes(b"film")
    found = read_segments("gmdcsa24", tmp_path)
    assert [video.video_id for video in found.videos] == [f"subject2_fall_0{number}" for number in (1, 2, 3, 4)]
    assert list(found.videos[0].segments) == segments(("sitting", 0, 3.4), ("falling", 3.4, 6))
    assert list(found.videos[1].segments) == segments(
        ("standing", 2.4, 3.6),
        ("walking", 3.6, 5.2),
        ("standing", 6.6, 7.9),
        ("walking", 7.9, 9.2),
        ("sitting", 9.2, 10),
    )
    assert list(found.videos[2].segments) == segments(("sitting", 0.8, 8.1), ("falling", 8, 9.5))
    assert list(found.videos[3].segments) == segments(("standing", 0, 0.5))
    assert found.videos[0].path == folder / "Fall" / "01.mp4"
    assert found.notes == (
        "Subject 2/Fall.csv, 03.mp4: not read: 'Reading'",
        "1 segment that end before they begin left out",
        "3 listed videos of 4 missing: 'subject2_fall_02', 'subject2_fall_03', 'subject2_fall_04'",
    )


def test_what_is_strange_inside_of_a_bracket_is_told() -> None:
    assert read_classes("Sitting[0 to 2; 5]") == (segments(("sitting", 0, 2)), ["Sitting[5"])
    assert read_classes("Sitting[]; Walking[1 to 2]") == (segments(("walking", 1, 2)), ["Sitting"])
    assert read_classes("") == ([], [])


NAMES = st.sampled_from(["Sitting", "Walking", "Eating"])
TENTHS = st.integers(0, 999).map(lambda tenths: tenths / 10)


@given(
    actions=st.lists(st.tuples(NAMES, st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=3)), max_size=4),
    closes=st.lists(st.booleans(), min_size=4, max_size=4),
    marks=st.lists(st.sampled_from(["", ":", " ", " (SW)", " (BW"]), min_size=4, max_size=4),
)
def test_brackets_left_open_and_stray_marks_lose_nothing(
    actions: list[tuple[str, list[tuple[float, float]]]], closes: list[bool], marks: list[str]
) -> None:
    parts = [
        f"{name}{mark}[{'; '.join(f'{start:g} to {end:g}' for start, end in times)}{']' if is_closed else ''}"
        for (name, times), is_closed, mark in zip(actions, closes, marks, strict=False)
    ]
    expected = segments(*((name.lower(), start, end) for name, times in actions for start, end in times))
    assert read_classes("; ".join(parts)) == (expected, [])


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"Subject 1/ADL\.csv"):
        read_segments("gmdcsa24", tmp_path)
