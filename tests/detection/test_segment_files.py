import csv
import json
from pathlib import Path

import pytest

from sparsedense.data.errors import CatalogError
from sparsedense.detection.segment_files import (
    read_results_json,
    segment_record,
    write_results_json,
    write_segments_csv,
    write_srt,
    write_vtt,
)
from sparsedense.detection.segments import DetectedSegment

SEGMENTS = [DetectedSegment(3661.5, 3725.25, "a <b>\n--> c", 0.875), DetectedSegment(0.0, 1.2504, "wave", 0.5)]


def test_results_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    write_results_json(path, {"one": SEGMENTS, "none": []})
    content = json.loads(path.read_text())
    assert set(content) == {"version", "results", "external_data"}
    assert content["results"]["one"][1] == {"label": "wave", "score": 0.5, "segment": [0.0, 1.2504]}
    assert read_results_json(path) == {"one": SEGMENTS, "none": []}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", 'no object "results"'),
        ('{"results": {"v": 3}}', 'no object "results"'),
        ('{"results": {"v": [{"label": "a", "segment": [0, 1]}]}}', "video 'v'"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(CatalogError, match=message):
        read_results_json(path)
    with pytest.raises(CatalogError, match="cannot be read"):
        read_results_json(tmp_path / "absent.json")


def test_a_line_a_segment(tmp_path: Path) -> None:
    write_segments_csv(tmp_path / "a.csv", {"one": SEGMENTS, "none": []})
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [segment.label for segment in SEGMENTS]
    assert rows[1] == {"video": "one", "start_seconds": "0.000", "end_seconds": "1.250", "label": "wave",
                       "score": "0.500000"}  # fmt: skip


def test_captions_are_in_order_and_escaped(tmp_path: Path) -> None:
    empty = DetectedSegment(2.0, 2.0001, "blink", 0.9)
    write_vtt(tmp_path / "a.vtt", [*SEGMENTS, empty])
    assert (tmp_path / "a.vtt").read_text() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nwave 50%\n\n01:01:01.500 --> 01:02:05.250\na &lt;b&gt; --&gt; c 88%\n"
    )
    write_srt(tmp_path / "a.srt", [*SEGMENTS, empty])
    assert (tmp_path / "a.srt").read_text() == (
        "1\n00:00:00,000 --> 00:00:01,250\nwave 50%\n\n2\n01:01:01,500 --> 01:02:05,250\na <b> --> c 88%\n"
    )


def test_a_record_has_the_four_keys() -> None:
    assert segment_record(SEGMENTS[1]) == {"start_seconds": 0.0, "end_seconds": 1.25, "label": "wave", "score": 0.5}
