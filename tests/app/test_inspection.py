from pathlib import Path

import pytest

from sparsedense.app.inspection import examine, inspect_file
from sparsedense.app.limits import Limits, RefusedError
from tests.app.hostile_files import SECRET
from tests.video.sample_videos import write_encoded, write_numbered, write_rotated


def test_facts_are_measured(tmp_path: Path) -> None:
    facts = inspect_file(write_numbered(tmp_path / "a.mp4", 30, fps=10.0).rename(tmp_path / "upload"), Limits())
    assert (facts.codec, facts.pixels, facts.width, facts.height) == ("h264", "yuv420p", 64, 48)
    assert facts.fps == 10
    assert facts.duration_seconds == pytest.approx(3.0, abs=0.01)
    assert "mp4" in facts.container


@pytest.mark.parametrize(
    ("codec", "name"), [("mpeg4", "a.avi"), ("libvpx", "a.webm"), ("mpeg2video", "a.ts"), ("flv", "a.flv")]
)
def test_formats_are_told_by_their_content(codec: str, name: str, tmp_path: Path) -> None:
    path = write_encoded(tmp_path / name, 20, codec=codec).rename(tmp_path / "upload")
    facts = inspect_file(path, Limits())
    assert facts.duration_seconds == pytest.approx(0.8, abs=0.1)
    assert facts.width == 64


def test_lists_of_files_are_not_opened_even_if_nothing_else_stops_them(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(SECRET)
    write_numbered(tmp_path / "other.mp4", 10)
    for content in (
        f"ffconcat version 1.0\nfile '{tmp_path}/other.mp4'\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/other.mp4\n#EXT-X-ENDLIST\n",
        "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ):
        (tmp_path / "upload").write_text(content)
        with pytest.raises(RefusedError, match="cannot be read as a video"):
            examine(tmp_path / "upload", duration_seconds=60, frames=1000)


def test_too_many_frames_are_refused(tmp_path: Path) -> None:
    path = write_rotated(tmp_path / "a.mp4", 20)
    with pytest.raises(RefusedError, match="too many frames: up to 19") as refused:
        examine(path, duration_seconds=60, frames=19)
    assert refused.value.status == 422
    assert examine(path, duration_seconds=60, frames=20).fps == 25


def test_what_kills_the_decoder_does_not_kill_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_numbered(tmp_path / "a.mp4", 20)
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(RefusedError, match="stops the decoder"):
        inspect_file(path, Limits())
