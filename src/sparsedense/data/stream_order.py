"""The order in which shards are streamed, and who reads what: pure functions of numbers and a seed.

    shards of an epoch    | 4 1 | 7 0 | 3 6 | 2 5 |    in a random order, in windows of a few
    videos                  mixed within each window, so that only the shards of a window are open at a time
    processes             |   rank 0  |  rank 1   |    a stretch of the videos each
    batches of a rank     | 0 | 1 | 2 | 3 | 4 | 5 |    worker w of W makes w, w + W, w + 2 W, ...

A loader takes the batches of its workers in turn, so their order is the same for any number of workers, and a training
goes on anywhere when it knows how many batches it has had.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.loader import Draw


class Stretch(NamedTuple):
    """Positions of an epoch, from the first to before the last."""

    first: int
    last: int


class _Window(NamedTuple):
    epoch: int
    first: int
    last: int
    shards: NDArray[np.integer[Any]]
    videos: NDArray[np.int64]


class StreamOrder:
    """The videos of each epoch, shard by shard.

    Args:
        video_ids: the videos to stream (N,).
        shard_numbers: number of the shard of each (N,).
        seed: with the epoch, decides the order.
        window_shards: shards whose videos are mixed.

    Raises:
        ValueError: there is no video, or no shard in a window.
    """

    def __init__(
        self, video_ids: NDArray[np.int64], shard_numbers: NDArray[np.integer[Any]], *, seed: int, window_shards: int
    ) -> None:
        if not len(video_ids) or window_shards < 1:
            raise ValueError(
                f"there must be a video to stream ({len(video_ids)}) and at least one shard in a window "
                f"({window_shards})"
            )
        by_shard = np.argsort(shard_numbers, kind="stable")
        self._video_ids = video_ids[by_shard]
        self._shards, starts = np.unique(shard_numbers[by_shard], return_index=True)
        self._bounds = np.append(starts, len(video_ids))
        self.seed, self._window_shards = seed, window_shards
        self._latest: _Window | None = None

    def __len__(self) -> int:
        return len(self._video_ids)

    def draws(self, epoch: int, stretch: Stretch) -> list[Draw]:
        """The draws at some positions of an epoch."""
        drawn: list[Draw] = []
        position = stretch.first
        while position < stretch.last:
            window = self._window_at(epoch, position)
            stop = min(stretch.last, window.last)
            taken = window.videos[position - window.first : stop - window.first].tolist()
            drawn += [Draw(video, epoch, position + offset) for offset, video in enumerate(taken)]
            position = stop
        return drawn

    def shards_at(self, epoch: int, position: int) -> list[int]:
        """Numbers of the shards of the window at a position; none behind the end."""
        return self._window_at(epoch, position).shards.tolist() if position < len(self) else []

    def window_end(self, epoch: int, position: int) -> int:
        """The first position behind the window that holds a position."""
        return self._window_at(epoch, position).last

    def _window_at(self, epoch: int, position: int) -> _Window:
        last = self._latest
        if last is None or last.epoch != epoch or not last.first <= position < last.last:
            last = self._latest = self._make_window(epoch, position)
        return last

    def _make_window(self, epoch: int, position: int) -> _Window:
        shards = np.random.default_rng((self.seed, epoch)).permutation(len(self._shards))
        lengths = np.diff(self._bounds)[shards]
        starts = np.arange(0, len(shards), self._window_shards)
        ends = np.cumsum(np.add.reduceat(lengths, starts))
        number = int(np.searchsorted(ends, position, side="right"))
        inside = shards[starts[number] : starts[number] + self._window_shards]
        videos = np.concatenate([self._video_ids[self._bounds[i] : self._bounds[i + 1]] for i in inside])
        # Two words more than the order of the shards has, so that the two are independent of each other.
        mixed = np.random.default_rng((self.seed, epoch, number, 1)).permutation(videos)
        return _Window(epoch, int(ends[number]) - len(mixed), int(ends[number]), self._shards[inside], mixed)


def rank_stretch(total: int, *, rank: int, world_size: int, batch_size: int, whole_batches: bool) -> Stretch:
    """The positions of an epoch that a process reads.

    Args:
        total: videos of the epoch.
        rank: number of the process.
        world_size: how many processes share the epoch.
        batch_size: videos of a batch.
        whole_batches: all processes get the same number of full batches, and fewer videos than `world_size` batches
            have are left out; otherwise each video is read, and some processes read one more than others.

    Raises:
        ValueError: the rank is none, or there is no whole batch for each process.
    """
    if not 0 <= rank < world_size or batch_size < 1:
        raise ValueError(
            f"rank ({rank}) must be from 0 to below world_size ({world_size}), batch_size ({batch_size}) 1"
        )
    if not whole_batches:
        return Stretch(total * rank // world_size, total * (rank + 1) // world_size)
    length = total // (world_size * batch_size) * batch_size
    if not length:
        raise ValueError(
            f"{total} videos are no batch of {batch_size} for each of {world_size} processes; lower batch_size"
        )
    return Stretch(rank * length, (rank + 1) * length)


def batch_stretch(part: Stretch, number: int, batch_size: int) -> Stretch:
    """The positions of a process's batch; the last one may be smaller."""
    first = part.first + number * batch_size
    return Stretch(first, min(first + batch_size, part.last))


def num_batches(part: Stretch, batch_size: int) -> int:
    """How many batches a process has."""
    return -(-(part.last - part.first) // batch_size)
