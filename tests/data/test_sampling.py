from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sparsedense.data.sampling import (
    ClipViews,
    FrameIndices,
    centre_view_pair,
    dense_indices,
    evaluation_clips,
    interval_positions,
    min_frames_for,
    random_views,
    sparse_indices,
    sparse_stride,
)


class Video(NamedTuple):
    num_frames: int
    clip_length: int


@st.composite
def videos(draw: st.DrawFn) -> Video:
    clip_length = draw(st.integers(2, 64))
    return Video(draw(st.integers(clip_length, 5000)), clip_length)


RATIOS = st.floats(1.0, 16.0)
SEEDS = st.integers(0, 2**32)


def assert_inside_and_ordered(indices: FrameIndices, video: Video) -> None:
    assert indices.dtype == np.int64
    assert indices.shape[-1] == video.clip_length
    assert indices.min() >= 0
    assert indices.max() < video.num_frames
    assert (np.diff(indices, axis=-1) >= 0).all()


def assert_constant_stride(indices: FrameIndices, stride_frames: float) -> None:
    """Every index is the whole part of start + i * stride for one start."""
    offsets = indices - np.arange(len(indices)) * stride_frames
    assert offsets.max() - offsets.min() < 1 + 1e-4


def views_of(video: Video, ratio: float, seed: int) -> ClipViews:
    rng = np.random.default_rng(seed)
    return random_views(video.num_frames, clip_length=video.clip_length, skip_ratios=[ratio], rng=rng)


@given(video=videos(), share=st.floats(0, 1))
@example(video=Video(64, 8), share=0.0)
def test_a_sparse_clip_spans_the_video_at_constant_stride(video: Video, share: float) -> None:
    stride_frames = video.num_frames / video.clip_length
    start_frames = share * (stride_frames - 1e-5)  # nearer to the next stride, rounding repeats the last frame
    indices = sparse_indices(video.num_frames, clip_length=video.clip_length, start_frames=start_frames)
    assert_inside_and_ordered(indices, video)
    assert (np.diff(indices) >= 1).all()
    assert_constant_stride(indices, stride_frames)
    assert indices[0] <= stride_frames
    assert indices[-1] >= np.floor(video.num_frames - stride_frames)


@given(video=videos(), ratio=RATIOS, seed=SEEDS)
def test_random_views_lie_inside_at_their_strides(video: Video, ratio: float, seed: int) -> None:
    views = views_of(video, ratio, seed)
    assert views.dense.shape == (1, video.clip_length)
    assert views.ratio_ids.tolist() == [0]
    stride_frames = sparse_stride(video.num_frames, video.clip_length)
    for indices, stride in ((views.sparse, stride_frames), (views.dense[0], stride_frames / ratio)):
        assert_inside_and_ordered(indices, video)
        assert_constant_stride(indices, stride)
    span = (video.clip_length - 1) * stride_frames
    assert views.dense[0, -1] - views.dense[0, 0] == pytest.approx(span / ratio, abs=1.001)


@given(video=videos(), ratio=RATIOS, seed=SEEDS)
def test_a_seed_decides_the_views(video: Video, ratio: float, seed: int) -> None:
    first, again = views_of(video, ratio, seed), views_of(video, ratio, seed)
    assert np.array_equal(first.sparse, again.sparse)
    assert np.array_equal(first.dense, again.dense)


def test_random_starts_reach_all_places() -> None:
    rng = np.random.default_rng(0)
    drawn = [random_views(64, clip_length=8, skip_ratios=[4.0], rng=rng) for _ in range(2000)]
    assert {int(views.sparse[0]) for views in drawn} == set(range(8))
    assert {int(views.dense[0, 0]) for views in drawn} == set(range(49))  # 7 strides of 2 end at frame 63 - 14 at most
    middle = np.mean([views.dense.mean() for views in drawn])
    assert middle == pytest.approx(31.5, abs=1.5)


