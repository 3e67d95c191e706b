from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from sparsedense.video.errors import UnreadableVideoError
from sparsedense.video.frame_folder import frame_paths
from sparsedense.video.probe import probe
from sparsedense.video.read import read_frames, stream_frames

LEVELS = [20, 200, 60, 140, 100]


def write_pictures(folder: Path, *, name: str = "{:05d}.jpg", height: int = 100, width: int = 176) -> Path:
    """A folder of grey pictures, one level each, numbered from 1."""
    folder.mkdir()
    for number, level in enumerate(LEVELS, start=1):
        picture = np.full((height, width, 3), level, dtype=np.uint8)
        (folder / name.format(number)).write_bytes(simplejpeg.encode_jpeg(picture, quality=95))
    return folder


@pytest.mark.parametrize("name", ["{:05d}.jpg", "img_{}.JPEG", "v2_{:03d}.jpg"])
def test_pictures_are_the_frames_in_the_order_of_their_numbers(tmp_path: Path, name: str) -> None:
    frames = list(stream_frames(write_pictures(tmp_path / "7%d[*]", name=name)))
    assert [int(frame.mean().round()) for frame in frames] == pytest.approx(LEVELS, abs=2)
    assert frames[0].shape == (100, 176, 3)


def test_numbers_are_numbers_and_other_files_are_left_out(tmp_path: Path) -> None:
    for name in ("10.jpg", "9.jpg", "flow_x_1.txt", "cover.jpg", "notes"):
        (tmp_path / name).touch()
    assert [path.name for path in frame_paths(tmp_path)] == ["9.jpg", "10.jpg"]


def test_several_series_are_refused(tmp_path: Path) -> None:
    for name in ("img_00001.jpg", "flow_x_00001.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(UnreadableVideoError, match="several series of pictures: 'flow_x_' and 'img_'"):
        next(stream_frames(tmp_path))


def test_it_reads_like_a_video(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "clip")
    info = probe(folder)
    assert (info.width, info.height, info.codec, info.fps) == (176, 100, "mjpeg", None)
    frames = read_frames(folder, [3, 0], short_side=50)
    assert frames.shape == (2, 50, 88, 3)
    assert [int(frame.mean().round()) for frame in frames] == pytest.approx([140, 20], abs=2)


@pytest.mark.parametrize("rest_bytes", [0, 300])
def test_an_incomplete_picture_is_told_and_not_skipped(tmp_path: Path, rest_bytes: int) -> None:
    folder = write_pictures(tmp_path / "clip")
    broken = folder / "00004.jpg"
    broken.write_bytes(broken.read_bytes()[:rest_bytes])
    with pytest.raises(UnreadableVideoError, match=r"00004.jpg is not a complete JPEG file"):
        list(stream_frames(folder))


def test_a_folder_without_pictures_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UnreadableVideoError, match="is a folder"):
        next(stream_frames(tmp_path))
