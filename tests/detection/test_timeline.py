from pathlib import Path

import cv2
import numpy as np
import pytest

from sparsedense.detection.segments import DetectedSegment
from sparsedense.detection.thumbnails import Thumbnails
from sparsedense.detection.timeline import write_timeline


def test_a_timeline_shows_thumbnails_and_bars(tmp_path: Path) -> None:
    thumbnails = Thumbnails()
    thumbnails.offer(0.0, np.full((40, 60, 3), (0, 255, 0), dtype=np.uint8))
    segments = [DetectedSegment(2.0, 6.0, "$5 <wave>", 1.0)]
    write_timeline(tmp_path / "t.png", segments, duration_seconds=10.0, thumbnails=thumbnails, title="a_b.mp4")
    picture = cv2.imread(str(tmp_path / "t.png"))
    assert picture is not None
    assert (picture == (0, 255, 0)).all(axis=2).mean() > 0.2  # the strip
    bar = (picture == (0xA6, 0x69, 0x00)).all(axis=2)  # BGR
    columns = np.flatnonzero(bar.any(axis=0)) / picture.shape[1]
    strip = (12.0 - 1.9 - 0.3) / 12.0
    assert columns[0] == pytest.approx(1.9 / 12 + 0.2 * strip, abs=0.01)
    assert columns[-1] == pytest.approx(1.9 / 12 + 0.6 * strip, abs=0.01)


def test_svg_holds_the_text_and_is_the_same_again(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        write_timeline(tmp_path / name, [DetectedSegment(0, 1, "<wave>", 0.5)], duration_seconds=3700.0, title="x")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "&lt;wave&gt;" in (tmp_path / "a.svg").read_text()
    assert "1:00:00" in (tmp_path / "a.svg").read_text()


def test_nothing_found_is_said_and_other_endings_refused(tmp_path: Path) -> None:
    write_timeline(tmp_path / "a.svg", [], duration_seconds=5.0)
    assert "nothing was found" in (tmp_path / "a.svg").read_text()
    with pytest.raises(ValueError, match="choose one by the ending"):
        write_timeline(tmp_path / "a.gif", [], duration_seconds=5.0)


@pytest.mark.parametrize("count", [1, 7, 8, 100, 1000])
def test_thumbnails_are_few_and_evenly_spread(count: int) -> None:
    thumbnails = Thumbnails(8)
    for number in range(count):
        thumbnails.offer(float(number), np.zeros((200, 100, 3), dtype=np.uint8))
    assert min(count, 4) <= len(thumbnails) <= 8
    nearest = thumbnails.nearest(count / 2)
    assert nearest is not None
    assert abs(nearest.seconds - count / 2) <= max(count / 4, 0.5)
    assert nearest.picture_HWC.shape == (90, 45, 3)
    assert Thumbnails().nearest(0.0) is None
    with pytest.raises(ValueError, match="most"):
        Thumbnails(1)
