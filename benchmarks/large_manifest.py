"""How long a training on a store of very many videos takes to begin, and what memory it needs.

    python benchmarks/large_manifest.py [--videos 10000000] [--workers 2] [--json OUT]
    python benchmarks/large_manifest.py --videos 100000                # to try it

The manifest has a row of its own for each video, with paths and groups of usual length; the frames of all are those of
a few small videos, because only the manifest is measured. A new process opens the store, chooses the videos of a
pretraining, and takes the first batches from its workers, once with forked and once with spawned ones. It shall take
at most 10 s after the imports and 1 GB at its peak, imports included, and a worker 200 MB beyond torch: the memory that
is its own alone, less, where it was spawned, that of a process that has imported torch. The main process is judged by
its anonymous memory; its resident set holds the code of the libraries besides, which all processes share. Spawned
workers import torch before their first batch, so that their time is shown but not judged.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from sparsedense.data.store import FrameStore
    from sparsedense.training.clip_streams import ClipStreams

MOST_SECONDS, MOST_MAIN_MB, MOST_WORKER_MB = 10.0, 1000.0, 200.0
CLASSES, ROWS_AT_ONCE, BATCHES = 700, 1 << 20, 20


def write_large_store(folder: Path, videos: int) -> None:
    """A store whose manifest has many rows; one in a hundred was rejected, one in ten has a label."""
    from footage import film
    from sparsedense.data.manifest import SCHEMA, read_store_info, write_store_info
    from sparsedense.data.prepare import prepare

    film(folder.parent / "videos", videos=4, frames=120, height=48, width=64)
    prepare(folder.parent / "videos", folder, short_side=48, test_fraction=0, val_fraction=0)
    stored = pq.read_table(folder / "manifest.parquet")
    with pq.ParquetWriter(folder / "manifest.parquet", SCHEMA) as writer:
        for first in range(0, videos, ROWS_AT_ONCE):
            writer.write_table(many_rows(stored, np.arange(first, min(first + ROWS_AT_ONCE, videos))))
    names = tuple(f"class {number:03d}" for number in range(CLASSES))
    info = read_store_info(folder)
    write_store_info(folder, replace(info, class_names=names, num_videos=videos - videos // 100))


def many_rows(stored: pa.Table, ids: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Table:
    """Rows of the manifest, with the frames of the stored videos in turn."""
    from sparsedense.data.manifest import SCHEMA

    number = pa.array(ids).cast(pa.string())
    taken = stored.take(pa.array(ids % len(stored)))
    columns = {name: taken[name].combine_chunks() for name in SCHEMA.names}
    rejected, label = ids % 100 == 7, np.where(ids % 10 == 0, ids // 10 % CLASSES, -1)
    split = np.where(label < 0, "unlabelled", np.where(ids % 200 == 0, "val", "train"))
    columns |= {
        "video_id": pa.array(ids),
        "path": pc.binary_join_element_wise("train/some action/", number, "_000095_000105.mp4", ""),
        "group": pc.binary_join_element_wise("source ", number, ""),
        "label_id": pa.array(label.astype(np.int32)),
        "label": pa.array(np.where(label < 0, "", np.char.add("class ", label.astype(str))), mask=label < 0),
        "split": pa.array(split),
        "status": pa.array(np.where(rejected, "rejected", "ok")),
        "num_frames": pa.array(np.where(rejected, 0, taken["num_frames"].to_numpy()).astype(np.int32)),
    }
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def begin(store: Path, workers: int, method: str) -> dict[str, float]:
    """Begin a pretraining, as far as the data go; in a process of its own."""
    imports = time.perf_counter()
    import torch

    from sparsedense.data.store import FrameStore
    from sparsedense.training.run_folder import describe_store

    torch.multiprocessing.set_start_method(method)
    torch.set_num_threads(1)
    streams_of = pretraining_streams(workers)
    started = time.perf_counter()
    with PeakWatch() as peaks:
        opened = FrameStore(store)
        describe_store(opened)
        streams = streams_of(opened)
        chosen = time.perf_counter()
        batches = iter(streams.train_dataloader())
        next(batches)
        first = time.perf_counter()
        for _ in range(BATCHES):
            next(batches)
    children = [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    of_workers = [private_mb(pid) for pid in children if is_worker(pid, method)]
    return {
        "import_seconds": started - imports,
        "choose_seconds": chosen - started,
        "first_batch_seconds": first - chosen,
        "seconds": first - started,
        "main_mb": peaks.most,
        "main_resident_mb": status_mb("VmHWM"),
        "worker_mb": max(of_workers),
        "workers": len(of_workers),
    }


def pretraining_streams(workers: int) -> Callable[[FrameStore], ClipStreams]:
    """What chooses the videos of a pretraining from a store."""
    from sparsedense.config import experiment_from_dict
    from sparsedense.training.clip_streams import ClipStreams, video_pools
    from sparsedense.training.plan import Phase, TrainingPlan

    values = {
        "clips": {"length": 8, "size": 32, "min_dense_stride_frames": 1.0},
        "pretrain": {"batch_size": 8},
        "machine": {"num_workers": workers},
    }
    experiment = experiment_from_dict(values, source="benchmark")
    plan = TrainingPlan(Phase.PRETRAIN, experiment.pretrain, experiment.objective)

    def streams(store: FrameStore) -> ClipStreams:
        made = ClipStreams(store, video_pools(store, experiment, Phase.PRETRAIN), experiment, plan)
        stand_in: Any = SimpleNamespace(current_epoch=0, global_rank=0, world_size=1)
        made.trainer = stand_in
        return made

    return streams


def is_worker(pid: int, method: str) -> bool:
    """Whether a child is a loader's worker, not multiprocessing's resource tracker."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return method == "fork" or b"spawn_main" in command


