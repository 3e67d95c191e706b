from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from sparsedense.video.errors import DamagedVideoError, UnreadableVideoError
from sparsedense.video.probe import count_frames, probe
from sparsedense.video.read import stream_frames
from tests.video import sample_videos as samples
from tests.video.test_read import KINDS, good_file


def test_probe_tells_size_rate_and_codec(tmp_path: Path) -> None:
    info = probe(samples.write_numbered(tmp_path / "a.mp4", 30, height=36, width=50, fps=12.5))
    assert (info.width, info.height, info.rotation_degrees) == (50, 36, 0)
    assert info.fps == pytest.approx(12.5)
    assert info.duration_seconds == pytest.approx(30 / 12.5)
    assert (info.num_frames_header, info.codec) == (30, "h264")


def test_probe_gives_the_upright_size_of_a_rotated_file(tmp_path: Path) -> None:
    info = probe(samples.write_rotated(tmp_path / "phone.mp4", 3))
    assert (info.width, info.height, info.rotation_degrees) == (48, 64, 270)


def test_a_header_without_a_count_gives_none(tmp_path: Path) -> None:
    assert probe(samples.write_numbered(tmp_path / "a.mkv", 5)).num_frames_header is None


@pytest.mark.parametrize("name", ["a.mp4", "a.txt"])
def test_a_file_that_is_no_video_is_refused_by_content_and_not_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("text")
    with pytest.raises(UnreadableVideoError, match="not a video file"):
        probe(tmp_path / name)


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(DamagedVideoError("a.mp4", "cut", 7)))
    assert (error.path, error.reason, error.num_frames) == ("a.mp4", "cut", 7)
    assert str(error) == "a.mp4: damaged after frame 7 (cut)"
    plain = pickle.loads(pickle.dumps(UnreadableVideoError("a.mp4", "file is empty")))
    assert str(plain) == "a.mp4: file is empty"


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_counted_without_decoding(kind: str, tmp_path: Path) -> None:
    path = good_file(kind, tmp_path)
    assert count_frames(path) == len(list(stream_frames(path))) == 30


def test_the_frames_of_a_truncated_file_are_counted_as_far_as_it_goes(tmp_path: Path) -> None:
    assert 1 < count_frames(samples.write_truncated(tmp_path / "a.mp4", 40, keep=0.6)) < 40


def test_frames_that_a_file_hides_are_not_counted(tmp_path: Path) -> None:
    path = samples.write_trimmed(tmp_path / "a.mp4", 30, cut=10)
    assert count_frames(path) == len(list(stream_frames(path))) == 20


def test_what_is_no_video_has_no_count(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideoError, match="file not found"):
        count_frames(tmp_path / "absent.mp4")
    with pytest.raises(UnreadableVideoError, match="audio only"):
        count_frames(samples.write_audio_only(tmp_path / "a.m4a"))
