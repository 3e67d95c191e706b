from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from sparsedense.data.prepare import prepare
from sparsedense.video.write import write_video
from tests.video import sample_videos as samples

BROKEN = {
    "walk/audio.mp4": "no video stream (audio only)",
    "walk/empty.mp4": "file is empty",
    "walk/headless.mp4": "not a video file (Invalid data found when processing input)",
    "walk/short.mp4": "1 frame, at least 2 needed",
    "walk/text.avi": "not a video file (Invalid data found when processing input)",
}
GOOD = {
    "run/moving.mp4": 25,
    "run/odd.mp4": 12,
    "run/走る.mkv": 20,
    "unlabelled/a.mp4": 15,
    "unlabelled/phone.mp4": 10,
    "walk/1.mp4": 30,
    "walk/2.mp4": 22,
}
CUT = "walk/cut.mp4"


def moving_frames(num_frames: int, height: int = 120, width: int = 160) -> samples.Frames:
    """Soft colours with a square that moves: an ordinary picture for JPEG."""
    y, x = np.mgrid[:height, :width]
    frames = np.empty((num_frames, height, width, 3), dtype=np.uint8)
    for number in range(num_frames):
        frames[number] = np.stack([60 + x // 2, 40 + y, 120 + (x + y) // 4], axis=-1).clip(0, 255)
        frames[number, 20:50, 4 * number : 4 * number + 30] = (230, 200, 40)
    return frames


def files_of(store: Path) -> dict[str, str]:
    """Hash of every file of a store, so that a comparison of two shows which differ."""
    paths = [path for path in store.rglob("*") if path.is_file()]
    return {path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes and unlabelled videos, good, odd and broken ones, and a file of another kind."""
    root = tmp_path_factory.mktemp("videos")
    for name in ("walk", "run", "unlabelled"):
        (root / name).mkdir()
    write_video(root / "run/moving.mp4", moving_frames(25))
    samples.write_numbered(root / "run/odd.mp4", 12, height=33, width=45)
    samples.write_numbered(root / "run/走る.mkv", 20)
    samples.write_numbered(root / "unlabelled/a.mp4", 15, fps=12.5)
    samples.write_rotated(root / "unlabelled/phone.mp4", 10)
    samples.write_numbered(root / "walk/1.mp4", 30)
    samples.write_numbered(root / "walk/2.mp4", 22)
    samples.write_truncated(root / CUT, 40, keep=0.85)
    samples.write_audio_only(root / "walk/audio.mp4")
    (root / "walk/empty.mp4").touch()
    samples.write_headless(root / "walk/headless.mp4")
    samples.write_numbered(root / "walk/short.mp4", 1)
    (root / "walk/text.avi").write_text("no video\n" * 50)
    (root / "walk/notes.txt").write_text("left out")
    return root


@pytest.fixture(scope="session")
def jpeg_store(video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stores") / "jpeg"
    prepare(video_folder, out, short_side=64, workers=0, test_fraction=0.3, val_fraction=0)
    return out


@pytest.fixture(scope="session")
def raw_store(video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stores") / "raw"
    prepare(video_folder, out, codec="raw", short_side=64, workers=0, test_fraction=0.3, val_fraction=0)
    return out