def private_mb(pid: int | str) -> float:
    """Memory that no other process has, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def status_mb(field: str) -> float:
    """A figure of this process's memory in MB, as the kernel names it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


class PeakWatch:
    """Looks at the anonymous memory of this process all the time, in a thread, because the kernel keeps no peak of it.

    Attributes:
        most: the most that was seen, in MB.
    """

    def __init__(self) -> None:
        self.most = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(0.005):
            self.most = max(self.most, status_mb("RssAnon"))


def in_process(*arguments: str) -> dict[str, float]:
    """Run this file in a new process; what it prints last is JSON."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    parser.add_argument("--begin", nargs=2, metavar=("STORE", "METHOD"), help=argparse.SUPPRESS)
    parser.add_argument("--torch-alone", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def judge(found: dict[str, dict[str, float]]) -> bool:
    """Print the figures of both ways to start workers; whether they keep to the limits."""
    header = ("workers", "import s", "choose s", "1st batch s", "main MB", "resident MB", "a worker MB")
    names = ("import_seconds", "choose_seconds", "first_batch_seconds", "main_mb", "main_resident_mb", "worker_mb")
    print("".join(f"{title:>13}" for title in header))
    met = True
    for method, values in found.items():
        met &= method == "spawn" or values["seconds"] <= MOST_SECONDS
        met &= values["main_mb"] <= MOST_MAIN_MB and values["worker_mb"] <= MOST_WORKER_MB
        print(f"{method:>13}" + "".join(f"{values[name]:>13.1f}" for name in names))
    limits = f"{MOST_SECONDS:.0f} s (forked), {MOST_MAIN_MB:.0f} MB, {MOST_WORKER_MB:.0f} MB"
    print(f"limits: {limits}: {'met' if met else 'EXCEEDED'}")
    return met


def main() -> int:
    """Measure, print, and return 1 where a limit is exceeded."""
    arguments = parse_arguments()
    if arguments.begin:
        print(json.dumps(begin(Path(arguments.begin[0]), arguments.workers, arguments.begin[1])))
        return 0
    if arguments.torch_alone:
        __import__("torch")
        print(json.dumps({"mb": private_mb("self")}))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        write_large_store(store, arguments.videos)
        size_mb = (store / "manifest.parquet").stat().st_size / 2**20
        torch_mb = in_process("--torch-alone")["mb"]
        count = ["--workers", str(arguments.workers)]
        found = {method: in_process("--begin", str(store), method, *count) for method in ("fork", "spawn")}
    found["spawn"]["worker_mb"] -= torch_mb
    print(f"{arguments.videos:,} videos, manifest of {size_mb:.0f} MB; torch alone {torch_mb:.0f} MB")
    met = judge(found)
    if arguments.json:
        arguments.json.write_text(json.dumps({"videos": arguments.videos, **found}, indent=2) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
