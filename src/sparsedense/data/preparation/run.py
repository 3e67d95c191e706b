"""Carry out a plan: worker processes decode, the parent puts parts into shards in the order of the plan.

    work/plan.parquet    what is to be done
    work/journal.jsonl   what is done: its frames are on the disk
    work/parts/          finished videos that wait for their turn, and what is being written
    work/spans/          the rows of the indices

A part is deleted only when the journal has it, so a run that is killed loses what its workers had half done, no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sparsedense.data.errors import StoreError
from sparsedense.data.locations import Location, parse_location
from sparsedense.data.preparation.ingest import FrameFormat, IngestJob, IngestResult, ingest, result_path
from sparsedense.data.preparation.journal import JournalEntry, append_entries, recover_entries
from sparsedense.data.preparation.ordered_pool import ordered_map
from sparsedense.data.preparation.plan import Plan
from sparsedense.data.preparation.ray_pool import ordered_map_on_ray
from sparsedense.data.preparation.source_files import SourceFile, look_at
from sparsedense.data.preparation.summary import PrepareProgress
from sparsedense.data.remote_files import RemoteFileError, is_there
from sparsedense.data.shards import Place, ShardWriter, sample_metadata

COMMIT_SECONDS = 2.0  # waiting for the disk costs milliseconds, what it may cost to lose this much costs seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How a run works; what it makes does not depend on it.

    Attributes:
        workers: decoding processes; 0 decodes in this process.
        stall_seconds: a decoder that gives no frame for so long is ended.
        progress: called after each file.
        executor: "processes" of this machine, or "ray" for those of a cluster.
    """

    workers: int
    stall_seconds: float
    progress: Callable[[PrepareProgress], None] | None
    executor: str = "processes"


