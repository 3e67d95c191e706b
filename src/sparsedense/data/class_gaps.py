"""Classes that a store has no training or no test video of, and why: what a training would pass over in silence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from sparsedense.data.listing import counted
from sparsedense.data.splits import shown

_MOST_NAMES = 5
_ROLES = {"train": "training", "test": "test"}


@dataclass(slots=True)
class _ClassVideos:
    """Splits and groups of the videos of a class that can be read, and the splits of those that were rejected."""

    splits: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)


def class_gaps(videos: Iterable[tuple[str | None, str, str, str]]) -> list[str]:
    """Sentences that name the classes without a training or a test video, by the reason.

    A class needs none where the source has none of any class: a store may be there to be tested on alone.

    Args:
        videos: label, group, split and status ("ok" or "rejected") of each row of a manifest.
    """
    classes: dict[str, _ClassVideos] = defaultdict(_ClassVideos)
    for label, group, split, status in videos:
        if label is None:
            continue
        found = classes[label]
        if status == "ok":
            found.splits.add(split)
            found.groups.add(group)
        else:
            found.rejected.add(split)
    wanted = set[str]().union(*(found.splits | found.rejected for found in classes.values()))
    return [gap for split, role in _ROLES.items() if split in wanted for gap in _gaps_of(classes, split, role)]


def _gaps_of(classes: dict[str, _ClassVideos], split: str, role: str) -> list[str]:
    names: dict[str, list[str]] = defaultdict(list)
    for name, found in sorted(classes.items()):
        if split not in found.splits:
            names[_reason(found, split)].append(name)
    return [
        f"{counted(len(lacking), 'class', 'classes')} without a {role} video ({reason}): {shown(lacking, _MOST_NAMES)}"
        for reason, lacking in names.items()
    ]


def _reason(found: _ClassVideos, split: str) -> str:
    if split in found.rejected or not found.splits:
        return "the other videos were rejected" if found.splits else "all videos were rejected"
    if len(found.groups) == 1:
        return "all videos of the class are of one group"
    return "the splits put none there"
