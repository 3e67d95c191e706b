"""What a person should know of how a source of videos was read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparsedense.data.catalog_folder import VIDEO_EXTENSIONS, visible_files
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import Listing, counted
from sparsedense.data.locations import absolute, extension
from sparsedense.data.splits import shown

if TYPE_CHECKING:
    from sparsedense.data.catalog import CatalogEntry


def list_note(name: str, found: Listing) -> str:
    """That a list in the folder was read, and which options it overrules."""
    taken, overruled = ["videos", "labels"], []
    if any(video.group for video in found.videos):
        taken.append("groups")
        overruled.append("--group-pattern")
    if any(video.split for video in found.videos if video.label is not None):
        taken.append("splits")
        overruled += ["--val-fraction", "--test-fraction"]
    plural = "has" if len(overruled) == 1 else "have"
    effect = f", so {_joined(overruled)} {plural} no effect on them" if overruled else ""
    return f"{_joined(taken)} are those of {name} in the folder{effect}"


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def unlisted_note(folder: Path, found: Listing) -> str:
    """How many video files of a folder its list leaves out; nothing where that cannot be seen, or not soon."""
    if not all(extension(video.path) in VIDEO_EXTENSIONS for video in found.videos):
        return ""  # folders of frames, and millions of files in them
    listed = {absolute(video.path) for video in found.videos}
    try:
        left_out = sum(
            extension(path) in VIDEO_EXTENSIONS and absolute(path) not in listed for path in visible_files(folder)
        )
    except CatalogError:  # the list may do with folders that can be read
        return ""
    return f"; {counted(left_out, 'video file')} there not in it" if left_out else ""


def group_notes(ungrouped: int, total: int, group_pattern: str | None) -> list[str]:
    """How many videos a pattern found no group for."""
    if not ungrouped or group_pattern is None:
        return []
    return [f"{ungrouped} of {counted(total, 'video')} without a match of {group_pattern!r}: each is its own group"]


def empty_split_notes(entries: Sequence[CatalogEntry], fractions: Mapping[str, float]) -> list[str]:
    """Which of the splits that were to be drawn got no video, and why."""
    groups_of: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.label is not None:
            groups_of[entry.label].add(entry.group)
    one_each = all(len(groups) == 1 for groups in groups_of.values())
    reason = "all videos of a class are of one group, which is never cut" if one_each else "there are too few groups"
    drawn = {entry.split for entry in entries}
    wanted = [split for split, fraction in fractions.items() if fraction > 0 and split not in drawn]
    return [f"the split {split} stays empty: {reason}" for split in wanted if groups_of]


def leak_notes(entries: Sequence[CatalogEntry]) -> list[str]:
    """A warning where unlabelled videos share groups with the videos of a test."""
    held_out = {entry.group for entry in entries if entry.split in ("val", "test")}
    shared = Counter(entry.group for entry in entries if entry.split == "unlabelled" and entry.group in held_out)
    if not shared:
        return []
    return [f"{counted(shared.total(), 'unlabelled video')} of groups that val or test use: {shown(sorted(shared), 5)}"]
