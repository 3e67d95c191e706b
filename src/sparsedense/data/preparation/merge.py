"""Several stores to one, without decoding: the parts of a job array, or stores of different sources.

The N stores of `prepare --shard I/N` become, byte for byte, the store that one run would have made.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsedense.data.errors import StoreError
from sparsedense.data.file_cache import DEFAULT_CACHE
from sparsedense.data.listing import counted
from sparsedense.data.locations import file_name
from sparsedense.data.manifest import ManifestRow
from sparsedense.data.preparation.duplicates import is_duplicate_note
from sparsedense.data.preparation.plan import Plan, PlannedVideo
from sparsedense.data.preparation.remote_target import target_at
from sparsedense.data.preparation.repack import samples_of
from sparsedense.data.preparation.store_assembly import read_missing, write_store
from sparsedense.data.preparation.store_target import StoreTarget
from sparsedense.data.preparation.summary import PrepareSummary, summary_of
from sparsedense.data.preparation.update import StoredRows, read_stored
from sparsedense.data.shards import ShardWriter, sample_metadata
from sparsedense.data.splits import cut_groups, shown
from sparsedense.video.url import is_url

_FORMAT = ("codec", "short_side", "quality", "min_frames")


def merge_stores(
    stores: Sequence[str | Path],
    out: str | Path,
    *,
    overwrite: bool = False,
    max_shard_bytes: int | None = None,
    cache: str | Path | None = None,
) -> PrepareSummary:
    """Put stores together.

    Args:
        stores: folders or URLs of stores with the same frame format: all parts of one source, in any order, or stores
            of whole sources, whose videos follow each other.
        out: folder or URL of the store to make.
        overwrite: replace a store that exists.
        max_shard_bytes: size at which a new shard begins; None takes that of the first store.
        cache: folder for copies of stores at URLs, and for what is made of one; `~/.cache/sparsedense` if not given.

    Raises:
        StoreError: a part is missing or there twice, the stores do not go together, or `out` exists or cannot be
            written.
        FileExistsError: another process makes this store.
    """
    start = time.perf_counter()
    if len(stores) < 2:
        raise StoreError(f"{counted(len(stores), 'store')} given; at least two are needed")
    paths = [_on_this_machine(store, cache) for store in stores]
    target = target_at(out, cache=cache)
    with target.held():
        if target.exists and not overwrite:
            raise StoreError(f"{out} is a frame store already; use --overwrite to replace it, or choose another folder")
        if target.plan.exists():
            raise StoreError(f"{out} belongs to an unfinished run of prepare; finish it, or choose another folder")
        found = [read_stored(path) for path in paths]
        if not any(stored.info.num_videos for stored in found):
            raise StoreError(f"none of the {len(found)} stores holds a video that can be used")
        _check_format(paths, found)
        order = _order(paths, found)
        plan = _plan(target, paths, found, order, max_shard_bytes)
        target.start()
        olds = [(number, found[number].rows[row]) for number, row in order]
        rows, num_shards = _copied(plan, paths, olds, target)
        info = write_store(target.partial, plan, rows, [video.source for video in plan.videos], num_shards=num_shards)
        target.publish()
    summary = summary_of(target.name, info, rows)
    return replace(summary, seconds=time.perf_counter() - start, changed=True)


def _on_this_machine(store: str | Path, cache: str | Path | None) -> Path:
    if not isinstance(store, str) or not is_url(store):
        return Path(store)
    from sparsedense.data.remote_store import RemoteStore  # here: it brings torch, which takes seconds

    return RemoteStore(store, cache=DEFAULT_CACHE if cache is None else cache).fetch_all()


def _check_format(paths: Sequence[Path], found: Sequence[StoredRows]) -> None:
    first = found[0].info
    for path, stored in zip(paths, found, strict=True):
        for name in _FORMAT:
            if getattr(stored.info, name) != getattr(first, name):
                raise StoreError(
                    f"{path} has {name} {getattr(stored.info, name)!r} and {paths[0]} has {getattr(first, name)!r}; "
                    "stores to merge must have the same frame format"
                )


def _order(paths: Sequence[Path], found: Sequence[StoredRows]) -> list[tuple[int, int]]:
    """Store and row of each video of the merged store."""
    parts = [stored.info.shard for stored in found]
    if all(part is None for part in parts):
        order = [(number, row) for number, stored in enumerate(found) for row in range(len(stored.rows))]
        _check_paths(paths, found)
        return order
    numbers = _numbers_of_parts(paths, parts)
    by_number = [numbers.index(number) for number in range(1, len(paths) + 1)]
    # Part I has every N-th video from the I-th on.
    longest = max(len(stored.rows) for stored in found)
    return [(number, row) for row in range(longest) for number in by_number if row < len(found[number].rows)]


def _numbers_of_parts(paths: Sequence[Path], parts: Sequence[Mapping[str, Any] | None]) -> list[int]:
    numbers = []
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if part is None or first is None:
            whole = path if part is None else paths[0]
            raise StoreError(f"{whole} is the store of a whole source and others are parts; merge the parts first")
        if (part["catalog"], part["count"]) != (first["catalog"], first["count"]):
            raise StoreError(
                f"{path} is part {part['number']}/{part['count']} of another list of videos than {paths[0]} "
                f"({first['number']}/{first['count']}): the source has changed between them; prepare all parts again"
            )
        numbers.append(int(part["number"]))
    count = 0 if first is None else int(first["count"])
    missing = sorted({*range(1, count + 1)} - {*numbers})
    twice = sorted(number for number, times in Counter(numbers).items() if times > 1)
    for what, which in (("missing", missing), ("given twice", twice)):
        if which:
            raise StoreError(f"of {count} parts, {shown([f'{number}/{count}' for number in which])} are {what}")
    return numbers


def _check_paths(paths: Sequence[Path], found: Sequence[StoredRows]) -> None:
    seen: dict[str, Path] = {}
    for path, stored in zip(paths, found, strict=True):
        for row in stored.rows:
            if row.path in seen:
                raise StoreError(
                    f"{row.path} is in {seen[row.path]} and in {path}; names must differ, rename one source"
                )
            seen[row.path] = path


def _check_groups(found: Sequence[StoredRows]) -> None:
    """Refuse a group that two stores have in different splits; one that official lists cut is cut in its own store."""
    stores = [[(row.group, row.split) for row in stored.rows] for stored in found]
    by_lists = {group for pairs in stores for group in _cut(pairs)}
    cut = [group for group in _cut([pair for pairs in stores for pair in pairs]) if group not in by_lists]
    if cut:
        raise StoreError(f"the stores have groups in more than one of train, val and test: {shown(cut)}")


def _cut(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return cut_groups([group for group, _ in pairs], [split for _, split in pairs])


def _plan(
    target: StoreTarget,
    paths: Sequence[Path],
    found: Sequence[StoredRows],
    order: Sequence[tuple[int, int]],
    max_shard_bytes: int | None,
) -> Plan:
    """What the merged store is going to be."""
    videos = []
    for store, number in order:
        row = found[store].rows[number]
        videos.append(PlannedVideo(row.path, row.label, row.group, row.split, source=found[store].files[number]))
    first = found[0].info
    is_part = first.shard is not None
    if not is_part:  # the parts of one source have the groups and splits of one list
        _check_groups(found)
    arguments = dict(first.arguments) if is_part else {}
    arguments.update({name: getattr(first, name) for name in _FORMAT})
    arguments["max_shard_bytes"] = max_shard_bytes or first.arguments.get("max_shard_bytes", 1_000_000_000)
    names = {name for stored in found for name in stored.info.class_names}
    notes = dict.fromkeys(note for stored in found for note in stored.info.notes if not is_duplicate_note(note))
    return Plan(
        source=first.source if is_part else file_name(target.name),
        arguments=arguments,
        class_names=first.class_names if is_part else tuple(sorted(names)),
        notes=tuple(notes),
        missing=tuple(dict.fromkeys(name for path in paths for name in read_missing(path))),
        videos=videos,
    )


def _copied(
    plan: Plan, paths: Sequence[Path], olds: Sequence[tuple[int, ManifestRow]], target: StoreTarget
) -> tuple[list[ManifestRow], int]:
    """Copy samples into new shards.

    Args:
        plan: the merged store.
        paths: the stores.
        olds: for each video of the merged store, its store and its row there.
        target: where to put them.

    Returns:
        the manifest, and the number of shards.
    """
    shards = ShardWriter(target.partial, spans=target.work / "spans", max_bytes=plan.arguments["max_shard_bytes"])
    part = target.work / "part"
    rows: list[ManifestRow] = []
    with ExitStack() as stack:
        stack.callback(shards.abandon)
        readers = [stack.enter_context(samples_of(path, plan.arguments["codec"])) for path in paths]
        for video_id, (store, old) in enumerate(olds):
            row = replace(old, video_id=video_id, label_id=plan.row(video_id).label_id)
            if row.status == "ok":
                spans = readers[store].copy(old, part, key=f"{video_id:08d}", changes=sample_metadata(row))
                place = shards.append(part, spans)
                row = replace(row, shard=place.shard, index_start=place.index_start)
            rows.append(row)
        shards.close()
    return rows, shards.num_shards
