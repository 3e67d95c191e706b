from __future__ import annotations

import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsedense.video.errors import DamagedVideoError, UnreadableVideoError
from sparsedense.video.read import read_frames, stream_frames
from sparsedense.video.scale import scaled_size
from tests.video import sample_videos as samples


def decoded_by_opencv(path: Path) -> list[samples.Frames]:
    """What an independent reader makes of a file (it turns rotated files upright, too)."""
    capture = cv2.VideoCapture(str(path))
    frames: list[samples.Frames] = []
    while True:
        ok, frame = capture.read()
        if not ok:
            capture.release()
            return frames
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8))


def good_file(kind: str, folder: Path) -> Path:
    """A file of each kind that is odd but normal, of 30 frames."""
    if kind == "rotated":
        return samples.write_rotated(folder / "phone.mp4", 30)
    if kind == "odd size":
        return samples.write_numbered(folder / "odd.mp4", 30, height=33, width=45)
    if kind == "variable rate":
        times = np.cumsum(np.random.default_rng(0).integers(1, 9, 30)).tolist()
        return samples.write_encoded(folder / "variable.mkv", 30, times=times)
    if kind == "B-frames in AVI":
        return samples.write_encoded(folder / "b.avi", 30, codec="mpeg4", options={"bf": "2"})
    if kind == "10 bit":
        return samples.write_encoded(folder / "ten.mkv", 30, pix_fmt="yuv420p10le")
    if kind == "unicode name":
        return samples.write_numbered(folder / "走る ñ: 50% 'x'.mp4", 30)
    if kind == "transport stream":
        return samples.write_encoded(folder / "stream.ts", 30)
    assert kind == "gif"
    return samples.write_encoded(folder / "moving.gif", 30, codec="gif", pix_fmt="rgb8")


