"""Videos to a frame store: every file decoded once, in order; broken ones listed with their reason.

source -> catalog -> worker processes: one part a video -> parent: shards in catalog order -> manifest -> store
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sparsedense.data.catalog import Catalog, CatalogEntry, read_catalog
from sparsedense.data.errors import CatalogError, StoreError
from sparsedense.data.ingest import FrameFormat, IngestJob, IngestResult, ingest
from sparsedense.data.listing import counted
from sparsedense.data.manifest import ManifestRow, StoreInfo, write_manifest, write_store_info
from sparsedense.data.ordered_pool import ordered_map
from sparsedense.data.shards import CODECS, ShardWriter


@dataclass(frozen=True, slots=True)
class PrepareProgress:
    """How far `prepare` has come.

    Attributes:
        done: files finished, including rejected ones.
        total: files of the source.
        rejected: files that cannot be used.
        frames: frames stored.
        seconds: time since the start.
    """

    done: int
    total: int
    rejected: int
    frames: int
    seconds: float

    @property
    def files_per_second(self) -> float:
        """Files finished a second, since the start."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def frames_per_second(self) -> float:
        """Frames stored a second, since the start."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class PrepareSummary:
    """What `prepare` made.

    Attributes:
        store: folder of the frame store.
        ok: videos stored.
        rejected: files that cannot be used.
        frames: frames stored.
        seconds: time it took.
        rejects: path and reason of each rejected file.
        damaged: path and reason of each stored video that lacks its end.
        notes: what a person should know of how the source was read.
    """

    store: Path
    ok: int
    rejected: int
    frames: int
    seconds: float
    rejects: list[tuple[str, str]]
    damaged: list[tuple[str, str]]
    notes: list[str]


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    codec: str = "jpeg",
    short_side: int = 128,
    quality: int = 90,
    min_frames: int = 2,
    group_pattern: str | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    val_groups: Sequence[str] = (),
    test_groups: Sequence[str] = (),
    seed: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
    max_shard_bytes: int = 1_000_000_000,
    progress: Callable[[PrepareProgress], None] | None = None,
) -> PrepareSummary:
    """Make a frame store from a folder or list of videos.

    The store appears under its name only when it is complete, and its bytes do not depend on the number of workers.

    Args:
        source: a folder of class folders or split folders, or a CSV or JSONL file; see `sparsedense.data.catalog`.
        out: folder of the store to make.
        codec: "jpeg", or "raw" for uncompressed frames, which read faster and take about ten times the space.
        short_side: shorter side in pixels that larger frames are scaled down to.
        quality: JPEG quality, 1 to 100.
        min_frames: videos with fewer frames are rejected.
        group_pattern: regular expression that finds the group in a file's name; see `read_catalog`.
        val_fraction: share of the labelled videos wanted for validation, where the source gives no splits.
        test_fraction: share of the labelled videos wanted for testing, where the source gives no splits.
        val_groups: groups to validate on, in place of any other split.
        test_groups: groups to test on, in place of any other split.
        seed: seed of the drawn splits.
        workers: number of decoding processes; None takes one a core, 1 stays in this process.
        overwrite: replace a store that exists.
        max_shard_bytes: size at which a new shard begins.
        progress: called after each file.

    Raises:
        CatalogError: the source is missing, holds no video that can be used, or contradicts itself.
        StoreError: `out` exists, or cannot be written.
        ValueError: an argument is out of range.
        RuntimeError: worker processes cannot be started.
    """
    frame_format = FrameFormat(codec=codec, short_side=short_side, quality=quality, min_frames=min_frames)
    workers = os.cpu_count() or 1 if workers is None else workers
    _check_arguments(frame_format, workers)
    out = Path(out)
    _check_target(out, overwrite=overwrite)
    catalog = read_catalog(
        source,
        group_pattern=group_pattern,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        val_groups=val_groups,
        test_groups=test_groups,
        seed=seed,
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that the finished store can be renamed into place.
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        try:
            job = _Preparation(catalog, partial, frame_format, Path(source).resolve().name, progress)
            summary = job.run(workers=min(workers, len(catalog)), max_shard_bytes=max_shard_bytes)
            _move_into_place(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:  # of writing: what cannot be read is a rejected file
        raise StoreError(f"cannot write the store {out}: {error}; free the space or choose another place") from error
    return replace(summary, store=out)


class _Preparation:
    """One run of `prepare` in a folder of its own."""

    def __init__(
        self,
        catalog: Catalog,
        store: Path,
        frame_format: FrameFormat,
        source_name: str,
        progress: Callable[[PrepareProgress], None] | None,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._parts = store / "parts"
        self._format = frame_format
        self._source_name = source_name
        self._progress = progress
        self._class_names = tuple(sorted({entry.label for entry in catalog if entry.label is not None}))
        self._label_ids = {name: index for index, name in enumerate(self._class_names)}
        self._rows: list[ManifestRow] = []
        self._num_frames = 0
        self._num_rejected = 0
        self._start = time.perf_counter()

    def run(self, *, workers: int, max_shard_bytes: int) -> PrepareSummary:
        self._parts.mkdir()
        shards = ShardWriter(self._store, max_bytes=max_shard_bytes)
        jobs = map(self._job, range(len(self._catalog)))
        try:
            for result in ordered_map(ingest, jobs, workers=workers, crashed=_crashed):
                self._take(result, shards)
            shards.close()
        finally:
            shards.abandon()
        shutil.rmtree(self._parts)
        return self._finish(shards.num_shards)

    def _job(self, video_id: int) -> IngestJob:
        entry, key = self._catalog[video_id], f"{video_id:08d}"
        return IngestJob(
            path=entry.path,
            part=self._parts / key,
            key=key,
            frame_format=self._format,
            metadata={
                "path": self._catalog.name(entry),
                "label": entry.label,
                "label_id": self._label_id(entry),
                "group": entry.group,
                "split": entry.split,
            },
        )

    def _take(self, result: IngestResult, shards: ShardWriter) -> None:
        """Put the result of the next video of the catalog into shards and manifest."""
        video_id = len(self._rows)
        part = self._parts / f"{video_id:08d}"
        shard, index_start = (-1, -1) if result.spans is None else shards.append(part, result.spans)
        part.unlink(missing_ok=True)
        self._rows.append(self._row(video_id, result, shard, index_start))
        self._num_frames += result.num_frames
        self._num_rejected += result.spans is None
        if self._progress is not None:
            seconds = time.perf_counter() - self._start
            done, total = len(self._rows), len(self._catalog)
            self._progress(PrepareProgress(done, total, self._num_rejected, self._num_frames, seconds))

    def _row(self, video_id: int, result: IngestResult, shard: int, index_start: int) -> ManifestRow:
        entry = self._catalog[video_id]
        return ManifestRow(
            video_id=video_id,
            path=self._catalog.name(entry),
            label=entry.label,
            label_id=self._label_id(entry),
            group=entry.group,
            split=entry.split,
            status="rejected" if result.spans is None else "ok",
            reason=result.reason,
            num_frames=result.num_frames,
            fps=result.fps,
            width=result.width,
            height=result.height,
            source_width=result.source_width,
            source_height=result.source_height,
            shard=shard,
            index_start=index_start,
        )

    def _label_id(self, entry: CatalogEntry) -> int:
        return -1 if entry.label is None else self._label_ids[entry.label]

    def _finish(self, num_shards: int) -> PrepareSummary:
        rejects = [(row.path, row.reason or "") for row in self._rows if row.status == "rejected"]
        damaged = [(row.path, row.reason) for row in self._rows if row.status == "ok" and row.reason]
        num_videos = len(self._rows) - len(rejects)
        if not num_videos:
            reasons = "; ".join(f"{path}: {reason}" for path, reason in rejects[:5])
            more = ", ..." if len(rejects) > 5 else ""
            count = counted(len(rejects), "video")
            raise CatalogError(f"none of the {count} of {self._source_name} can be used ({reasons}{more})")
        info = StoreInfo(
            codec=self._format.codec,
            short_side=self._format.short_side,
            quality=self._format.quality,
            min_frames=self._format.min_frames,
            class_names=self._class_names,
            source=self._source_name,
            num_videos=num_videos,
            num_rejected=len(rejects),
            num_frames=self._num_frames,
            num_shards=num_shards,
            notes=self._catalog.notes,
        )
        write_manifest(self._store, self._rows)
        write_store_info(self._store, info)  # last: a folder without it is no store
        seconds = time.perf_counter() - self._start
        return PrepareSummary(
            self._store, num_videos, len(rejects), self._num_frames, seconds, rejects, damaged, list(info.notes)
        )


def _crashed(job: IngestJob) -> IngestResult:
    return IngestResult(reason="the decoder crashed")


def _check_arguments(frame_format: FrameFormat, workers: int) -> None:
    if frame_format.codec not in CODECS:
        raise ValueError(f"codec {frame_format.codec!r} is not known; use one of {', '.join(CODECS)}")
    if not 1 <= frame_format.quality <= 100:
        raise ValueError(f"quality ({frame_format.quality}) must be from 1 to 100")
    for name, value in (
        ("short_side", frame_format.short_side),
        ("min_frames", frame_format.min_frames),
        ("workers", workers),
    ):
        if value < 1:
            raise ValueError(f"{name} ({value}) must be at least 1")


def _check_target(out: Path, *, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / "store.json").is_file():
        raise StoreError(f"{out} exists and is not a frame store; choose another folder, nothing was changed")
    if not overwrite:
        raise StoreError(f"{out} is a frame store already; use --overwrite to make it again, or choose another folder")


def _move_into_place(partial: Path, out: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    partial.chmod(0o777 & ~mask)  # a temporary folder is private
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
        out.replace(old)
        partial.replace(out)
        shutil.rmtree(old)
    else:
        partial.replace(out)