@given(num_frames=st.integers(64, 600), places=st.integers(2, 6), copies=st.integers(1, 3), seed=SEEDS)
def test_several_dense_clips_tile_the_video(num_frames: int, places: int, copies: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ratios = [float(places)]
    dense = random_views(num_frames, clip_length=8, skip_ratios=ratios, num_places=places, copies=copies, rng=rng).dense
    assert dense.shape == (places * copies, 8)
    assert (dense.reshape(places, copies, 8) == dense[::copies, None]).all()
    tiles = dense[::copies]
    assert tiles[0, 0] == 0
    assert num_frames - 1 - tiles[-1, -1] <= 1
    gaps = tiles[1:, 0] - tiles[:-1, -1]
    stride_frames = num_frames / 8 / places
    assert (abs(gaps - stride_frames) <= 1 + stride_frames / (places - 1)).all()  # the last clip ends the video


def test_each_dense_clip_draws_one_of_the_ratios() -> None:
    rng = np.random.default_rng(0)
    views = [random_views(128, clip_length=8, skip_ratios=[2.0, 4.0], num_places=2, rng=rng) for _ in range(200)]
    for drawn in views:
        strides = (drawn.dense[:, -1] - drawn.dense[:, 0]) / 7
        assert strides == pytest.approx(np.array([8.0, 4.0])[drawn.ratio_ids], abs=0.2)
    assert 0.4 < np.mean([drawn.ratio_ids.mean() for drawn in views]) < 0.6


@pytest.mark.parametrize(("ratios", "places", "copies"), [([], 1, 1), ([2.0], 0, 1), ([2.0], 1, 0)])
def test_no_dense_clip_is_an_error(ratios: list[float], places: int, copies: int) -> None:
    with pytest.raises(ValueError, match="skip_ratios"):
        random_views(
            64, clip_length=8, skip_ratios=ratios, num_places=places, copies=copies, rng=np.random.default_rng(0)
        )


@given(video=videos(), ratio=RATIOS)
def test_centred_views_lie_as_far_from_the_start_as_from_the_end(video: Video, ratio: float) -> None:
    pair = centre_view_pair(video.num_frames, clip_length=video.clip_length, skip_ratio=ratio)
    for indices in (pair.sparse, pair.dense):
        assert_inside_and_ordered(indices, video)
        before, after = indices[0], video.num_frames - 1 - indices[-1]
        assert abs(before - after) <= 2


@given(
    num_frames=st.integers(1, 3000),
    clip_length=st.integers(1, 64),
    stride=st.floats(0.05, 20),
    num_clips=st.integers(1, 12),
)
@example(num_frames=1, clip_length=16, stride=2.0, num_clips=10)
def test_evaluation_clips_go_from_start_to_end(
    num_frames: int, clip_length: int, stride: float, num_clips: int
) -> None:
    clips = evaluation_clips(num_frames, clip_length=clip_length, stride_frames=stride, num_clips=num_clips)
    assert clips.shape == (num_clips, clip_length)
    assert_inside_and_ordered(clips, Video(num_frames, clip_length))
    assert (np.diff(clips[:, 0]) >= 0).all()
    if num_clips > 1:
        assert clips[0, 0] == 0
        assert clips[-1, -1] == num_frames - 1
    else:
        assert abs(clips[0, 0] - (num_frames - 1 - clips[0, -1])) <= 2


@given(num_frames=st.integers(1, 15), num_clips=st.integers(1, 10))
def test_a_video_shorter_than_the_clip_repeats_frames(num_frames: int, num_clips: int) -> None:
    clips = evaluation_clips(num_frames, clip_length=16, stride_frames=2.0, num_clips=num_clips)
    assert all(set(clip.tolist()) == set(range(num_frames)) for clip in clips)


def test_evaluation_clips_of_a_known_video() -> None:
    clips = evaluation_clips(20, clip_length=4, stride_frames=2.0, num_clips=3)
    assert clips.tolist() == [[0, 2, 4, 6], [6, 8, 10, 12], [13, 15, 17, 19]]


def test_clips_of_a_known_video() -> None:
    assert sparse_indices(32, clip_length=8).tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert sparse_indices(20, clip_length=8, start_frames=2.0).tolist() == [2, 4, 7, 9, 12, 14, 17, 19]
    assert dense_indices(32, clip_length=8, stride_frames=1, start_frames=10).tolist() == list(range(10, 18))
    assert dense_indices(32, clip_length=8, stride_frames=1.5, start_frames=3).tolist() == [
        3, 4, 6, 7, 9, 10, 12, 13,
    ]  # fmt: skip


@given(
    video=videos().filter(lambda video: video.clip_length % 4 == 0), seed=SEEDS, intervals=st.sampled_from([1, 2, 4])
)
def test_interval_positions_are_means_of_their_frames(video: Video, seed: int, intervals: int) -> None:
    sparse = views_of(video, 4.0, seed).sparse
    positions = interval_positions(sparse, intervals)
    each = video.clip_length // intervals
    by_hand = [sum(sparse[k * each : (k + 1) * each].tolist()) / each for k in range(intervals)]
    assert positions == pytest.approx(by_hand)
    assert (np.diff(positions) > 0).all()
    batched = interval_positions(np.stack([sparse, sparse]), intervals)
    assert np.array_equal(batched, np.stack([positions, positions]))


def test_the_length_filter_is_the_papers() -> None:
    assert min_frames_for(16, 4, 1.7) == 109
    assert min_frames_for(16, 4, 1.75) == 112  # 16 * 4 * 1.75 is 112 exactly: no frame more for a rounding error


@given(clip_length=st.integers(2, 64), ratio=RATIOS, minimum=st.floats(0.5, 4))
def test_the_length_filter_keeps_the_dense_stride(clip_length: int, ratio: float, minimum: float) -> None:
    fewest = min_frames_for(clip_length, ratio, minimum)
    assert fewest / (clip_length * ratio) >= minimum - 1e-6
    assert (fewest - 1) / (clip_length * ratio) < minimum + 1e-6


def test_errors_tell_the_numbers() -> None:
    with pytest.raises(ValueError, match="a clip of 8 frames does not fit a video of 7 frames"):
        sparse_indices(7, clip_length=8)
    with pytest.raises(ValueError, match=r"clip_length \(1\) must be at least 2"):
        sparse_indices(7, clip_length=1)
    for start_frames in (4.0, -0.1):
        with pytest.raises(ValueError, match=rf"start_frames \({start_frames}\) must be in \[0, 4.0\)"):
            sparse_indices(32, clip_length=8, start_frames=start_frames)
    with pytest.raises(ValueError, match=r"stride 2\.0 from frame 18\.0 does not fit a video of 32 frames"):
        dense_indices(32, clip_length=8, stride_frames=2.0, start_frames=18.0)
    with pytest.raises(ValueError, match="stride 0 from"):
        dense_indices(32, clip_length=8, stride_frames=0)
    with pytest.raises(ValueError, match=r"num_clips \(0\)"):
        evaluation_clips(32, clip_length=8, stride_frames=2.0, num_clips=0)
    with pytest.raises(ValueError, match=r"num_intervals \(3\) must divide the clip length \(8\)"):
        interval_positions(np.arange(8), 3)
