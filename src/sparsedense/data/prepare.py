"""Videos to a frame store: every file decoded once, in order; broken ones listed with their reason.

source -> catalog -> plan -> worker processes: one part a video -> parent: shards in the order of the plan -> store

The same command again goes on with a run that was interrupted, and brings a finished store up to date with its source.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from sparsedense.data.locations import parse_location
from sparsedense.data.preparation.arguments import PrepareArguments, parse_shard
from sparsedense.data.preparation.preparation import Preparation
from sparsedense.data.preparation.remote_target import target_at
from sparsedense.data.preparation.run import RunSettings
from sparsedense.data.preparation.summary import PrepareProgress, PrepareSummary

EXECUTORS = ("processes", "ray")

__all__ = ["PrepareProgress", "PrepareSummary", "prepare"]


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    dataset: str | None = None,
    split: int = 1,
    lists: str | Path | None = None,
    codec: str = "jpeg",
    short_side: int = 128,
    quality: int = 90,
    min_frames: int = 2,
    group_pattern: str | None = None,
    val_fraction: float | None = None,
    test_fraction: float = 0.2,
    val_groups: Sequence[str] = (),
    test_groups: Sequence[str] = (),
    seed: int = 0,
    shard: str | None = None,
    workers: int | None = None,
    executor: str = "processes",
    stall_seconds: float = 120.0,
    overwrite: bool = False,
    cache: str | Path | None = None,
    max_shard_bytes: int = 1_000_000_000,
    progress: Callable[[PrepareProgress], None] | None = None,
) -> PrepareSummary:
    """Make a frame store from a folder or list of videos, go on with one, or bring one up to date.

    The store appears under its name only when it is complete, and its bytes do not depend on the number of workers or
    on interruptions. Where it exists, only files that are new or have changed are read; groups keep the split that was
    drawn for them, and classes their ids.

    Args:
        source: a folder of class folders or split folders, a CSV, JSONL or Parquet list, or the folder of a public
            data set. The folder, the list, or the paths in it may be URLs (`s3://`, `gs://`, `https://`): each file is
            then copied for as long as it is read.
        out: folder of the store to make, or a URL (`s3://`, `gs://`) to put it to.
        dataset: name of a public data set, read as its owners distribute it; see `sparsedense datasets`.
        split: number of the data set's official split.
        lists: folder with the data set's lists, where they do not lie in the source.
        codec: "jpeg", or "raw" for uncompressed frames, which read faster and take about ten times the space.
        short_side: shorter side in pixels that larger frames are scaled down to.
        quality: JPEG quality, 1 to 100.
        min_frames: videos with fewer frames are rejected.
        group_pattern: regular expression that finds the group in a file's name; see `read_catalog`.
        val_fraction: share of the labelled videos wanted for validation, where the source gives no splits; 0.1 if not
            given, and none of a public data set.
        test_fraction: share of the labelled videos wanted for testing, where the source gives no splits.
        val_groups: groups to validate on, in place of any other split.
        test_groups: groups to test on, in place of any other split.
        seed: seed of the drawn splits.
        shard: I/N takes every N-th video from the I-th on, for a job array; `merge` puts the N stores together.
        workers: number of decoding processes; None takes one a core, 0 decodes in this process, which a broken file
            may then crash.
        executor: "processes" of this machine, or "ray" for those of a Ray cluster, all of whose nodes must see the
            source and `out` (of a store at a URL, `cache`) under the same paths; there, `workers` has no meaning.
        stall_seconds: a file whose decoder gives no frame for so long is given up.
        overwrite: make a store that exists anew.
        cache: folder for what is made of a store at a URL until it is there; `~/.cache/sparsedense` if not given.
        max_shard_bytes: size at which a new shard begins.
        progress: called after each file.

    Raises:
        CatalogError: the source is missing, holds no video that can be used, or contradicts itself.
        StoreError: `out` is something else, was made with other arguments, or cannot be written; or the source has gone
            while it was read.
        FileExistsError: another process makes this store.
        ValueError: an argument is out of range.
        RuntimeError: worker processes cannot be started.
    """
    arguments = PrepareArguments(
        codec=codec,
        short_side=short_side,
        quality=quality,
        min_frames=min_frames,
        max_shard_bytes=max_shard_bytes,
        dataset=dataset,
        split=split,
        lists=None if lists is None else str(lists),
        group_pattern=group_pattern,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        val_groups=val_groups,
        test_groups=test_groups,
        seed=seed,
    )
    if executor not in EXECUTORS:
        raise ValueError(f"executor {executor!r} is not known; use one of {', '.join(EXECUTORS)}")
    settings = RunSettings(
        workers=_num_workers(workers), stall_seconds=stall_seconds, progress=progress, executor=executor
    )
    part, target = parse_shard(shard), target_at(out, cache=cache)
    with target.held():
        return Preparation(parse_location(source), target, arguments, part, settings).run(overwrite=overwrite)


def _num_workers(workers: int | None) -> int:
    if workers is None:
        # Not the cores of the machine but those that this process may use, as in a SLURM job.
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 0:
        raise ValueError(f"workers ({workers}) must be at least 0")
    return workers
