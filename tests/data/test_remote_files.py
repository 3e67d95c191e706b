from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sparsedense.data import remote_files
from sparsedense.data.remote_files import (
    FileSystem,
    RemoteFileError,
    blocks_of,
    check_file_systems,
    download,
    files_below,
    is_file,
    is_there,
    look_at_url,
    with_retries,
)
from tests.data.file_server import serve_files

pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def _fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "_FIRST_PAUSE_SECONDS", 0.001)


@pytest.mark.parametrize(
    ("error", "attempts", "told"),
    [
        (TimeoutError(), 4, "cannot be read after 4 attempts (TimeoutError)"),
        (ConnectionResetError("reset"), 4, "cannot be read after 4 attempts (ConnectionResetError: reset)"),
        (PermissionError("forbidden"), 1, "cannot be read (PermissionError: forbidden)"),
        (FileNotFoundError("gone"), 1, "does not exist"),
    ],
)
def test_what_may_pass_is_tried_again_and_what_cannot_is_not(error: Exception, attempts: int, told: str) -> None:
    tried = 0

    def work(_system: FileSystem, _path: str) -> None:
        nonlocal tried
        tried += 1
        raise error

    with pytest.raises(RemoteFileError) as raised:
        with_retries("file:///a", work)
    assert (tried, raised.value.reason, raised.value.missing) == (attempts, told, "not exist" in told)


def test_a_full_disk_is_no_fault_of_the_file() -> None:
    tried = 0

    def work(_system: FileSystem, _path: str) -> None:
        nonlocal tried
        tried += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        with_retries("file:///a", work)
    assert tried == 1


def test_files_are_looked_at_copied_and_listed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x.bin").write_bytes(b"x" * 3_000_000)
    (tmp_path / "a" / "b" / "y.bin").write_bytes(b"y")
    (tmp_path / "empty").mkdir()
    url = tmp_path.as_uri()
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    size, version = look_at_url(f"{url}/a/x.bin")
    assert size == 3_000_000
    (tmp_path / "a" / "x.bin").touch()
    assert look_at_url(f"{url}/a/x.bin")[1] != version
    download(f"{url}/a/x.bin", tmp_path / "copy", alive=beat)
    assert b"".join(blocks_of(f"{url}/a/x.bin")) == (tmp_path / "copy").read_bytes() == b"x" * 3_000_000
    assert sorted(files_below(f"{url}/a")) == [f"{url}/a/b/y.bin", f"{url}/a/x.bin"]
    assert [is_file(f"{url}/{name}") for name in ("a/x.bin", "a", "nothing")] == [True, False, False]
    assert [is_there(f"{url}/{name}") for name in ("a", "empty", "nothing")] == [True, False, False]
    with pytest.raises(RemoteFileError, match="is a folder"):
        look_at_url(f"{url}/a")


def test_a_web_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    (tmp_path / "videos" / "a").mkdir(parents=True)
    (tmp_path / "videos" / "a" / "1.mp4").touch()
    (tmp_path / "videos" / "b").mkdir()
    with serve_files(tmp_path) as server:
        url = f"{server.url}/videos"
        assert files_below(url) == [f"{url}/a/1.mp4"]
        server.failures["b"] = 1
        assert files_below(url) == [f"{url}/a/1.mp4"]
        server.failures["b"] = 99
        with pytest.raises(RemoteFileError, match="videos cannot be read after 4 attempts"):
            files_below(url)


def test_a_scheme_that_nobody_knows_is_told() -> None:
    check_file_systems(["file:///a", "memory://b"])
    with pytest.raises(RemoteFileError, match=r"what://b cannot be read: .*what"):
        check_file_systems(["file:///a", "what://b", "what://c"])
