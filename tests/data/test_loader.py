import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsedense.data.augment import AugmentConfig, CropBox, centre_crop_box
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.evaluation_clips import PADDING, EvaluationClips, EvaluationShare, evaluation_loader
from sparsedense.data.loader import ClipBatch, Draw, DrawSampler, TrainingClips, training_loader
from sparsedense.data.resize import crop_and_resize
from sparsedense.data.sampling import centre_view_pair, evaluation_clips
from sparsedense.data.store import FrameStore

CLIPS = ClipConfig(length=8, size=16, min_dense_stride_frames=1.0, evaluation_stride_frames=None)
WHOLE_FRAME = AugmentConfig(crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0))
LAW = settings(deadline=None, max_examples=100)


def training_clips(squares: FrameStore, *, seed: int = 0, augment: AugmentConfig | None = None) -> TrainingClips:
    labelled = squares.videos(split="train")[::2]
    return TrainingClips(squares, CLIPS, augment or AugmentConfig(), seed=seed, labelled=labelled)


def pool(squares: FrameStore) -> NDArray[np.int64]:
    return squares.videos(split=["train", "unlabelled"], min_frames=CLIPS.min_frames)


def batches(squares: FrameStore, *, num_workers: int, batch_size: int = 4) -> list[ClipBatch]:
    sampler = DrawSampler(pool(squares), draws_per_epoch=18, seed=5)
    loader = training_loader(training_clips(squares), sampler, batch_size=batch_size, num_workers=num_workers)
    return list(loader)


def test_a_mixed_batch_hides_the_labels_of_all_other_videos(squares: FrameStore) -> None:
    visible = set(squares.videos(split="train")[::2].tolist())
    seen = 0
    for batch in batches(squares, num_workers=0):
        for video, label in zip(batch["video_id"].tolist(), batch["label"].tolist(), strict=True):
            assert label == (squares.label_ids[video] if video in visible else -1)
            seen += label >= 0
    assert seen > 0


def test_a_batch_has_the_shapes_it_says(squares: FrameStore) -> None:
    made = batches(squares, num_workers=0)
    assert len(made) == 4, "18 draws are 4 batches of 4; the last 2 are left out"
    for batch in made:
        views = ((batch["sparse"], batch["sparse_indices"]), (batch["dense"], batch["dense_indices"][:, 0]))
        for clips, indices in views:
            assert clips.shape == (4, 3, 8, 16, 16)
            assert clips.dtype == torch.uint8
            assert indices.shape == (4, 8)
            assert indices.dtype == torch.int64
        assert batch["label"].dtype == batch["video_id"].dtype == torch.int64


def test_videos_of_different_sizes_come_in_one_batch(squares: FrameStore) -> None:
    sizes = {squares.frame_size(int(video)) for video in pool(squares)}
    assert len(sizes) == 2
    (batch,) = batches(squares, num_workers=0, batch_size=18)
    assert {squares.frame_size(video) for video in batch["video_id"].tolist()} == sizes


def test_the_clips_are_the_frames_of_their_indices(squares: FrameStore) -> None:
    dataset = training_clips(squares, augment=WHOLE_FRAME)
    video = int(pool(squares)[0])
    batch = dataset.batch([Draw(video, 0, 0)])
    height, width = squares.frame_size(video)
    # A square of the frame's area is higher than the frame, which cuts it.
    box_width = round((height * width) ** 0.5)
    boxes = [CropBox(0, left, height, box_width) for left in range(width - box_width + 1)]
    for clip, indices in (
        (batch["sparse"][0], batch["sparse_indices"][0]),
        (batch["dense"][0], batch["dense_indices"][0, 0]),
    ):
        frames = squares.read(video, indices.numpy())
        assert sum(torch.equal(clip, crop_and_resize(frames, box, 16)) for box in boxes) == 1


