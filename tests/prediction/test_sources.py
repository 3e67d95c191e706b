import io
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparsedense.prediction.sources import VideoSource, open_sources

FRAMES = np.zeros((3, 4, 5, 3), dtype=np.uint8)


class Input:
    """In place of the program's standard input."""

    def __init__(self, content: bytes = b"", *, terminal: bool = False) -> None:
        self.buffer, self._terminal = io.BytesIO(content), terminal

    def isatty(self) -> bool:
        return self._terminal


def opened(*videos: Any) -> list[VideoSource]:
    with open_sources(list(videos)) as sources:
        return sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos, one in a folder below; a text; and what is hidden."""
    for name in ("b.mp4", "below/a.MKV", "notes.txt", ".hidden.mp4", ".cache/c.mp4", "[1].mp4"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).write_bytes(b"frames")
    return tmp_path / "videos"


def test_a_folder_stands_for_the_videos_below_it(folder: Path) -> None:
    expected = [folder / "[1].mp4", folder / "b.mp4", folder / "below" / "a.MKV"]
    for given in (folder, str(folder)):
        sources = opened(given)
        assert [source.media for source in sources] == expected
        assert [source.name for source in sources] == [str(path) for path in expected]


def test_a_glob_stands_for_what_it_matches(folder: Path) -> None:
    assert [source.media for source in opened(f"{folder}/b*")] == [folder / "b.mp4", folder / "below" / "a.MKV"]
    assert [source.media for source in opened(f"{folder}/**/[ab].*")] == [folder / "b.mp4", folder / "below" / "a.MKV"]
    assert [source.media for source in opened(f"{folder}/[b]*.mp4")] == [folder / "b.mp4"]


def test_a_globs_files_come_in_order(tmp_path: Path) -> None:
    names = [f"{number:02}.mp4" for number in np.random.default_rng(0).permutation(40)]
    for name in names:
        (tmp_path / name).touch()
    assert [source.media for source in opened(f"{tmp_path}/*")] == [tmp_path / name for name in sorted(names)]


def test_a_file_with_brackets_in_its_name_is_a_file(folder: Path) -> None:
    assert [source.media for source in opened(str(folder / "[1].mp4"))] == [folder / "[1].mp4"]


def test_a_list_keeps_its_order_and_what_is_not_there(folder: Path) -> None:
    sources = opened("absent.mp4", folder / "b.mp4", FRAMES, f"{folder}/*.avi")
    assert [source.name for source in sources] == ["absent.mp4", str(folder / "b.mp4"), "array 2", f"{folder}/*.avi"]
    assert sources[2].media is FRAMES
    assert (sources[3].media, sources[3].problem) == (None, "no file matches")


def test_a_folder_without_videos_is_told(folder: Path) -> None:
    (folder / "b.mp4").unlink()
    (folder / "[1].mp4").unlink()
    shutil.rmtree(folder / "below")
    (source,) = opened(folder)
    assert source.media is None
    assert source.problem is not None
    assert source.problem.startswith("the folder holds no videos (looked for .3gp,")


@pytest.mark.parametrize("url", ["http://host/a.mp4?x=[1]", "HTTPS://host/b%20c.webm"])
def test_a_url_stays_as_it_is(url: str) -> None:
    assert opened(url) == [VideoSource(url, url)]


@pytest.mark.parametrize("url", ["rtsp://camera/1", "ftp://host/a.mp4", "file:///etc/passwd"])
def test_other_urls_are_refused(url: str) -> None:
    (source,) = opened(url)
    assert source.media is None
    assert "http and https are read" in str(source.problem)


def test_standard_input_is_kept_while_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Input(b"frames"))
    with open_sources(["-", "b.mp4"]) as sources:
        assert [source.name for source in sources] == ["-", "b.mp4"]
        kept = sources[0].media
        assert isinstance(kept, Path)
        assert kept.read_bytes() == b"frames"
    assert not kept.exists()


def test_nobody_is_asked_to_type_a_video(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Input(terminal=True))
    (source,) = opened("-")
    assert source.problem == "standard input is a terminal; pipe a video into it"


def test_tensors_are_arrays() -> None:
    (source,) = opened(torch.zeros(3, 4, 5, 3, dtype=torch.uint8))
    np.testing.assert_array_equal(source.media, FRAMES)


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (FRAMES.astype(np.float32), "video 1 is an array of float32; expected uint8"),
        (FRAMES[..., :1], r"video 1 is an array of shape \(3, 4, 5, 1\); expected RGB frames \(T, H, W, 3\)"),
        (FRAMES[0], r"shape \(4, 5, 3\)"),
        (FRAMES[:0], r"shape \(0, 4, 5, 3\)"),
        (FRAMES[None], r"shape \(1, 3, 4, 5, 3\)"),
    ],
)
def test_an_array_of_another_kind_is_refused(video: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        opened("a.mp4", video)


@pytest.mark.parametrize("video", [3, None, {"a": 1}, iter(["a.mp4"])])
def test_what_is_no_video_is_refused(video: Any) -> None:
    with pytest.raises(TypeError, match=f"video 0 is a {type(video).__name__}; expected a path, folder"):
        opened(video)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ValueError, match="no videos are given"):
        opened()


def test_one_video_needs_no_list_but_several_do(folder: Path) -> None:
    with open_sources(folder / "b.mp4") as sources:
        assert [source.media for source in sources] == [folder / "b.mp4"]
    for given, kind in ((folder, "folder"), (f"{folder}/*.mp4", "glob")):
        with pytest.raises(ValueError, match=f"is a {kind}, which may hold many videos; give it in a list"):  # noqa: SIM117
            with open_sources(given):
                pass
