from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sparsedense.data.contact_sheet import contact_sheet
from sparsedense.data.errors import StoreError
from sparsedense.data.store import FrameStore


def test_the_sheet_shows_the_frames_of_a_row_for_each_video(jpeg_store: Path, tmp_path: Path) -> None:
    path = contact_sheet(FrameStore(jpeg_store), tmp_path / "new" / "走る.png", rows=3, columns=4, frame_height=48)
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    # Three rows of 48 pixels, four frames of a width of 64 beside the text, gaps of 4 and margins of 8.
    assert picture.shape == (3 * 48 + 2 * 4 + 2 * 8, 210 + 4 * 64 + 3 * 4 + 2 * 8, 3)
    frames = picture[8:56, 8 + 210 :]
    ink = (frames < 250).any(axis=2).mean(axis=0)
    assert [bool(ink[start + 10 : start + 54].min() > 0.9) for start in (0, 68, 136, 204)] == [True] * 4
    assert ink[64:68].max() == 0  # the gap is white


def test_every_class_and_the_unlabelled_videos_get_rows(jpeg_store: Path, tmp_path: Path) -> None:
    heights = []
    for rows in (1, 3, 100):
        picture = cv2.imread(str(contact_sheet(jpeg_store, tmp_path / "a.png", rows=rows, frame_height=40)))
        assert picture is not None
        heights.append(picture.shape[0])
    assert [(height - 12) // 44 for height in heights] == [1, 3, 8]  # no more rows than videos


def test_the_same_seed_draws_the_same_sheet(jpeg_store: Path, tmp_path: Path) -> None:
    one, two = (contact_sheet(jpeg_store, tmp_path / f"{name}.png", rows=3, seed=5) for name in "ab")
    assert one.read_bytes() == two.read_bytes()


def test_impossible_sheets_are_refused(jpeg_store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no videos of split 'val'"):
        contact_sheet(jpeg_store, tmp_path / "a.png", split="val")
    with pytest.raises(ValueError, match=r"rows \(0\)"):
        contact_sheet(jpeg_store, tmp_path / "a.png", rows=0)
