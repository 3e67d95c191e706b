"""What a source has that a store has not: new files, changed ones, other labels, groups and splits.

A file counts as unchanged while its size and time are what they were, or else its content is. One that has left the
source stays in the store, unless it turns up under another name: then the row gets the new name, class and split.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from sparsedense.data.catalog import Catalog, CatalogEntry
from sparsedense.data.errors import StoreError
from sparsedense.data.listing import counted
from sparsedense.data.locations import Location, absolute
from sparsedense.data.manifest import ManifestRow, StoreInfo, read_rows, read_store_info
from sparsedense.data.preparation.plan import Plan, PlannedVideo
from sparsedense.data.preparation.source_files import SourceFile, hash_content, look_at, read_source_files
from sparsedense.data.shards import sample_metadata
from sparsedense.data.splits import cut_groups, shown

Look: TypeAlias = Callable[[Location], SourceFile | None]
_LOOKS_AT_ONCE = 32  # each waits for a server most of the time


@dataclass(frozen=True, slots=True)
class StoredRows:
    """A finished store as far as an update looks at it.

    Attributes:
        info: what `store.json` says.
        rows: its manifest.
        files: what is known of the source file of each row.
        mark: tells this store from others and from its own later states.
    """

    info: StoreInfo
    rows: Sequence[ManifestRow]
    files: Sequence[SourceFile]
    mark: str

    @property
    def splits(self) -> dict[str, str]:
        """Split of each labelled group; of one that official lists cut, that of its part outside of test."""
        labelled = [row for row in self.rows if row.label is not None]
        of_test = {row.group: row.split for row in labelled if row.split == "test"}
        return of_test | {row.group: row.split for row in labelled if row.split != "test"}


def read_stored(store: Path) -> StoredRows:
    """Read a finished store.

    Raises:
        StoreError: it is none, or a damaged one.
    """
    info, rows = read_store_info(store), read_rows(store)
    digest = hashlib.sha256((store / "store.json").read_bytes())
    digest.update((store / "manifest.parquet").read_bytes())
    return StoredRows(info, rows, read_source_files(store, num_rows=len(rows)), digest.hexdigest())


def plan_update(stored: StoredRows, catalog: Catalog, *, source: str, arguments: Mapping[str, Any]) -> Plan:
    """The plan that brings a store up to date with its source.

    Args:
        stored: the store.
        catalog: the source as it is now.
        source: its absolute path or URL.
        arguments: the arguments of this run.

    Raises:
        StoreError: nothing of the store is in the source, so it is another one; or a group would be cut.
    """
    row_of = {row.path: row.video_id for row in stored.rows}
    videos: list[PlannedVideo | None] = [None] * len(stored.rows)
    new: list[CatalogEntry] = []
    look = _look(catalog)
    for entry in catalog:
        video_id = row_of.get(catalog.name(entry))
        if video_id is None:
            new.append(entry)
        else:
            videos[video_id] = _compared(entry, stored.rows[video_id], stored.files[video_id], look)
    gone = [row.video_id for row, video in zip(stored.rows, videos, strict=True) if video is None]
    if len(gone) == len(stored.rows):
        raise StoreError(
            f"none of the {counted(len(gone), 'video')} of the store is in {source}: it was made from another source; "
            "choose another folder for this one, or use --overwrite"
        )
    added = _moved_or_added(new, gone, videos, stored, catalog, look)
    gone = [row.video_id for row, video in zip(stored.rows, videos, strict=True) if video is None]
    kept = [video or _as_it_was(stored, number) for number, video in enumerate(videos)]
    every = [*kept, *added]
    _check_groups(every, catalog, source)
    names = {video.label for video in every if video.label is not None} - {*stored.info.class_names}
    return Plan(
        source=source,
        arguments=arguments,
        base=stored.mark,
        # New classes come behind the others, so that an id means the same class as long as the store lives.
        class_names=(*stored.info.class_names, *sorted(names)),
        notes=(*catalog.notes, *_notes_of_gone([stored.rows[number].path for number in gone])),
        missing=catalog.missing,
        videos=every,
    )


def changes_nothing(plan: Plan, stored: StoredRows) -> bool:
    """Whether a plan leaves the rows of a store as they are."""
    return len(plan.videos) == len(stored.rows) and all(
        video.file is None and sample_metadata(plan.row(row.video_id)) == sample_metadata(row)
        for video, row in zip(plan.videos, stored.rows, strict=True)
    )


def _look(catalog: Catalog) -> Look:
    """What looks at a file of the catalog; at those at URLs it has looked already, at many at once."""
    urls = [entry.path for entry in catalog if isinstance(entry.path, str)]
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        found = dict(zip(urls, pool.map(partial(look_at, listed=True), urls), strict=True))
    return lambda path: found[path] if isinstance(path, str) else look_at(path)


def _compared(entry: CatalogEntry, row: ManifestRow, known: SourceFile, look: Look) -> PlannedVideo:
    """A video that the store has, to be read again only where its file has changed."""
    video = PlannedVideo(row.path, entry.label, entry.group, entry.split, source=known)
    found = look(entry.path)
    if found is None:  # it may come back; until then the store has what it had
        return video
    if not known.retry and found.same_version(known):
        return video
    if not known.retry and found.num_bytes == known.num_bytes and hash_content(entry.path) == known.sha256:
        return replace(video, source=known.seen_as(found))
    return replace(video, file=absolute(entry.path))


def _moved_or_added(
    new: Iterable[CatalogEntry],
    gone: Iterable[int],
    videos: list[PlannedVideo | None],
    stored: StoredRows,
    catalog: Catalog,
    look: Look,
) -> list[PlannedVideo]:
    """Put files that only have another name into their rows; returns those that are new."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for number in gone:
        if stored.files[number].sha256:
            by_size[stored.files[number].num_bytes].append(number)
    added = []
    for entry in new:
        video = PlannedVideo(catalog.name(entry), entry.label, entry.group, entry.split, absolute(entry.path))
        found = look(entry.path)
        candidates = by_size.get(found.num_bytes, []) if found is not None else []
        sha256 = hash_content(entry.path) if candidates else None
        match = next((number for number in candidates if stored.files[number].sha256 == sha256), None)
        if match is None or found is None or stored.files[match].retry:
            added.append(video)
        else:
            candidates.remove(match)
            known = stored.files[match].seen_as(found)
            videos[match] = replace(video, file=None, source=known)
    return added


def _as_it_was(stored: StoredRows, number: int) -> PlannedVideo:
    row = stored.rows[number]
    return PlannedVideo(row.path, row.label, row.group, row.split, source=stored.files[number])


def _check_groups(videos: Sequence[PlannedVideo], catalog: Catalog, source: str) -> None:
    by_lists = cut_groups([entry.group for entry in catalog], [entry.split for entry in catalog])
    cut = cut_groups([video.group for video in videos], [video.split for video in videos])
    cut = [group for group in cut if group not in by_lists]
    if cut:
        raise StoreError(
            f"the store has videos that left {source} and are of groups that now have another split: {shown(cut)}; "
            "put these videos back, or use --overwrite to make the store without them"
        )


def _notes_of_gone(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    count = counted(len(names), "video")
    return [f"{count} no longer in the source, kept in the store ({shown(names, 3)}); --overwrite leaves them out"]
