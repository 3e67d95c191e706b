from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from sparsedense.video.probe import probe
from sparsedense.video.read import stream_frames
from sparsedense.video.write import write_video
from tests.video import sample_videos as samples


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize("size", [(48, 64), (33, 45)])
def test_what_is_written_is_read_back(suffix: str, size: tuple[int, int], tmp_path: Path) -> None:
    frames = samples.numbered_frames(20, *size)
    path = tmp_path / "new" / f"video{suffix}"
    assert write_video(path, iter(frames), crf=10) == 20
    back = list(stream_frames(path))
    assert samples.numbers_of(back) == list(range(20))
    assert np.abs(np.stack(back).astype(int) - frames).mean() < 3
    assert list(path.parent.iterdir()) == [path]


def test_the_same_frames_make_the_same_file(tmp_path: Path) -> None:
    files = [samples.write_numbered(tmp_path / name, 20).read_bytes() for name in ("a.mp4", "b.mp4")]
    assert files[0] == files[1]


def test_key_frames_come_at_the_interval(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", samples.numbered_frames(20), keyframe_interval=5)
    with av.open(str(tmp_path / "a.mp4")) as container:
        key_frames = [number for number, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert key_frames == [0, 5, 10, 15]


def test_fractional_rates_are_kept(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", samples.numbered_frames(5), fps=30000 / 1001)
    assert probe(tmp_path / "a.mp4").fps == pytest.approx(30000 / 1001)


def test_an_interrupted_write_leaves_no_file(tmp_path: Path) -> None:
    def frames() -> Iterator[samples.Frames]:
        yield from samples.numbered_frames(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "a.mp4", frames())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames given"),
        ([np.zeros((8, 8), np.uint8)], r"expected \(H, W, 3\)"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)], "frame 1 of .* must be uint8"),
        ([np.zeros((8, 8, 3), np.float32)], "frame 0 of .* is float32"),
    ],
)
def test_frames_that_make_no_video_are_refused(frames: list[samples.Frames], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", frames)
    assert list(tmp_path.iterdir()) == []
