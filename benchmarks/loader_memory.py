"""Whether a loader's memory grows with the batches: 10,000 of them, in this process and in a worker.

    python benchmarks/loader_memory.py [--batches 10000] [--workers 0,1] [--store STORE] [--json OUT]
    python benchmarks/loader_memory.py --batches 300                    # to try it

After a tenth of the batches the memory of every process is noted; from then on none may grow by more than 8 MB. It is
anonymous memory: the mapped pages of the shards, which the system takes back when it needs them, do not count.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
from pathlib import Path

import torch

from footage import film

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.data.process_memory import anonymous_mb, children  # noqa: E402

from sparsedense.data.augment import AugmentConfig  # noqa: E402 (the path comes first)
from sparsedense.data.clip_config import ClipConfig  # noqa: E402
from sparsedense.data.loader import DrawSampler, TrainingClips, training_loader  # noqa: E402
from sparsedense.data.prepare import prepare  # noqa: E402
from sparsedense.data.store import FrameStore  # noqa: E402

MOST_GROWTH_MB = 8.0
LOOKS = 10


def measure(store: FrameStore, *, batches: int, workers: int) -> list[list[float]]:
    """Memory in MB of this process and of each worker, after every tenth of the batches."""
    clips = ClipConfig(length=8, size=32, min_dense_stride_frames=1.0)
    sampler = DrawSampler(store.videos(min_frames=clips.min_frames), draws_per_epoch=8 * (batches + 16), seed=0)
    dataset = TrainingClips(store, clips, AugmentConfig(), seed=0)
    others = set(children())
    loader = iter(training_loader(dataset, sampler, batch_size=8, num_workers=workers))
    found = []
    for _ in range(LOOKS):
        for _ in range(batches // LOOKS):
            next(loader)
        gc.collect()
        found.append([anonymous_mb(), *(anonymous_mb(pid) for pid in sorted(set(children()) - others))])
    return found


def main() -> int:
    """Measure, print, and return 1 where memory grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--workers", default="0,1", help="numbers of worker processes to try")
    parser.add_argument("--store", type=Path, help="a store of one's own; a small one is made if not given")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, object] = {"batches": arguments.batches}
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.store or Path(folder) / "store"
        if arguments.store is None:
            film(Path(folder) / "videos", videos=6, frames=80, height=48, width=64)
            prepare(Path(folder) / "videos", path, short_side=48, workers=0, test_fraction=0, val_fraction=0)
        for workers in (int(count) for count in arguments.workers.split(",")):
            found = measure(FrameStore(path), batches=arguments.batches, workers=workers)
            growth = max(last - first for first, last in zip(found[0], found[-1], strict=True))
            passed &= growth <= MOST_GROWTH_MB
            result[f"workers {workers}"] = {"memory_mb": found, "growth_mb": growth}
            print(f"{workers} workers: {found[0]} MB after a tenth, {found[-1]} MB at the end: {growth:+.1f} MB")
    print(f"limit {MOST_GROWTH_MB} MB: {'met' if passed else 'EXCEEDED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
