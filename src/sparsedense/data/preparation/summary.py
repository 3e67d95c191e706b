"""What `prepare` tells: how far it has come, and what it made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sparsedense.data.class_gaps import class_gaps
from sparsedense.data.locations import Location
from sparsedense.data.manifest import ManifestRow, StoreInfo


@dataclass(frozen=True, slots=True)
class PrepareProgress:
    """How far `prepare` has come.

    Attributes:
        done: files finished, including rejected ones and those of a run that was interrupted.
        total: files to read.
        rejected: files that cannot be used.
        frames: frames stored.
        seconds: time since the start of this run.
        done_before: files that an interrupted run had finished.
        frames_before: frames that it had stored.
    """

    done: int
    total: int
    rejected: int
    frames: int
    seconds: float
    done_before: int = 0
    frames_before: int = 0

    @property
    def files_per_second(self) -> float:
        """Files finished a second, in this run."""
        return (self.done - self.done_before) / self.seconds if self.seconds > 0 else 0.0

    @property
    def frames_per_second(self) -> float:
        """Frames stored a second, in this run."""
        return (self.frames - self.frames_before) / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class PrepareSummary:
    """What `prepare` or `merge_stores` made; counts are of the whole store.

    Attributes:
        store: folder or URL of the frame store.
        ok: videos stored.
        rejected: files that cannot be used.
        frames: frames stored.
        seconds: time it took.
        rejects: path and reason of each rejected file.
        damaged: path and reason of each stored video that lacks its end.
        notes: what a person should know of how the source was read, and files with the same content.
        warnings: classes without a training or a test video; none of the store of a part of the source.
        files_read: files that this call read; the others were there, from an interrupted run or in the store.
        frames_read: frames that this call stored.
        resumed: whether it went on from an interrupted run.
        changed: whether the store differs from what it was; False says that there was nothing to do.
    """

    store: Location
    ok: int
    rejected: int
    frames: int
    seconds: float
    rejects: list[tuple[str, str]]
    damaged: list[tuple[str, str]]
    notes: list[str]
    warnings: list[str] = field(default_factory=list)
    files_read: int = 0
    frames_read: int = 0
    resumed: bool = False
    changed: bool = True


def summary_of(store: Location, info: StoreInfo, rows: Sequence[ManifestRow]) -> PrepareSummary:
    """The summary of a store, before it is told what this run did.

    Args:
        store: its folder or URL.
        info: what `store.json` says.
        rows: its manifest.
    """
    return PrepareSummary(
        store=store,
        ok=info.num_videos,
        rejected=info.num_rejected,
        frames=info.num_frames,
        seconds=0.0,
        rejects=[(row.path, row.reason or "") for row in rows if row.status == "rejected"],
        damaged=[(row.path, row.reason) for row in rows if row.status == "ok" and row.reason],
        notes=list(info.notes),
        warnings=[] if info.shard else class_gaps((row.label, row.group, row.split, row.status) for row in rows),
        changed=False,
    )