KINDS = [
    "rotated", "odd size", "variable rate", "B-frames in AVI", "10 bit", "unicode name", "transport stream", "gif",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_comes_once_in_order_as_an_independent_decoder_shows_it(kind: str, tmp_path: Path) -> None:
    path = good_file(kind, tmp_path)
    frames = list(stream_frames(path))
    reference = decoded_by_opencv(path)
    assert len(frames) == len(reference) == 30
    assert frames[0].dtype == np.uint8
    for frame, expected in zip(frames, reference, strict=True):
        assert frame.shape == expected.shape
        # Readers differ in how they enlarge the colour planes, which shows at the edges of the red quarter.
        assert np.abs(frame.astype(int) - expected.astype(int)).mean() < 2.5
    if kind not in ("rotated", "gif"):  # there the numbered corner lies elsewhere, or has few colours
        assert samples.numbers_of(frames) == list(range(30))


def test_a_phone_video_comes_upright(tmp_path: Path) -> None:
    frame = next(iter(stream_frames(samples.write_rotated(tmp_path / "phone.mp4", 3))))
    assert frame.shape == (64, 48, 3)
    redness = frame[..., 0].astype(int) - frame[..., 2]
    assert redness[:28, 28:].min() > 100  # upper left, turned clockwise, is upper right
    assert redness[:28, :20].max() < 60


def test_frames_are_scaled_down_and_never_up(tmp_path: Path) -> None:
    path = samples.write_numbered(tmp_path / "a.mp4", 5, height=48, width=64)
    assert {frame.shape for frame in stream_frames(path, short_side=24)} == {(24, 32, 3)}
    assert {frame.shape for frame in stream_frames(path, short_side=100)} == {(48, 64, 3)}
    full = np.stack(list(stream_frames(path))).astype(float)
    small = np.stack(list(stream_frames(path, short_side=24))).astype(float)
    by_area = full.reshape(5, 24, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(small - by_area).mean() < 1.5
    with pytest.raises(ValueError, match=r"short_side \(0\)"):
        list(stream_frames(path, short_side=0))


@given(width=st.integers(1, 5000), height=st.integers(1, 5000), short_side=st.integers(1, 600))
def test_scaled_size_keeps_the_aspect(width: int, height: int, short_side: int) -> None:
    scaled = scaled_size(width, height, short_side=short_side)
    assert min(scaled) == min(short_side, width, height)
    assert scaled_size(height, width, short_side=short_side) == scaled[::-1]
    factor = min(scaled) / min(width, height)
    assert abs(scaled[0] - width * factor) <= 0.5 + 1e-9
    assert abs(scaled[1] - height * factor) <= 0.5 + 1e-9


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(indices=st.lists(st.integers(0, 29), min_size=1, max_size=12))
def test_read_frames_are_the_frames_at_the_indices(indices: list[int], tmp_path: Path) -> None:
    path = tmp_path / "numbered.mp4"
    if not path.exists():
        samples.write_numbered(path, 30)
    frames = read_frames(path, indices)
    assert frames.shape == (len(indices), 48, 64, 3)
    assert samples.numbers_of(frames) == indices


def test_read_frames_refuses_what_is_not_there(tmp_path: Path) -> None:
    path = samples.write_numbered(tmp_path / "ten.mp4", 10)
    with pytest.raises(IndexError, match=r"frame 10 of .*ten\.mp4 does not exist: it has 10 frames"):
        read_frames(path, [3, 10])
    with pytest.raises(IndexError, match=r"-1 .* is negative"):
        read_frames(path, [-1])
    with pytest.raises(ValueError, match="no frame indices"):
        read_frames(path, [])


def broken_file(kind: str, folder: Path) -> Path:
    path = folder / "broken.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("This is no video.\n" * 100)
    elif kind == "folder":
        path.mkdir()
    elif kind == "audio only":
        samples.write_audio_only(path)
    elif kind == "no header":
        samples.write_headless(path)
    elif kind == "pipe":
        os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "file not found"),
        ("empty", "file is empty"),
        ("text", "not a video file (Invalid data found when processing input)"),
        ("folder", "is a folder"),
        ("pipe", "not a regular file"),
        ("audio only", "no video stream (audio only)"),
        ("no header", "not a video file (Invalid data found when processing input)"),
    ],
)
def test_broken_files_name_their_reason(kind: str, reason: str, tmp_path: Path) -> None:
    path = broken_file(kind, tmp_path)
    with pytest.raises(UnreadableVideoError) as caught:
        next(stream_frames(path))
    assert caught.value.reason == reason
    assert caught.value.path == str(path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = samples.write_numbered(tmp_path / "secret.mp4", 3)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(UnreadableVideoError, match="Permission denied"):
        next(stream_frames(path))


def test_a_truncated_file_gives_its_good_frames_and_then_says_where_it_ends(tmp_path: Path) -> None:
    path = samples.write_truncated(tmp_path / "cut.mp4", 40, keep=0.7)
    frames: list[samples.Frames] = []
    with pytest.raises(DamagedVideoError) as caught:
        frames.extend(stream_frames(path))
    assert 5 < len(frames) < 40
    assert samples.numbers_of(frames) == list(range(len(frames)))
    assert caught.value.num_frames == len(frames)
    with av.open(str(path)) as container:  # what the decoder still holds at the damage is given out, too
        assert len(frames) == sum(packet.size > 0 and not packet.is_corrupt for packet in container.demux(video=0))
    assert f"damaged after frame {len(frames)}" in str(caught.value)
    assert samples.numbers_of(read_frames(path, [0, 4])) == [0, 4]  # before the damage all is well


def test_damage_in_the_middle_ends_the_video_there(tmp_path: Path) -> None:
    path = samples.write_truncated(tmp_path / "scratched.mp4", 40, keep=1.0)
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 300] = np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    frames: list[samples.Frames] = []
    with pytest.raises(DamagedVideoError):
        frames.extend(stream_frames(path))
    assert 5 < len(frames) < 40
    assert samples.numbers_of(frames) == list(range(len(frames)))
