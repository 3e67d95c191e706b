from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsedense.data.sampling import centre_view_pair
from sparsedense.data.store import FrameStore
from sparsedense.data.view_picture import (
    BAR_HEIGHT,
    DENSE_COLOUR,
    FRAME_HEIGHT,
    MARGIN,
    SHOWN_FRAMES,
    SPARSE_COLOUR,
    TITLE_HEIGHT,
    draw_views,
)
from tests.conftest import tiny_experiment

ROW_HEIGHT = TITLE_HEIGHT + BAR_HEIGHT + FRAME_HEIGHT + MARGIN


def read_picture(squares: FrameStore, video_id: int, out: Path) -> NDArray[np.uint8]:
    path = draw_views(squares, video_id, tiny_experiment().clips, out / "views.png")
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture.astype(np.uint8)


def test_the_picture_has_two_strips_of_frames(squares: FrameStore, tmp_path: Path) -> None:
    video_id = int(squares.videos(split="test")[0])
    picture = read_picture(squares, video_id, tmp_path)
    height, width = squares.frame_size(video_id)
    strip_width = SHOWN_FRAMES * round(width * FRAME_HEIGHT / height)
    assert picture.shape == (MARGIN + 2 * ROW_HEIGHT, strip_width + 2 * MARGIN, 3)
    for row in range(2):
        top = MARGIN + row * ROW_HEIGHT + TITLE_HEIGHT + BAR_HEIGHT
        strip = picture[top : top + FRAME_HEIGHT, MARGIN:-MARGIN]
        assert strip.mean() < 200, "frames, not white paper"


def test_ticks_lie_where_the_frames_are(squares: FrameStore, tmp_path: Path) -> None:
    video_id = int(squares.videos(split="test")[0])
    picture = read_picture(squares, video_id, tmp_path)
    num_frames = int(squares.num_frames[video_id])
    views = centre_view_pair(num_frames, clip_length=8, skip_ratio=4.0)
    for row, (indices, colour) in enumerate(((views.sparse, SPARSE_COLOUR), (views.dense, DENSE_COLOUR))):
        line = picture[MARGIN + row * ROW_HEIGHT + TITLE_HEIGHT + BAR_HEIGHT // 2, MARGIN:-MARGIN]
        ticks = (line == np.array(colour, dtype=np.uint8)).all(axis=-1)
        expected = np.zeros(len(line), dtype=bool)
        for index in indices:
            left = int(index / num_frames * len(line))
            expected[left : left + 4] = True
        assert np.array_equal(ticks, expected)
