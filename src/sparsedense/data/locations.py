"""Where a video or a list of videos lies: a `Path` on this machine, or a URL as a string, such as `s3://bucket/a.mp4`."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from sparsedense.video.url import is_url

Location: TypeAlias = Path | str


def parse_location(text: str | Path) -> Location:
    """A URL as it is, without a slash at its end; anything else as a path of this machine."""
    return text.rstrip("/") if isinstance(text, str) and is_url(text) else Path(text)


def absolute(location: Location) -> Location:
    """A path from the root of the file system, links kept; a URL as it is."""
    return location.absolute() if isinstance(location, Path) else location


def resolved(location: Location) -> str:
    """A path from the root of the file system, links followed; a URL as it is."""
    return str(location.resolve()) if isinstance(location, Path) else location


def folder_of(location: Location) -> Location:
    """The folder that it lies in."""
    return location.parent if isinstance(location, Path) else location.rpartition("/")[0]


def joined(folder: Location, name: str) -> Location:
    """What a list in a folder means by a name: a URL, an absolute path, or a name relative to the folder."""
    if is_url(name):
        return name
    if isinstance(folder, Path):
        return folder / name
    return f"{folder}/{PurePosixPath(name)}"


def file_name(location: Location) -> str:
    """Its last part; of a web address, as a person reads it."""
    return location.name if isinstance(location, Path) else _readable(location).rpartition("/")[2]


def extension(location: Location) -> str:
    """Its extension in lower case, with the dot."""
    return PurePosixPath(file_name(location)).suffix.lower()


def relative_name(location: Location, root: Location) -> str:
    """A location relative to a folder where it lies below it, in forward slashes; invalid bytes are shown escaped."""
    if isinstance(location, Path):
        inside = isinstance(root, Path) and location.is_relative_to(root)
        name = location.relative_to(root).as_posix() if inside else location.as_posix()
    elif isinstance(root, str) and location.startswith(f"{root}/"):
        name = _readable(location)[len(_readable(root)) + 1 :]
    else:
        name = location
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _readable(url: str) -> str:
    """A web address without its query and `%20`; in the names of an object store these are letters like others."""
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        return url
    return unquote(url.partition("?")[0])
