"""From what official lists say and what lies on the disk to a catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sparsedense.data.catalog import Catalog, CatalogEntry
from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted
from sparsedense.data.splits import cut_groups, shown


@dataclass(frozen=True, slots=True)
class OfficialEntry:
    """One video as a data set's lists name it.

    Attributes:
        name: as the list has it, for messages.
        key: what a `VideoIndex` finds it by.
        label: class name, or None for a video to be used without it.
        group: what must not be split: the recording that the clip was cut from, where the data set tells.
        split: "train", "val", "test" or "unlabelled".
    """

    name: str
    key: str
    label: str | None
    group: str
    split: str


def official_catalog(
    description: DatasetDescription,
    index: VideoIndex,
    entries: Sequence[OfficialEntry],
    *,
    notes: Iterable[str] = (),
    prefer: str = "",
    groups_are_whole: bool = False,
) -> Catalog:
    """The catalog of the listed videos that are there; the others are counted in a note and named in `missing`.

    Args:
        description: the data set, for messages.
        index: the videos on the disk.
        entries: the lists' videos, in the order that the catalog shall have.
        notes: what else a person should know.
        prefer: folder to take a video from that is there several times.
        groups_are_whole: whether the official lists never cut a group; then a cut one means wrong lists.

    Raises:
        CatalogError: none of the listed videos is there, or the lists contradict themselves.
    """
    entries = _without_repetitions(description, entries)
    found: list[CatalogEntry] = []
    missing: list[OfficialEntry] = []
    for entry in entries:
        path = index.find(entry.key, prefer=prefer)
        if path is None:
            missing.append(entry)
        else:
            found.append(CatalogEntry(path, entry.label, entry.group, entry.split))
    if not found:
        raise CatalogError(_nothing_found(description, index, entries))
    return Catalog(
        index.root,
        tuple(found),
        (*notes, *_missing_notes(entries, missing), *_unused_notes(index), *_group_notes(found, groups_are_whole)),
        missing=tuple(entry.name for entry in missing),
    )


def _without_repetitions(description: DatasetDescription, entries: Sequence[OfficialEntry]) -> list[OfficialEntry]:
    """Each video once: lists of several releases repeat each other."""
    first: dict[str, OfficialEntry] = {}
    for entry in entries:
        known = first.setdefault(entry.key, entry)
        if (known.label, known.split) != (entry.label, entry.split):
            raise CatalogError(
                f"the lists of {description.title} contradict themselves: {known.name!r} is {known.label!r} in "
                f"{known.split} and {entry.label!r} in {entry.split}; keep the lists of one release in the folder"
            )
    return list(first.values())


def _nothing_found(description: DatasetDescription, index: VideoIndex, entries: Sequence[OfficialEntry]) -> str:
    there = shown(index.unused(), 3) if len(index) else "no videos at all"
    wanted = entries[0].name if entries else "nothing"
    return (
        f"none of the {counted(len(entries), 'video')} in the lists of {description.title} is below {index.root}: "
        f"expected such as {wanted!r}, found {there}. The layout that is expected:\n{description.layout}"
    )


def _missing_notes(entries: Sequence[OfficialEntry], missing: Sequence[OfficialEntry]) -> list[str]:
    if not missing:
        return []
    listed, absent = (Counter(entry.split for entry in of) for of in (entries, missing))
    shares = ", ".join(f"{split} {absent[split]:,} of {listed[split]:,}" for split in listed if absent[split])
    return [
        f"{counted(len(missing), 'listed video')} missing ({shares}): "
        f"{shown([entry.name for entry in missing], 3)}; compare with published numbers only where all are there"
    ]


def _unused_notes(index: VideoIndex) -> list[str]:
    unused = index.unused()
    return [f"{counted(len(unused), 'video')} in no list left out: {shown(unused, 3)}"] if unused else []


def _group_notes(found: Sequence[CatalogEntry], groups_are_whole: bool) -> list[str]:
    groups = [entry.group for entry in found]
    cut = set(cut_groups(groups, [entry.split for entry in found]))
    notes = []
    if cut and groups_are_whole:
        raise CatalogError(
            f"the lists put groups into more than one of train, val and test, which the official ones do not: "
            f"{shown(sorted(cut))}; download the lists again"
        )
    if cut:
        test = sum(entry.group in cut and entry.split in ("val", "test") for entry in found)
        notes.append(
            f"the official lists cut {counted(len(cut), 'group')}: {counted(test, 'val or test video')} come from "
            f"recordings that are trained on too, such as {shown(sorted(cut), 3)}"
        )
    held_out = {entry.group for entry in found if entry.split in ("val", "test")}
    leaks = sum(entry.split == "unlabelled" and entry.group in held_out for entry in found)
    if leaks:
        notes.append(f"{counted(leaks, 'unlabelled video')} of groups that val or test use")
    return notes
