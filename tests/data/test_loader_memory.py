from __future__ import annotations

import gc

import numpy as np
import pytest

from sparsedense.data.augment import AugmentConfig
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.loader import DrawSampler, TrainingClips, training_loader
from sparsedense.data.store import FrameStore
from tests.data.process_memory import HAS_PROC, anonymous_mb, children

BATCH, WARM, MEASURED = 8, 50, 150
CLIPS = ClipConfig(length=8, size=32, min_dense_stride_frames=1.0)


@pytest.mark.skipif(not HAS_PROC, reason="no /proc to read memory from")
@pytest.mark.parametrize("workers", [0, 1])
def test_memory_does_not_grow_with_the_batches(squares: FrameStore, workers: int) -> None:
    """Shortened; `benchmarks/loader_memory.py` takes 10,000 batches. A batch is 0.4 MB, so one kept in 15 is seen."""
    videos = squares.videos(min_frames=CLIPS.min_frames)
    sampler = DrawSampler(videos, draws_per_epoch=BATCH * (WARM + MEASURED + 10), seed=0)
    dataset = TrainingClips(squares, CLIPS, AugmentConfig(), seed=0)
    before_workers = set(children())
    batches = iter(training_loader(dataset, sampler, batch_size=BATCH, num_workers=workers))
    sizes = []
    for count in (WARM, MEASURED):
        for _ in range(count):
            next(batches)
        gc.collect()
        sizes.append([anonymous_mb(), *(anonymous_mb(pid) for pid in sorted(set(children()) - before_workers))])
    assert len(sizes[0]) == 1 + workers
    assert np.max(np.subtract(sizes[1], sizes[0])) < 4
