from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsedense.data.loader import Draw
from sparsedense.data.stream_order import StreamOrder, Stretch, batch_stretch, num_batches, rank_stretch

LAW = settings(deadline=None, max_examples=150)


class Stream(NamedTuple):
    """How a stream is split."""

    videos_of_shards: list[int]
    world_size: int
    workers: int
    batch_size: int
    window_shards: int
    seed: int
    epoch: int

    @property
    def shard_numbers(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self.videos_of_shards)), self.videos_of_shards)

    @property
    def order(self) -> StreamOrder:
        ids = 1000 + np.arange(len(self.shard_numbers))
        return StreamOrder(ids, self.shard_numbers, seed=self.seed, window_shards=self.window_shards)

    def of_worker(self, rank: int, worker: int, *, whole_batches: bool, start: int = 0) -> list[list[Draw]]:
        """The batches that a worker makes."""
        order = self.order
        part = rank_stretch(
            len(order),
            rank=rank,
            world_size=self.world_size,
            batch_size=self.batch_size,
            whole_batches=whole_batches,
        )
        numbers = range(start + worker, num_batches(part, self.batch_size), self.workers)
        return [order.draws(self.epoch, batch_stretch(part, number, self.batch_size)) for number in numbers]


STREAMS = st.builds(
    Stream,
    st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(0, 99),
    st.integers(0, 3),
)


@LAW
@given(STREAMS)
def test_every_video_comes_once_to_one_worker_of_one_process(stream: Stream) -> None:
    drawn = [
        draw
        for rank in range(stream.world_size)
        for worker in range(stream.workers)
        for batch in stream.of_worker(rank, worker, whole_batches=False)
        for draw in batch
    ]
    total = len(stream.order)
    assert sorted(draw.video_id for draw in drawn) == list(range(1000, 1000 + total))
    assert sorted(draw.position for draw in drawn) == list(range(total))


@LAW
@given(STREAMS)
def test_with_whole_batches_all_processes_take_as_many_steps(stream: Stream) -> None:
    total = len(stream.order)
    if total < stream.world_size * stream.batch_size:
        with pytest.raises(ValueError, match="lower batch_size"):
            stream.of_worker(0, 0, whole_batches=True)
        return
    ranks = [
        [batch for worker in range(stream.workers) for batch in stream.of_worker(rank, worker, whole_batches=True)]
        for rank in range(stream.world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    assert all(len(batch) == stream.batch_size for batches in ranks for batch in batches)
    drawn = [draw.video_id for batches in ranks for batch in batches for draw in batch]
    assert len(set(drawn)) == len(drawn)
    assert total - len(drawn) < stream.world_size * stream.batch_size


@LAW
@given(STREAMS)
def test_workers_in_turn_give_the_batches_of_one(stream: Stream) -> None:
    alone = stream._replace(workers=1).of_worker(0, 0, whole_batches=False)
    for start in (0, 1, 2):
        shared = [stream.of_worker(0, worker, whole_batches=False, start=start) for worker in range(stream.workers)]
        longest = max(len(batches) for batches in shared)
        in_turn = [batches[turn] for turn in range(longest) for batches in shared if turn < len(batches)]
        assert in_turn == alone[start:]


@LAW
@given(STREAMS)
def test_only_the_shards_of_a_window_are_needed_at_a_time(stream: Stream) -> None:
    order, total = stream.order, len(stream.order)
    position, windows = 0, []
    while position < total:
        end = order.window_end(stream.epoch, position)
        shards = order.shards_at(stream.epoch, position)
        videos = [draw.video_id for draw in order.draws(stream.epoch, Stretch(position, end))]
        assert {int(stream.shard_numbers[video - 1000]) for video in videos} == set(shards)
        assert len(shards) <= stream.window_shards
        windows.append(shards)
        position = end
    assert position == total
    assert order.shards_at(stream.epoch, total) == []
    seen = [shard for window in windows for shard in window]
    assert sorted(seen) == [number for number, count in enumerate(stream.videos_of_shards) if count]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        made = StreamOrder(np.arange(60), np.arange(60) // 10, seed=seed, window_shards=3)
        return tuple(draw.video_id for draw in made.draws(epoch, Stretch(0, 60)))

    assert len({order(0, 0), order(0, 1), order(1, 0), order(1, 1)}) == 4
    assert order(0, 1) == order(0, 1)


def test_videos_of_several_shards_are_mixed() -> None:
    made = StreamOrder(np.arange(400), np.arange(400) // 100, seed=0, window_shards=2)
    first = [draw.video_id // 100 for draw in made.draws(0, Stretch(0, 50))]
    assert len(set(first)) == 2
    assert 10 < first.count(first[0]) < 40


def test_an_empty_stream_and_a_wrong_rank_are_errors() -> None:
    with pytest.raises(ValueError, match=r"a video to stream \(0\)"):
        StreamOrder(np.empty(0, np.int64), np.empty(0, np.int64), seed=0, window_shards=1)
    with pytest.raises(ValueError, match=r"rank \(2\) must be from 0 to below world_size \(2\)"):
        rank_stretch(9, rank=2, world_size=2, batch_size=1, whole_batches=False)
