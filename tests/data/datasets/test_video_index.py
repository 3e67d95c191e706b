from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.errors import CatalogError
from tests.data.datasets.layouts import touch

NAMES = st.text("abcXYZ_- ()!é.", min_size=1, max_size=8).filter(lambda name: not name.startswith("."))
FOLDERS = st.lists(st.sampled_from(["train", "val", "some class"]), max_size=3)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, FOLDERS, min_size=1, max_size=8))
def test_where_a_video_lies_does_not_matter(folder_of: dict[str, list[str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for stem, folders in folder_of.items():
            touch(root, "/".join([*folders, f"{stem}.mp4"]))
        index = VideoIndex(root)
        assert len(index) == len(folder_of)
        assert len(index.unused()) == len(folder_of)
        for stem, folders in folder_of.items():
            assert index.find(stem) == root.joinpath(*folders, f"{stem}.mp4")
        assert index.find("no such name") is None
        assert index.unused() == []


def test_other_and_hidden_files_are_no_videos(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.txt", "._a.mp4", ".cache/c.mp4", "d.WEBM", "e.mp4.part")
    index = VideoIndex(tmp_path)
    assert [key for key in "abcde" if key in index] == ["a", "d"]


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.mp4", "root/b.mp4")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "root")
    index = VideoIndex(tmp_path / "root")
    assert (index.find("a"), index.find("b")) == (
        tmp_path / "root" / "link" / "a.mp4",
        tmp_path / "root" / "b.mp4",
    )


def test_a_key_that_several_videos_have_is_refused_unless_one_is_preferred(tmp_path: Path) -> None:
    touch(tmp_path, "x/A.mp4", "y/a.mp4", "z/A.avi")
    index = VideoIndex(tmp_path, key=str.lower)
    with pytest.raises(CatalogError, match=r"has 'a' 3 times: 'x/A.mp4', 'y/a.mp4', 'z/A.avi'"):
        index.find("a")
    assert index.find("a", prefer="y") == tmp_path / "y" / "a.mp4"


def test_folders_of_frames_are_videos_and_not_entered(tmp_path: Path) -> None:
    touch(tmp_path, "clips/7/00001.jpg", "clips/7/inside.mp4", "clips/8/00001.jpg")
    index = VideoIndex(tmp_path, frame_folders={"7"})
    assert index.find("7") == tmp_path / "clips" / "7"
    assert "inside" not in index
    assert "8" not in index


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "secret/a.mp4")
    (tmp_path / "secret").chmod(0)
    try:
        next((tmp_path / "secret").iterdir())
    except PermissionError:
        with pytest.raises(CatalogError, match="secret cannot be listed: Permission denied; check its permissions"):
            VideoIndex(tmp_path)
    else:
        pytest.skip("this user may read everything")
    finally:
        (tmp_path / "secret").chmod(0o700)
