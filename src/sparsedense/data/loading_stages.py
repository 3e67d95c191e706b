"""The stages between a store and a training step, each by itself, on the clips of one batch."""

import math
from collections.abc import Sequence

import numpy as np
import simplejpeg
import torch

from sparsedense.data.augment import (
    add_noise,
    flip_clips,
    jitter_colours,
    random_crop_box,
    random_flips,
    to_float,
)
from sparsedense.data.loader import Draw, TrainingClips
from sparsedense.data.resize import crop_and_resize


class LoadingStages:
    """Each method does one stage for all videos of a batch; what it needs from the stage before was made beforehand.

    Args:
        dataset: sparse-dense pairs of a store.
        draws: the videos.
        device: where `augment` runs.
    """

    def __init__(self, dataset: TrainingClips, draws: Sequence[Draw], device: torch.device) -> None:
        self._store, self._clips, self._config = dataset.store, dataset.clips, dataset.augment
        self._device = device
        self._draws = draws
        self._dataset, self._plans = dataset, [dataset.plan(draw) for draw in draws]
        self._indices = [dataset.wanted(plan).reshape(-1) for plan in self._plans]
        self._stored = [
            frame
            for draw, indices in zip(draws, self._indices, strict=True)
            for frame in self._store.stored_bytes(draw.video_id, np.unique(indices))
        ]
        self._frames = [self._store.read(draw.video_id, rows) for draw, rows in zip(draws, self._indices, strict=True)]
        self._batch = dataset.batch(draws)
        largest = max(math.prod(self._store.frame_size(draw.video_id)) for draw in draws)
        self._buffer = np.empty(3 * largest, dtype=np.uint8)

    def read(self) -> None:
        """Copy the stored bytes out of the mapped file."""
        for stored in self._stored:
            stored.tobytes()

    def limit(self) -> None:
        """What cannot be avoided: the JPEG decoder alone, or one copy of the raw pixels, into warm memory."""
        if self._store.codec == "jpeg":
            for stored in self._stored:
                simplejpeg.decode_jpeg(stored, "RGB", buffer=self._buffer)
        else:
            for stored in self._stored:
                np.copyto(self._buffer[: len(stored)], stored)

    def decode(self) -> None:
        """Read and decode whole frames."""
        for draw, indices in zip(self._draws, self._indices, strict=True):
            self._store.read(draw.video_id, indices)

    def crop(self) -> None:
        """Cut a random window out of the frames and resize it."""
        for draw, frames in zip(self._draws, self._frames, strict=True):
            rng = np.random.default_rng(draw)
            box = random_crop_box(frames.shape[-2], frames.shape[-1], self._config, rng)
            crop_and_resize(frames, box, self._clips.size)

    def collate(self) -> None:
        """Make the batch that the loader decodes into: memory for the clips, and all else that it says of them."""
        self._dataset.empty_batch(self._plans)

    def augment(self) -> None:
        """Turn the batch into float and change colours, noise and side, as a training step does it."""
        for clips in (self._batch["dense"], self._batch["sparse"]):
            generators = [np.random.default_rng(clip) for clip in range(len(clips))]
            flips = random_flips(self._config.flip_probability, generators)
            changed = jitter_colours(to_float(clips.to(self._device)), self._config, generators)
            flip_clips(add_noise(changed, self._config, generators), flips)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