def test_both_views_share_one_crop(squares: FrameStore) -> None:
    """Where the views have a frame in common, they show it alike."""
    dataset = training_clips(squares, augment=AugmentConfig(crop_area=(0.2, 0.4)))
    video, shared = int(pool(squares)[0]), 0
    for position in range(30):
        batch = dataset.batch([Draw(video, 0, position)])
        sparse, dense = batch["sparse_indices"][0].tolist(), batch["dense_indices"][0, 0].tolist()
        for index in set(sparse) & set(dense):
            shared += 1
            assert torch.equal(batch["sparse"][0, :, sparse.index(index)], batch["dense"][0, :, dense.index(index)])
    assert shared > 10


def test_without_the_sparse_clip_no_frame_of_it_is_read_and_the_dense_one_is_the_same(
    squares: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Draw(int(pool(squares)[1]), 2, 3)
    pair = training_clips(squares).batch([draw])
    frames_read = []
    read = FrameStore.read_clips

    def spy(store: FrameStore, video_id: int, indices_VT: NDArray[np.int64], *rest: Any) -> None:
        frames_read.extend(indices_VT.ravel().tolist())
        read(store, video_id, indices_VT, *rest)

    monkeypatch.setattr(FrameStore, "read_clips", spy)
    alone = TrainingClips(squares, CLIPS, AugmentConfig(), seed=0, with_sparse=False).batch([draw])
    assert "sparse" not in alone
    assert frames_read == pair["dense_indices"][0, 0].tolist()
    assert torch.equal(alone["dense"], pair["dense"])
    assert torch.equal(alone["dense_indices"], pair["dense_indices"])


def test_each_clip_has_a_crop_of_its_own_where_crops_are_not_shared(squares: FrameStore) -> None:
    video = int(pool(squares)[0])
    boxes = []
    for shared in (True, False):
        dataset = training_clips(squares, augment=AugmentConfig(crop_area=(0.3, 0.4), shared_crop=shared))
        dataset.clips = replace(CLIPS, dense_clips=2, dense_copies=2)
        batch = dataset.batch([Draw(video, 0, 0)])
        assert batch["dense"].shape == (4, 3, CLIPS.length, CLIPS.size, CLIPS.size)
        assert torch.equal(batch["dense_indices"][0, 0], batch["dense_indices"][0, 1])
        boxes.append(torch.equal(batch["dense"][0], batch["dense"][1]))
    assert boxes == [True, False]


def test_a_clip_alone_comes_from_anywhere_though_several_places_are_set(squares: FrameStore) -> None:
    dataset = TrainingClips(squares, replace(CLIPS, dense_clips=2), AugmentConfig(), seed=0, with_sparse=False)
    video = int(pool(squares)[0])
    starts = {int(dataset.batch([Draw(video, 0, position)])["dense_indices"][0, 0, 0]) for position in range(20)}
    assert len(starts) > 4, "not always the start of the video"


def test_dense_speeds_number_the_skip_ratios(squares: FrameStore) -> None:
    dataset = training_clips(squares)
    dataset.clips = replace(CLIPS, other_skip_ratios=(2.0,))
    assert dataset.clips.skip_ratios == (2.0, 4.0)
    drawn = [dataset.batch([Draw(int(pool(squares)[0]), 0, position)]) for position in range(30)]
    strides: dict[int, list[float]] = {}
    for batch in drawn:
        indices = batch["dense_indices"][0, 0]
        strides.setdefault(int(batch["dense_speed"]), []).append(float(indices[-1] - indices[0]))
    assert set(strides) == {1, 2}
    assert min(strides[1]) > 1.5 * max(strides[2])


def test_a_sample_does_not_depend_on_workers(squares: FrameStore) -> None:
    for alone, shared in zip(batches(squares, num_workers=0), batches(squares, num_workers=2), strict=True):
        for key in alone:
            assert torch.equal(alone[key], shared[key]), key  # type: ignore[literal-required]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_may_be_forked_or_spawned(squares: FrameStore, method: str) -> None:
    sampler = DrawSampler(pool(squares), draws_per_epoch=8, seed=5)
    expected = list(training_loader(training_clips(squares), sampler, batch_size=4, num_workers=0))
    loader = training_loader(training_clips(squares), sampler, batch_size=4, num_workers=1)
    loader.multiprocessing_context = method
    for one, other in zip(expected, loader, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)  # type: ignore[literal-required]


# The error's traceback keeps the iterator, so its workers are left to the end of the program.
FAILS_IN_THE_MIDDLE = """
import sys
from torch.utils.data import DataLoader
from sparsedense.data.loader import prepare_worker

batches = iter(DataLoader(range(100), num_workers=2, persistent_workers=True, worker_init_fn=prepare_worker))
next(batches)
raise RuntimeError("out of memory")
"""


def test_a_program_that_fails_beside_its_workers_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILS_IN_THE_MIDDLE], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "out of memory" in done.stderr


