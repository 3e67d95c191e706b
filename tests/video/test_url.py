from pathlib import Path

import pytest

from sparsedense.video.url import is_url


@pytest.mark.parametrize("text", ["http://host/a.mp4", "https://host", "RTSP://camera/1", "tcp://127.0.0.1:80"])
def test_addresses_are_urls(text: str) -> None:
    assert is_url(text)


@pytest.mark.parametrize(
    "text", ["a.mp4", "/a/b.mp4", "C:\\a.mp4", "a:b.mp4", "://a", "folder//a.mp4", Path("http://host/a.mp4")]
)
def test_names_of_files_are_not(text: str | Path) -> None:
    assert not is_url(text)
