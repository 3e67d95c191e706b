"""Batches streamed shard by shard, for stores that are too large or too far away to be read at random.

    StreamingLoader -> StreamingClips, in each worker -> StreamOrder: which videos -> TrainingClips: their clips

Each shard of a store at a URL is copied once a machine and epoch, the next ones while the current ones are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from sparsedense.data.loader import ClipBatch, ClipLoader, TrainingClips, pack_batch, prepare_worker
from sparsedense.data.remote_store import RemoteStore
from sparsedense.data.stream_order import StreamOrder, Stretch, batch_stretch, num_batches, rank_stretch


class StreamingClips(IterableDataset[ClipBatch]):
    """The batches of one process from a certain one on; each worker makes its own.

    Args:
        dataset: makes the clips.
        order: the videos of an epoch.
        epoch: which epoch.
        part: the positions that this process reads.
        batch_size: videos of a batch.
        start: number of the first batch.
    """

    def __init__(
        self, dataset: TrainingClips, order: StreamOrder, *, epoch: int, part: Stretch, batch_size: int, start: int
    ) -> None:
        self._dataset, self._order, self._epoch = dataset, order, epoch
        self._part, self._batch_size, self._start = part, batch_size, start

    def __iter__(self) -> Iterator[ClipBatch]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        store = self._dataset.store
        # One worker copies what comes next; the others would only wait for the same files.
        ahead = (
            _Ahead(store, self._order, self._epoch, self._part)
            if isinstance(store, RemoteStore) and not first
            else None
        )
        try:
            for number in range(self._start + first, num_batches(self._part, self._batch_size), step):
                stretch = batch_stretch(self._part, number, self._batch_size)
                if ahead is not None:
                    ahead.reach(stretch.first)
                yield self._dataset.batch(self._order.draws(self._epoch, stretch))
        finally:
            if ahead is not None:
                ahead.stop()


class _Ahead:
    """Copies the shards of the next window in a thread, while those of the current one are read."""

    def __init__(self, store: RemoteStore, order: StreamOrder, epoch: int, part: Stretch) -> None:
        self._store, self._order, self._epoch, self._part = store, order, epoch, part
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shards-ahead")
        self._window_end = -1
        self._copying: Future[None] | None = None

    def reach(self, position: int) -> None:
        """Begin with the next window when a new one is reached.

        Raises:
            StoreError: a shard could not be copied.
        """
        if position < self._window_end:
            return
        if self._copying is not None:
            self._copying.result()
        self._window_end = self._order.window_end(self._epoch, position)
        if self._window_end < self._part.last:
            shards = self._order.shards_at(self._epoch, self._window_end)
            self._copying = self._pool.submit(self._store.fetch_shards, shards)

    def stop(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class StreamingLoader:
    """Training batches of a store, streamed shard by shard.

    Each iteration is an epoch, in a new order. The videos are split over processes and workers without overlap; the
    batches are the same for any number of workers. `state_dict` after any batch, loaded into another loader, gives the
    batches that would have come next, also with another number of workers.

    Args:
        dataset: makes the clips of a draw.
        video_ids: videos to stream.
        batch_size: videos of a batch.
        seed: seed of the order.
        num_workers: worker processes; 0 loads in this one.
        rank: number of this training process.
        world_size: training processes that share an epoch.
        window_shards: shards whose videos are mixed; twice as many are in the cache at a time.
        whole_batches: leave out what is no full batch for every process, as training needs it; otherwise every video
            comes.

    Raises:
        ValueError: there is nothing to stream, or not a batch for each process.
    """

    def __init__(
        self,
        dataset: TrainingClips,
        video_ids: NDArray[np.int64],
        *,
        batch_size: int,
        seed: int,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        window_shards: int = 8,
        whole_batches: bool = True,
    ) -> None:
        shards = dataset.store.shard_numbers(video_ids)
        self._order = StreamOrder(video_ids, shards, seed=seed, window_shards=window_shards)
        self._part = rank_stretch(
            len(video_ids), rank=rank, world_size=world_size, batch_size=batch_size, whole_batches=whole_batches
        )
        self._dataset, self._num_workers = dataset, num_workers
        self._batch_size, self._world_size = batch_size, world_size
        self._epoch, self._batches, self._resumed = 0, 0, False

    def __len__(self) -> int:
        """Batches of an epoch in this process."""
        return num_batches(self._part, self._batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that comes next; one that was resumed in its middle goes on there."""
        if epoch != self._epoch:
            self._epoch, self._batches, self._resumed = epoch, 0, False

    def __iter__(self) -> Iterator[ClipBatch]:
        if not self._resumed:
            self._batches = 0
        self._resumed = False
        for batch in self._loader(start=self._batches):
            self._batches += 1
            yield batch
        self._epoch, self._batches = self._epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Where the stream is, behind the last batch that was given out, and what it was made with."""
        return {"epoch": self._epoch, "batches": self._batches, **self._made_with()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on behind the last batch of another loader.

        Raises:
            ValueError: the other one was of other videos, or made other batches.
        """
        for name, own in self._made_with().items():
            if state[name] != own:
                raise ValueError(f"the stream to go on with had {name} {state[name]}, this one has {own}; use the same")
        self._epoch, self._batches, self._resumed = state["epoch"], state["batches"], True

    def _made_with(self) -> dict[str, int]:
        return {
            "videos": len(self._order),
            "seed": self._order.seed,
            "batch_size": self._batch_size,
            "world_size": self._world_size,
        }

    def _loader(self, start: int) -> ClipLoader:
        clips = StreamingClips(
            self._dataset, self._order, epoch=self._epoch, part=self._part, batch_size=self._batch_size, start=start
        )
        return ClipLoader(
            clips,
            batch_size=None,
            collate_fn=pack_batch,
            num_workers=self._num_workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=prepare_worker,
        )
