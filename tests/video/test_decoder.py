from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.errors import DamagedVideoError
from sparsedense.video.read import stream_frames
from tests.video import sample_videos as samples
from tests.video.test_read import good_file


@pytest.mark.parametrize("kind", ["rotated", "odd size", "B-frames in AVI"])
def test_pictures_are_the_frames_in_whatever_order_they_are_converted(kind: str, tmp_path: Path) -> None:
    path = good_file(kind, tmp_path)
    with VideoDecoder(path) as decoder:
        pictures = list(decoder.pictures(short_side=20))
        frames = [picture() for picture in reversed(pictures)][::-1]
    np.testing.assert_array_equal(frames, list(stream_frames(path, short_side=20)))


def test_pictures_of_a_damaged_file_end_as_its_frames_do(tmp_path: Path) -> None:
    path = samples.write_truncated(tmp_path / "a.mp4", 40, keep=0.9)
    pictures: list[object] = []
    with VideoDecoder(path) as decoder, pytest.raises(DamagedVideoError) as damaged:
        pictures.extend(decoder.pictures())
    assert len(pictures) == damaged.value.num_frames > 1
