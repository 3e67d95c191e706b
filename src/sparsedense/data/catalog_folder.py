"""Videos found in class folders or in split folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import SPLIT_NAMES, ListedVideo, Listing, counted

# fmt: off
VIDEO_EXTENSIONS = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv",
    ".ts", ".webm", ".wmv",
})
# fmt: on
_UNLABELLED = ("unlabelled", "unlabeled")


def read_folder(folder: Path) -> Listing:
    """List the videos below a folder by their extension, in the order of their names.

    The first folder level gives the class; with `train/` and `test/` (or `val/`) there, it gives the split and the
    second level the class. Hidden files and folders, and files with other extensions, are left out and counted.

    Raises:
        CatalogError: `folder` is no folder or cannot be listed, or a test video lies in no class folder.
    """
    try:
        names = {path.name for path in folder.iterdir() if path.is_dir()}
    except OSError as error:
        _refuse(error)
    split_folders = {name for name in names if SPLIT_NAMES.get(name.lower(), "") in ("train", "val", "test")}
    has_splits = "train" in {name.lower() for name in split_folders} and len(split_folders) > 1

    videos: list[ListedVideo] = []
    ignored: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for path in visible_files(folder):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() not in VIDEO_EXTENSIONS:
            ignored[path.suffix.lower() or "no extension"] += 1
        elif has_splits and parts[0] not in split_folders and parts[0].lower() not in _UNLABELLED:
            outside[parts[0]] += 1
        else:
            videos.append(_listed(path, parts, has_splits=has_splits))
    return Listing(videos, _notes(videos, ignored, outside, folder))


def _listed(path: Path, parts: tuple[str, ...], *, has_splits: bool) -> ListedVideo:
    if parts[0].lower() in _UNLABELLED:
        return ListedVideo(path, None, split="unlabelled")
    split, below = (SPLIT_NAMES[parts[0].lower()], parts[1:]) if has_splits else ("", parts)
    label = below[0] if len(below) > 1 else None
    if label is not None and label.lower() in _UNLABELLED:
        return ListedVideo(path, None, split="unlabelled")
    if label is None and split in ("val", "test"):
        raise CatalogError(f"{path} lies in no class folder; put it into {Path(*path.parts[:-1]) / 'CLASS'}")
    return ListedVideo(path, label, split=split)


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


def _notes(videos: list[ListedVideo], ignored: Counter[str], outside: Counter[str], folder: Path) -> list[str]:
    notes = []
    if ignored:
        kinds = ", ".join(f"{kind} x{count}" for kind, count in sorted(ignored.items()))
        notes.append(f"{counted(ignored.total(), 'other file')} ignored: {kinds}")
    if outside:
        where = ", ".join(f"{name} x{count}" for name, count in sorted(outside.items()))
        notes.append(f"{counted(outside.total(), 'video')} outside the split folders ignored: {where}")
    loose = sum(video.label is None and video.split != "unlabelled" for video in videos)
    if loose:
        notes.append(f"{counted(loose, 'video')} in no class folder of {folder.name} taken as unlabelled")
    return notes
