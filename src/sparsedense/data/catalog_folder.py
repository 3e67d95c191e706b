"""Videos found in class folders or in split folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import SPLIT_NAMES, ListedVideo, Listing, counted
from sparsedense.data.locations import Location, extension, file_name, folder_of, joined, relative_name
from sparsedense.data.remote_files import RemoteFileError, files_below

# fmt: off
VIDEO_EXTENSIONS = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv",
    ".ts", ".webm", ".wmv",
})
# fmt: on
_UNLABELLED = ("unlabelled", "unlabeled")


def read_folder(folder: Location) -> Listing:
    """List the videos below a folder by their extension, in the order of their names.

    The first folder level gives the class; with `train/` and `test/` (or `val/`) there, it gives the split and the
    second level the class. Hidden files and folders, and files with other extensions, are left out and counted.

    Raises:
        CatalogError: `folder` is no folder or cannot be listed, or a test video lies in no class folder.
    """
    if isinstance(folder, Path):
        names = _folders_in(folder)
        files: Iterable[Location] = visible_files(folder)
    else:
        files = visible_urls(folder)
        names = {parts[0] for parts in (_parts(url, folder) for url in files) if len(parts) > 1}
    split_folders = {name for name in names if SPLIT_NAMES.get(name.lower(), "") in ("train", "val", "test")}
    has_splits = "train" in {name.lower() for name in split_folders} and len(split_folders) > 1

    videos: list[ListedVideo] = []
    ignored: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for path in files:
        parts = _parts(path, folder)
        if extension(path) not in VIDEO_EXTENSIONS:
            ignored[extension(path) or "no extension"] += 1
        elif has_splits and parts[0] not in split_folders and parts[0].lower() not in _UNLABELLED:
            outside[parts[0]] += 1
        else:
            videos.append(_listed(path, parts, has_splits=has_splits))
    return Listing(videos, _notes(videos, ignored, outside, folder))


def _folders_in(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir() if path.is_dir()}
    except OSError as error:
        _refuse(error)


def _parts(location: Location, folder: Location) -> tuple[str, ...]:
    if isinstance(location, Path) and isinstance(folder, Path):
        return location.relative_to(folder).parts
    return tuple(relative_name(location, folder).split("/"))


def _listed(path: Location, parts: tuple[str, ...], *, has_splits: bool) -> ListedVideo:
    if parts[0].lower() in _UNLABELLED:
        return ListedVideo(path, None, split="unlabelled")
    split, below = (SPLIT_NAMES[parts[0].lower()], parts[1:]) if has_splits else ("", parts)
    label = below[0] if len(below) > 1 else None
    if label is not None and label.lower() in _UNLABELLED:
        return ListedVideo(path, None, split="unlabelled")
    if label is None and split in ("val", "test"):
        raise CatalogError(f"{path} lies in no class folder; put it into {joined(folder_of(path), 'CLASS')}")
    return ListedVideo(path, label, split=split)


def visible_urls(folder: str) -> list[str]:
    """URLs of all files below a folder that are not hidden, in the order of `visible_files`.

    Raises:
        CatalogError: the folder cannot be listed.
    """
    try:
        found = files_below(folder)
    except RemoteFileError as error:
        raise CatalogError(
            f"{error}; check the address and the credentials, or give a CSV, JSONL or Parquet list of the videos' URLs"
        ) from error
    parts_of = {url: _parts(url, folder) for url in found}
    visible = [url for url, parts in parts_of.items() if not any(part.startswith(".") for part in parts)]
    # The files of a folder come before its folders.
    return sorted(visible, key=lambda url: (*((1, name) for name in parts_of[url][:-1]), (0, parts_of[url][-1])))


def visible_files(folder: Path) -> Iterator[Path]:
    """All files below a folder that are not hidden, in order of name; links to folders are followed once."""
    seen: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()  # a loop of links
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(parent, name)


def _refuse(error: OSError) -> NoReturn:
    raise CatalogError(f"{error.filename} cannot be listed: {error.strerror}; check its permissions") from error


def _notes(videos: list[ListedVideo], ignored: Counter[str], outside: Counter[str], folder: Location) -> list[str]:
    notes = []
    if ignored:
        kinds = ", ".join(f"{kind} x{count}" for kind, count in sorted(ignored.items()))
        notes.append(f"{counted(ignored.total(), 'other file')} ignored: {kinds}")
    if outside:
        where = ", ".join(f"{name} x{count}" for name, count in sorted(outside.items()))
        notes.append(f"{counted(outside.total(), 'video')} outside the split folders ignored: {where}")
    loose = sum(video.label is None and video.split != "unlabelled" for video in videos)
    if loose:
        notes.append(f"{counted(loose, 'video')} in no class folder of {file_name(folder)} taken as unlabelled")
    return notes
