"""From finished shards to a store: shards that were there before, manifest, source files, `store.json`."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sparsedense.data.manifest import (
    ManifestRow,
    StoreInfo,
    shard_index_path,
    shard_path,
    write_manifest,
    write_store_info,
)
from sparsedense.data.preparation.duplicates import duplicate_notes
from sparsedense.data.preparation.journal import JournalEntry
from sparsedense.data.preparation.plan import Plan
from sparsedense.data.preparation.repack import rewrite_shard
from sparsedense.data.preparation.source_files import SourceFile, write_source_files
from sparsedense.data.preparation.store_target import StoreTarget
from sparsedense.data.preparation.update import StoredRows
from sparsedense.data.shards import sample_metadata

_MISSING = "missing.txt"


def merged_rows(
    plan: Plan, entries: Sequence[JournalEntry], stored: StoredRows | None
) -> tuple[list[ManifestRow], list[SourceFile]]:
    """The manifest of the store to come: rows that were read, and rows that are kept with the metadata of the plan.

    Args:
        plan: what was to be done.
        entries: what was read.
        stored: the store that is brought up to date; None for a new one.
    """
    read = {entry.row.video_id: entry for entry in entries}
    rows, files = [], []
    for video_id, video in enumerate(plan.videos):
        if video_id in read:
            rows.append(read[video_id].row)
            files.append(read[video_id].source)
        elif stored is not None:
            today = plan.row(video_id)
            kept = stored.rows[video_id]
            rows.append(
                replace(
                    kept,
                    path=today.path,
                    label=today.label,
                    label_id=today.label_id,
                    group=today.group,
                    split=today.split,
                )
            )
            files.append(video.source)
    return rows, files


def take_over_shards(
    rows: list[ManifestRow], stored: StoredRows, *, target: StoreTarget, codec: str, scratch: Path
) -> None:
    """Put the shards of a store into its successor: as links, or written again where something in them has changed.

    Args:
        rows: the manifest to come; places of rows in shards that are written again are put in.
        stored: the store.
        target: where it is, and its successor will be; of a store at a URL, only shards that change are copied.
        codec: "jpeg" or "raw".
        scratch: a folder that may be made and removed.
    """
    base, store = target.out, target.partial
    before: dict[int, list[ManifestRow]] = defaultdict(list)
    for row in stored.rows:
        before[row.shard].append(row)
    for number in range(stored.info.num_shards):
        kept = [row for old in before[number] if (row := rows[old.video_id]).shard == number]
        unchanged = all(
            rows[old.video_id].shard == number and sample_metadata(rows[old.video_id]) == sample_metadata(old)
            for old in before[number]
        )
        if unchanged:
            if target.has_shard(number):
                for path_of in (shard_path, shard_index_path):
                    _link(path_of(base, number), path_of(store, number))
            continue
        target.fetch_shard(number)
        kept.sort(key=lambda row: row.index_start)
        _clear(scratch)
        starts = rewrite_shard(base, codec, kept, number=number, scratch=scratch)
        for path_of in (shard_path, shard_index_path):
            path_of(scratch, number).replace(path_of(store, number))
        for row, start in zip(kept, starts, strict=True):
            rows[row.video_id] = replace(row, index_start=start)
    _clear(scratch)


def write_store(
    store: Path, plan: Plan, rows: Sequence[ManifestRow], files: Sequence[SourceFile], *, num_shards: int
) -> StoreInfo:
    """Write what makes a folder with shards a store.

    Args:
        store: the folder.
        plan: what was to be done.
        rows: the manifest.
        files: what is known of the source file of each row.
        num_shards: number of shards.

    Raises:
        OSError: they cannot be written.
    """
    num_rejected = sum(row.status == "rejected" for row in rows)
    arguments = plan.arguments
    info = StoreInfo(
        codec=arguments["codec"],
        short_side=arguments["short_side"],
        quality=arguments["quality"],
        min_frames=arguments["min_frames"],
        class_names=plan.class_names,
        source=Path(plan.source).name,
        num_videos=len(rows) - num_rejected,
        num_rejected=num_rejected,
        num_frames=sum(row.num_frames for row in rows),
        num_shards=num_shards,
        # A part of a source sees only its own copies; `merge` looks at all.
        notes=(*plan.notes, *(duplicate_notes(rows, files) if plan.shard is None else ())),
        arguments=arguments,
        shard=plan.shard,
    )
    write_manifest(store, rows)
    write_source_files(store, files)
    _write_missing(store, plan.missing)
    write_store_info(store, info)  # last: a folder without it is no store
    return info


def read_missing(store: Path) -> list[str]:
    """Names of the videos that the store's source listed and did not have, from `missing.txt`."""
    path = store / _MISSING
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _write_missing(store: Path, names: Sequence[str]) -> None:
    path = store / _MISSING
    if names:
        path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def _link(path: Path, place: Path) -> None:
    """A second name for a file that nobody changes; a copy where the file system has no such thing."""
    place.unlink(missing_ok=True)
    try:
        os.link(path, place)
    except OSError:
        shutil.copyfile(path, place)


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