def test_a_sample_does_not_depend_on_order(squares: FrameStore) -> None:
    dataset = training_clips(squares)
    draws = [Draw(int(video), 3, position) for position, video in enumerate(pool(squares)[:4])]
    forwards = dataset.batch(draws)
    backwards = dataset.batch(list(reversed(draws)))
    assert torch.equal(forwards["sparse"], backwards["sparse"].flip(0))
    assert torch.equal(forwards["dense_indices"], backwards["dense_indices"].flip(0))


@pytest.mark.parametrize("other", [Draw(12, 0, 1), Draw(12, 1, 0), "seed"])
def test_epoch_position_and_seed_each_change_the_sample(squares: FrameStore, other: Draw | str) -> None:
    video = int(pool(squares)[0])
    first = training_clips(squares).batch([Draw(video, 0, 0)])
    if isinstance(other, Draw):
        second = training_clips(squares).batch([other._replace(video_id=video)])
    else:
        second = training_clips(squares, seed=1).batch([Draw(video, 0, 0)])
    assert not torch.equal(first["sparse"], second["sparse"])


@LAW
@given(count=st.integers(1, 60), seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_an_epoch_draws_every_video_once(count: int, seed: int, epoch: int) -> None:
    videos = np.arange(100, 100 + count)
    sampler = DrawSampler(videos, draws_per_epoch=count, seed=seed)
    sampler.set_epoch(epoch)
    draws = list(sampler)
    assert sorted(draw.video_id for draw in draws) == videos.tolist()
    assert [draw.position for draw in draws] == list(range(count))
    assert {draw.epoch for draw in draws} == {epoch}
    assert list(sampler) == draws


@LAW
@given(count=st.integers(1, 40), draws=st.integers(1, 150), seed=st.integers(0, 99))
def test_no_video_comes_again_before_all_have_come(count: int, draws: int, seed: int) -> None:
    drawn = [draw.video_id for draw in DrawSampler(np.arange(count), draws_per_epoch=draws, seed=seed)]
    assert len(drawn) == draws
    for start in range(0, draws, count):
        turn = drawn[start : start + count]
        assert len(set(turn)) == len(turn)


@LAW
@given(count=st.integers(1, 40), draws=st.integers(1, 150), world_size=st.integers(1, 9), seed=st.integers(0, 99))
def test_processes_share_the_draws_without_overlap_or_loss(count: int, draws: int, world_size: int, seed: int) -> None:
    assume(draws >= world_size)

    def part(rank: int, of: int) -> list[Draw]:
        sampler = DrawSampler(np.arange(count), draws_per_epoch=draws, seed=seed, rank=rank, world_size=of)
        drawn = list(sampler)
        assert len(sampler) == len(drawn)
        return drawn

    parts = [part(rank, world_size) for rank in range(world_size)]
    assert len({len(one) for one in parts}) == 1, "every process takes as many steps"
    together = sorted((draw for one in parts for draw in one), key=lambda draw: draw.position)
    assert together == part(0, 1)[: draws - draws % world_size]


@LAW
@given(
    count=st.integers(1, 40),
    steps=st.integers(1, 12),
    rest=st.integers(0, 5),
    share=st.integers(1, 5),
    world_size=st.integers(1, 6),
)
def test_every_step_has_the_same_videos_for_any_number_of_processes(
    count: int, steps: int, rest: int, share: int, world_size: int
) -> None:
    batch_size = share * world_size
    draws = steps * batch_size + rest % batch_size

    def batches(rank: int, of: int) -> list[list[Draw]]:
        sampler = DrawSampler(np.arange(count), draws_per_epoch=draws, seed=1, rank=rank, world_size=of)
        drawn, own = list(sampler), batch_size // of
        return [drawn[start : start + own] for start in range(0, len(drawn) - own + 1, own)]

    alone = batches(0, 1)
    assert len(alone) == steps
    parts = [batches(rank, world_size) for rank in range(world_size)]
    # Row i of rank r is row i * W + r of the batch: the order in which `gather_rows` puts them together again.
    assert [[draw for rows in zip(*step, strict=True) for draw in rows] for step in zip(*parts, strict=True)] == alone


@LAW
@given(clips=st.integers(0, 60), world_size=st.integers(1, 9))
def test_processes_validate_every_clip_once_in_as_many_batches(clips: int, world_size: int) -> None:
    shares = [EvaluationShare(clips, rank=rank, world_size=world_size) for rank in range(world_size)]
    indices = [list(share) for share in shares]
    assert {len(own) for own in indices} == {len(share) for share in shares} == {-(-clips // world_size)}
    assert sorted(index for own in indices for index in own if index != PADDING) == list(range(clips))


def test_padding_is_a_clip_without_a_video(squares: FrameStore) -> None:
    dataset = EvaluationClips(squares, squares.videos(split="test"), CLIPS, num_clips=3)
    share = EvaluationShare(len(dataset), rank=6, world_size=7)
    last = list(evaluation_loader(dataset, batch_size=50, num_workers=0, share=share))[-1]
    clips, rows, labels = last
    assert len(clips) == len(share) == 5
    assert (rows == PADDING).tolist() == (labels == -1).tolist() == [False] * 4 + [True]
    assert clips[-1].max() == 0


def test_a_fraction_takes_a_fresh_part_each_epoch() -> None:
    sampler = DrawSampler(np.arange(40), draws_per_epoch=10, seed=0)
    parts, times = [], Counter[int]()
    for epoch in range(60):
        sampler.set_epoch(epoch)
        parts.append(frozenset(draw.video_id for draw in sampler))
        times.update(parts[-1])
    assert all(len(part) == 10 for part in parts)
    assert len(set(parts)) == 60
    assert set(times) == set(range(40))
    assert max(times.values()) < 30, "15 on average"


@LAW
@given(count=st.integers(1, 300), draws=st.integers(1, 700))
def test_draws_do_not_depend_on_how_the_ids_are_held(count: int, draws: int) -> None:
    ids = 3 * np.arange(count)
    drawn = [draw.video_id for draw in DrawSampler(ids, draws_per_epoch=draws, seed=4)]
    rounds = [np.random.default_rng((4, 0, turn)).permutation(ids) for turn in range(-(-draws // count))]
    assert drawn == np.concatenate(rounds)[:draws].tolist()


def test_orders_differ_by_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        sampler = DrawSampler(np.arange(30), draws_per_epoch=30, seed=seed)
        sampler.set_epoch(epoch)
        return tuple(draw.video_id for draw in sampler)

    assert len({order(0, 0), order(0, 1), order(1, 0), order(1, 1)}) == 4


def test_an_empty_pool_is_an_error() -> None:
    with pytest.raises(ValueError, match="no video to draw from"):
        DrawSampler(np.array([], dtype=np.int64), draws_per_epoch=4, seed=0)


def test_fewer_draws_than_processes_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"draws_per_epoch \(3\) must be at least the number of processes \(4\)"):
        DrawSampler(np.arange(9), draws_per_epoch=3, seed=0, world_size=4)


def test_evaluation_clips_come_video_by_video(squares: FrameStore) -> None:
    videos = squares.videos(split="test")[::-1]
    dataset = EvaluationClips(squares, videos, CLIPS, num_clips=3)
    assert len(dataset) == 3 * len(videos)
    loaded = list(evaluation_loader(dataset, batch_size=4, num_workers=0))
    clips, rows, labels = (torch.cat(parts) for parts in zip(*loaded, strict=True))
    assert rows.tolist() == [row for row in range(len(videos)) for _ in range(3)]
    assert labels.tolist() == squares.label_ids[videos][rows.numpy()].tolist()
    assert clips.dtype == torch.uint8
    for index in (0, 4, len(dataset) - 1):
        video = int(videos[index // 3])
        num_frames = int(squares.num_frames[video])
        indices = evaluation_clips(num_frames, clip_length=8, stride_frames=num_frames / 32, num_clips=3)[index % 3]
        box = centre_crop_box(*squares.frame_size(video))
        assert torch.equal(clips[index], crop_and_resize(squares.read(video, indices), box, 16))


def test_evaluation_clips_do_not_depend_on_workers(squares: FrameStore) -> None:
    dataset = EvaluationClips(squares, squares.videos(split="test"), CLIPS, num_clips=2)
    alone, shared = (list(evaluation_loader(dataset, batch_size=3, num_workers=count)) for count in (0, 2))
    assert all(torch.equal(a, b) for one, two in zip(alone, shared, strict=True) for a, b in zip(one, two, strict=True))


def test_the_sparse_view_is_one_clip_over_the_whole_video(squares: FrameStore) -> None:
    videos = squares.videos(split="test", min_frames=8)
    dataset = EvaluationClips(squares, videos, CLIPS, num_clips=5, view="sparse")
    assert len(dataset) == len(videos)
    for row, video in enumerate(videos.tolist()):
        num_frames = int(squares.num_frames[video])
        indices = centre_view_pair(num_frames, clip_length=8, skip_ratio=4.0).sparse
        box = centre_crop_box(*squares.frame_size(video))
        expected = crop_and_resize(squares.read(video, indices), box, 16)
        assert torch.equal(dataset[row].frames_THWC.permute(3, 0, 1, 2), expected)


@pytest.mark.parametrize("view", ["sparse", "dense"])
def test_a_video_shorter_than_a_clip_can_be_evaluated(squares: FrameStore, view: str) -> None:
    short = squares.videos(split="test")[squares.num_frames[squares.videos(split="test")] < 8]
    assert len(short) == 1
    dataset = EvaluationClips(squares, short, CLIPS, num_clips=4, view=view)
    for index in range(len(dataset)):
        assert dataset[index].frames_THWC.shape == (8, 16, 16, 3)


def test_an_unknown_view_is_an_error(squares: FrameStore) -> None:
    with pytest.raises(ValueError, match=r"view \('spares'\) must be 'dense' or 'sparse'"):
        EvaluationClips(squares, squares.videos(), CLIPS, num_clips=1, view="spares")


@LAW
@given(
    videos=st.integers(1, 30),
    draws=st.integers(6, 80),
    batch=st.sampled_from([6, 12]),
    before=st.sampled_from([1, 2, 3]),
    after=st.sampled_from([1, 2, 3]),
    data=st.data(),
)
def test_draws_that_go_on_are_those_that_would_have_come_on_any_number_of_processes(
    videos: int, draws: int, batch: int, before: int, after: int, data: st.DataObject
) -> None:
    """As long as all processes together make the same batches."""
    done = data.draw(st.integers(0, draws // batch))

    def batches(world_size: int, first: int) -> list[set[Draw]]:
        ranks = []
        for rank in range(world_size):
            sampler = DrawSampler(np.arange(videos), draws_per_epoch=draws, seed=3, rank=rank, world_size=world_size)
            sampler.go_on(2, first * batch)
            sampler.set_epoch(2)
            ranks.append(list(sampler))
        share = batch // world_size
        whole = draws // batch - first
        return [{draw for own in ranks for draw in own[n * share : (n + 1) * share]} for n in range(whole)]

    assert batches(after, done) == batches(before, 0)[done:]
