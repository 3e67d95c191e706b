from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparsedense.app.inspection import VideoFacts, examine
from sparsedense.app.playback import even_sided, media_type, write_playable
from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.probe import probe
from tests.video.sample_videos import numbers_of, write_encoded, write_rotated, write_truncated

FACTS = VideoFacts(
    container="mov,mp4,m4a,3gp,3g2,mj2", codec="h264", pixels="yuv420p", width=64, height=48, fps=25, duration_seconds=1
)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "video/mp4"),
        ({"codec": "hevc"}, None),
        ({"codec": "mpeg4"}, None),
        ({"pixels": "yuv444p"}, None),
        ({"pixels": "yuv420p10le"}, None),
        ({"container": "avi"}, None),
        ({"container": "matroska,webm", "codec": "vp9"}, "video/webm"),
        ({"container": "matroska,webm"}, None),
        ({"container": "matroska,webm", "codec": "av1"}, "video/webm"),
    ],
)
def test_what_browsers_play(changes: dict[str, str], kind: str | None) -> None:
    assert media_type(replace(FACTS, **changes)) == kind  # type: ignore[arg-type]


def converted(source: Path, target: Path) -> tuple[list[int], list[float]]:
    shares: list[float] = []
    write_playable(source, target, examine(source, duration_seconds=60, frames=1000), shares.append)
    facts = examine(target, duration_seconds=60, frames=1000)
    assert media_type(facts) == "video/mp4"
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1, abs=0.1)
    with VideoDecoder(target) as decoder:
        frames, seconds = [], []
        for frame in decoder.frames():
            frames.append(frame)
            seconds.append(decoder.frame_seconds or 0.0)
    return numbers_of(frames), seconds


def test_every_frame_is_there_at_its_time(tmp_path: Path) -> None:
    times = [0, 1, 2, 5, 9, 10, 11, 12, 20, 21]
    source = write_encoded(tmp_path / "a.mkv", 10, codec="ffv1", pix_fmt="yuv420p", times=times)
    numbers, seconds = converted(source, tmp_path / "out.mp4")
    assert numbers == list(range(10))
    np.testing.assert_allclose(seconds, np.array(times) / 25, atol=1e-3)


def test_rotated_video_is_upright(tmp_path: Path) -> None:
    source = write_rotated(tmp_path / "a.mp4", 10)
    write_playable(source, tmp_path / "out.mp4", FACTS, lambda _: None)
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height, info.rotation_degrees) == (48, 64, 0)


def test_a_damaged_video_is_converted_up_to_the_damage(tmp_path: Path) -> None:
    source = write_truncated(tmp_path / "a.mp4", 40, keep=0.9)
    write_playable(source, tmp_path / "out.mp4", FACTS, lambda _: None)
    with VideoDecoder(tmp_path / "out.mp4") as decoder:
        assert 5 < sum(1 for _ in decoder.frames()) < 40


@pytest.mark.parametrize(("size", "expected"), [((5, 7), (4, 6)), ((4, 6), (4, 6)), ((1, 3), (2, 6))])
def test_sides_are_even(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert even_sided(np.zeros((*size, 3), dtype=np.uint8)).shape[:2] == expected
