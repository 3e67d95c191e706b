"""How fast clips come out of a store, stage by stage, and what share that is of what the machine can do at best.

    read -> decode -> crop -> collate -> (network's device) augment

Each round takes one batch of draws through every stage, so that what else the machine does disturbs all alike; rates
are medians over rounds, and a share is the median of the rounds' ratios. Frames come from the page cache: the first
batch is read before the clock starts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsedense.data.augment import AugmentConfig
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.loader import DrawSampler, TrainingClips, training_loader
from sparsedense.data.loading_stages import LoadingStages
from sparsedense.data.store import FrameStore
from sparsedense.models.devices import resolve_device

_QUEUED_PER_WORKER = 2  # batches that a worker makes ahead; the clock starts when they have been taken


@dataclass(frozen=True, kw_only=True)
class LoadingSpeed:
    """Rates in clips a second; a sparse and a dense clip are two.

    Attributes:
        codec: "jpeg" or "raw".
        short_side: shorter side of the stored frames in pixels.
        clip_length: frames of a clip.
        size: height and width of a clip in pixels.
        batch_size: videos of a batch.
        stages: each stage alone, in one process.
        limit_name: what the limit is.
        limit: rate of the limit, in one process.
        loader: the whole loader, by the number of worker processes.
        share_of_limit: rate of the loader over that of the limit, on as many cores as the workers can have.
    """

    codec: str
    short_side: int
    clip_length: int
    size: int
    batch_size: int
    stages: dict[str, float]
    limit_name: str
    limit: float
    loader: dict[int, float]
    share_of_limit: dict[int, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


def measure_loading(
    store: FrameStore,
    *,
    clips: ClipConfig | None = None,
    augment: AugmentConfig | None = None,
    workers: Sequence[int] = (0, 1, 2),
    batch_size: int = 8,
    rounds: int = 10,
    device: str = "cpu",
) -> LoadingSpeed:
    """Measure the stages and the whole loader on sparse-dense pairs of a store's videos.

    Args:
        store: where the frames are.
        clips: what a clip is.
        augment: how clips are varied.
        workers: numbers of worker processes to try; 0 loads in this process.
        batch_size: videos of a batch.
        rounds: batches that each number is the median of.
        device: where `augment` runs, "cpu", "cuda" or "auto".

    Raises:
        ValueError: a count does not do, this machine has no such device, or no video is long enough.
    """
    found = resolve_device(device)
    clips, augment = clips or ClipConfig(), augment or AugmentConfig()
    if rounds < 1 or batch_size < 1 or not workers or min(workers) < 0:
        raise ValueError(
            f"rounds ({rounds}) and batch_size ({batch_size}) must be at least 1, and workers ({list(workers)}) at "
            f"least one number that is not negative"
        )
    videos = store.videos(min_frames=clips.min_frames)
    if not len(videos):
        raise ValueError(f"{store.path}: no video has the {clips.min_frames} frames that a pair of clips needs")
    dataset = TrainingClips(store, clips, augment, seed=0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stages = _time_stages(dataset, videos, batch_size=batch_size, rounds=rounds, device=found)
        loaders = {
            count: _time_workers(dataset, videos, batch_size=batch_size, rounds=rounds, workers=count)
            for count in workers
            if count
        }
    finally:
        torch.set_num_threads(threads)
    return _summarised(dataset, batch_size, stages, loaders, in_this_process=0 in workers)


def _summarised(
    dataset: TrainingClips,
    batch_size: int,
    stages: dict[str, list[float]],
    loaders: dict[int, float],
    *,
    in_this_process: bool,
) -> LoadingSpeed:
    """Rates and shares from the seconds of a batch: in each stage's rounds, and of loaders by their workers."""
    store, clips = dataset.store, dataset.clips
    clips_in_batch = batch_size * (1 + clips.dense_clips * clips.dense_copies)
    limits, alone = stages.pop("limit"), stages.pop("loader")
    limit = clips_in_batch / median(limits)
    rates = {count: clips_in_batch / seconds for count, seconds in loaders.items()}
    shares = {count: rate / (limit * min(count, os.cpu_count() or 1)) for count, rate in rates.items()}
    if in_this_process:
        rates[0] = clips_in_batch / median(alone)
        shares[0] = median(best / own for best, own in zip(limits, alone, strict=True))
    return LoadingSpeed(
        codec=store.codec,
        short_side=store.short_side,
        clip_length=clips.length,
        size=clips.size,
        batch_size=batch_size,
        stages={name: clips_in_batch / median(seconds) for name, seconds in stages.items()},
        limit_name="JPEG decoder alone" if store.codec == "jpeg" else "copy of the frames (memcpy)",
        limit=limit,
        loader=dict(sorted(rates.items())),
        share_of_limit=dict(sorted(shares.items())),
    )


def _time_stages(
    dataset: TrainingClips, videos: NDArray[np.int64], *, batch_size: int, rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each round in each stage, in the decoder or memcpy alone (`limit`) and in the loader."""
    sampler = DrawSampler(videos, draws_per_epoch=batch_size * (rounds + 1), seed=0)
    loader = iter(training_loader(dataset, sampler, batch_size=batch_size, num_workers=0))
    draws = list(sampler)
    seconds: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        stages = LoadingStages(dataset, draws[number * batch_size : (number + 1) * batch_size], device)
        work: dict[str, Callable[[], object]] = {
            "read": stages.read,
            "limit": stages.limit,
            "loader": loader.__next__,  # beside the limit, to which it is compared
            "decode": stages.decode,
            "crop": stages.crop,
            "collate": stages.collate,
            "augment": stages.augment,
        }
        for name, function in work.items():
            start = time.perf_counter()
            function()
            elapsed = time.perf_counter() - start
            if number:  # the first round fills the caches
                seconds.setdefault(name, []).append(elapsed)
    return seconds


def _time_workers(
    dataset: TrainingClips, videos: NDArray[np.int64], *, batch_size: int, rounds: int, workers: int
) -> float:
    """Seconds a batch once the workers run; they are stopped while they have work, so no batch comes for nothing."""
    queued = _QUEUED_PER_WORKER * workers
    sampler = DrawSampler(videos, draws_per_epoch=batch_size * (rounds + 2 * queued), seed=0)
    batches = iter(training_loader(dataset, sampler, batch_size=batch_size, num_workers=workers))
    for _ in range(queued):
        next(batches)
    start = time.perf_counter()
    for _ in range(rounds):
        next(batches)
    return (time.perf_counter() - start) / rounds
