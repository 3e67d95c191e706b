from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.data.locations import (
    absolute,
    extension,
    file_name,
    folder_of,
    joined,
    parse_location,
    relative_name,
    resolved,
)

NAMES = st.lists(st.text("ab.% #走", min_size=1).filter(lambda name: name.strip(".")), min_size=1, max_size=4)


@given(NAMES)
def test_a_name_that_was_joined_to_an_address_comes_back(parts: list[str]) -> None:
    name = "/".join(parts)
    for root in (Path("/videos"), "s3://bucket/videos"):
        assert relative_name(joined(root, name), root) == name
        assert file_name(joined(root, name)) == parts[-1]
        assert str(folder_of(joined(root, name))) == "/".join([str(root), *parts[:-1]])


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("/videos/A.MP4", "A.MP4", ".mp4"),
        ("https://host/a%20b.MP4?signature=x/y.z", "a b.MP4", ".mp4"),
        ("s3://bucket/a%20b?.mkv", "a%20b?.mkv", ".mkv"),  # letters like others in the names of objects
        ("gs://bucket/folder/", "folder", ""),
    ],
)
def test_addresses_are_read(text: str, name: str, kind: str) -> None:
    location = parse_location(text)
    assert isinstance(location, Path) == text.startswith("/")
    assert (file_name(location), extension(location)) == (name, kind)
    assert str(absolute(location)) == resolved(location) == text.rstrip("/")


def test_a_web_address_below_its_folder_is_named_as_a_file_is() -> None:
    assert relative_name("https://host/my%20videos/a%20%E8%B5%B0.mp4", "https://host/my%20videos") == "a 走.mp4"
    assert relative_name("https://other/a%20b.mp4", "https://host") == "https://other/a%20b.mp4"
    assert relative_name("https://host/a.mp4", Path("/videos")) == "https://host/a.mp4"
    assert relative_name(Path("/elsewhere/a.mp4"), "s3://bucket") == "/elsewhere/a.mp4"
    assert joined("s3://bucket/list", "https://host/a.mp4") == "https://host/a.mp4"
    assert joined(Path("/list"), "/videos/a.mp4") == Path("/videos/a.mp4")