class PrepareRun:
    """Reads the files of a plan into shards.

    Args:
        plan: what to do.
        store: the partial store.
        work: the folder for what is needed only until the store is complete.
        frame_format: how to store the frames.
        settings: how to work.
        first_shard: number of the first shard to write.
        ship: called with the number of each shard that a run that goes on will not look at again, maybe more than once.

    Attributes:
        entries: the finished videos, those of an interrupted run first.
        num_before: how many of them an interrupted run had finished.
        num_shards: number of the store's shards.
    """

    def __init__(
        self,
        plan: Plan,
        store: Path,
        work: Path,
        *,
        frame_format: FrameFormat,
        settings: RunSettings,
        first_shard: int = 0,
        ship: Callable[[int], None] = lambda _number: None,
    ) -> None:
        self._plan = plan
        self._ship, self._num_shipped = ship, first_shard
        self._format = frame_format
        self._settings = settings
        self._parts = (work / "parts").absolute()  # the processes of a cluster have other working folders
        self._journal = work / "journal.jsonl"
        self._todo = [video_id for video_id, video in enumerate(plan.videos) if video.file is not None]
        self._shards = ShardWriter(
            store, spans=work / "spans", max_bytes=plan.arguments["max_shard_bytes"], first_shard=first_shard
        )
        self.entries: list[JournalEntry] = recover_entries(self._journal)
        self.num_before = len(self.entries)
        self._frames_before = sum(entry.row.num_frames for entry in self.entries)
        self._num_committed = self.num_before
        self._num_frames = self._frames_before
        self._num_rejected = sum(entry.row.status == "rejected" for entry in self.entries)
        self._started = self._committed = time.perf_counter()

    @property
    def num_shards(self) -> int:
        """Shards of the store, those before the first one written included."""
        return self._shards.num_shards

    @property
    def num_frames(self) -> int:
        """Frames that this run stored, without those of an interrupted one."""
        return self._num_frames - self._frames_before

    def run(self) -> None:
        """Read what is not read yet.

        Raises:
            StoreError: the source has gone.
            OSError: the store cannot be written.
            RuntimeError: worker processes cannot be started.
        """
        self._recover()
        todo = self._todo[self.num_before :]
        try:
            for result in self._results(todo):
                self._take(result)
            self._shards.close()
            self._commit()
        finally:
            self._shards.abandon()

    def _results(self, todo: Sequence[int]) -> Iterator[IngestResult]:
        settings = self._settings
        jobs = map(self._job, todo)
        if settings.executor == "ray" and todo:
            return ordered_map_on_ray(
                ingest, jobs, shared=self._parts, failed=_failed, stall_seconds=settings.stall_seconds
            )
        workers = min(settings.workers, len(todo))
        return ordered_map(ingest, jobs, workers=workers, failed=_failed, stall_seconds=settings.stall_seconds)

    def _recover(self) -> None:
        """Go back to what the journal has, and keep parts that wait for their turn."""
        places = [
            (Place(entry.row.shard, entry.row.index_start, entry.end), entry.row.num_frames)
            for entry in self.entries[::-1]
            if entry.row.status == "ok"
        ]
        self._shards.resume(*(places[0] if places else (None, 0)))
        self._parts.mkdir(exist_ok=True)
        waiting = {_key(video_id) for video_id in self._todo[self.num_before :]}
        for path in self._parts.iterdir():
            key, _, rest = path.name.partition(".")
            if key not in waiting or rest not in ("", "json"):
                path.unlink()

    def _job(self, video_id: int) -> IngestJob:
        video = self._plan.videos[video_id]
        if video.file is None:
            raise AssertionError(f"video {video_id} has no file to read")
        return IngestJob(
            path=video.file,
            part=self._parts / _key(video_id),
            key=_key(video_id),
            frame_format=self._format,
            metadata=sample_metadata(self._plan.row(video_id)),
        )

    def _take(self, result: IngestResult) -> None:
        """Put the result of the next video into the shards."""
        video_id = self._todo[len(self.entries)]
        if result.source.retry:
            _check_source(parse_location(self._plan.source), self._plan.videos[video_id].path, result.reason)
        place = Place(-1, -1, -1)
        if result.spans is not None:
            place = self._shards.append(self._parts / _key(video_id), result.spans)
        row = replace(
            self._plan.row(video_id),
            status="rejected" if result.spans is None else "ok",
            reason=result.reason,
            num_frames=result.num_frames,
            fps=result.fps,
            width=result.width,
            height=result.height,
            source_width=result.source_width,
            source_height=result.source_height,
            shard=place.shard,
            index_start=place.index_start,
        )
        self.entries.append(JournalEntry(row, result.source, place.end))
        self._num_frames += result.num_frames
        self._num_rejected += result.spans is None
        if time.perf_counter() - self._committed > COMMIT_SECONDS:
            self._commit()
        self._tell()

    def _commit(self) -> None:
        """Wait until what is finished is on the disk, write it down, and delete its parts."""
        finished: Sequence[JournalEntry] = self.entries[self._num_committed :]
        self._shards.commit()
        append_entries(self._journal, finished)
        self._num_committed = len(self.entries)
        for entry in finished:
            part = self._parts / _key(entry.row.video_id)
            result_path(part).unlink(missing_ok=True)
            part.unlink(missing_ok=True)
        while self._num_shipped < max((entry.row.shard for entry in finished), default=-1):
            self._ship(self._num_shipped)
            self._num_shipped += 1
        self._committed = time.perf_counter()

    def _tell(self) -> None:
        if self._settings.progress is not None:
            seconds = time.perf_counter() - self._started
            done, total = len(self.entries), len(self._todo)
            self._settings.progress(
                PrepareProgress(
                    done, total, self._num_rejected, self._num_frames, seconds, self.num_before, self._frames_before
                )
            )


def _key(video_id: int) -> str:
    return f"{video_id:08d}"


def _failed(job: IngestJob, reason: str) -> IngestResult:
    return IngestResult(reason=reason, source=replace(look_at(job.path) or SourceFile(), retry=True))


def _check_source(source: Location, name: str, reason: str | None) -> None:
    """Stop where it is not one file that cannot be read, but the source that has gone: a disk, a network, a folder.

    Raises:
        StoreError: the source is missing, empty, or cannot be listed.
    """
    try:
        if _has_something(source):
            return
        trouble = "is empty"
    except OSError as error:
        trouble = f"cannot be read ({error.strerror})"
    except RemoteFileError as error:
        trouble = error.reason
    raise StoreError(
        f"the source {source} {trouble} since {name} ({reason}); bring it back and run the same command again: what is "
        "finished is kept"
    )


def _has_something(source: Location) -> bool:
    if isinstance(source, str):
        return is_there(source)
    return source.is_file() or any(source.iterdir())
