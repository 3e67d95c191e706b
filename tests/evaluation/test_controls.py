from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from sparsedense.evaluation import controls as controls_module
from sparsedense.evaluation.controls import SpeedControls, pairs_told, reencoded_reader, speed_controls
from sparsedense.models.recogniser import Recogniser
from sparsedense.video.probe import probe as probe_file
from sparsedense.video.write import write_video
from tests.conftest import HEIGHT, tiny_experiment
from tests.evaluation.colour_model import tiny_recogniser


class MotionEnergy(nn.Module):
    """In place of an encoder: how much a clip changes from frame to frame, as a map (B, 1, 1, 1, 1)."""

    def forward(self, clips_BCTHW: Tensor) -> Tensor:
        return clips_BCTHW.diff(dim=2).abs().mean(dim=(1, 2, 3, 4)).view(-1, 1, 1, 1, 1)


class Threshold(nn.Module):
    """In place of a speed head: much motion is sparse (0), little is dense (1)."""

    def forward(self, features_BC: Tensor) -> Tensor:
        return torch.cat([features_BC - 0.016, torch.zeros_like(features_BC)], dim=1)


def motion_oracle() -> Recogniser:
    model = tiny_recogniser()
    model.register_module("encoder", MotionEnergy())
    model.register_module("speed_head", Threshold())
    return model


def long_videos(store: FrameStore) -> NDArray[np.int64]:
    return store.videos(split=["train", "test"], min_frames=tiny_experiment().clips.min_frames)


@pytest.fixture(scope="module")
def raw_squares(squares_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    path = tmp_path_factory.mktemp("raw-squares") / "store"
    prepare(squares_folder, path, codec="raw", short_side=HEIGHT, workers=1)
    return FrameStore(path)


@pytest.mark.parametrize("codec", ["jpeg", "raw"])
def test_a_reader_of_motion_knows_real_videos_and_not_frozen_ones(
    squares: FrameStore, raw_squares: FrameStore, codec: str, tmp_path: Path
) -> None:
    store = squares if codec == "jpeg" else raw_squares
    assert store.codec == codec
    videos = long_videos(store)[::2]
    controls = speed_controls(motion_oracle(), store, videos, scratch=tmp_path)
    assert controls.real > 0.9
    assert controls.frozen == 0.5, "a frozen clip has no motion, so every answer is `dense`"
    assert controls.clips == 2 * len(videos)
    assert not list(tmp_path.iterdir()), "temporary videos are deleted"


@pytest.mark.parametrize("seed", range(3))
def test_any_network_is_at_chance_on_frozen_videos(squares: FrameStore, seed: int) -> None:
    """Both views of a frozen video look alike, so that one of the two answers is wrong whatever it is."""
    model = tiny_recogniser()
    assert model.speed_head is not None
    torch.manual_seed(seed)
    nn.init.normal_(model.speed_head.linear.weight)
    assert speed_controls(model, squares, long_videos(squares)[:4]).frozen == 0.5


def test_answers_are_counted_view_by_view(squares: FrameStore) -> None:
    """An oracle that takes sparse for dense is always wrong."""

    class Reversed(Threshold):
        def forward(self, features_BC: Tensor) -> Tensor:
            return -super().forward(features_BC)

    model = motion_oracle()
    model.register_module("speed_head", Reversed())
    assert speed_controls(model, squares, long_videos(squares)[::4]).real < 0.1


def test_the_mode_of_the_model_comes_back(squares: FrameStore) -> None:
    model = tiny_recogniser().train()
    speed_controls(model, squares, long_videos(squares)[:1])
    assert model.training


def test_what_is_missing_is_an_error(squares: FrameStore) -> None:
    model = tiny_recogniser()
    with pytest.raises(ValueError, match="no video to measure the speed controls on"):
        speed_controls(model, squares, np.array([], dtype=np.int64))
    model.speed_head = None
    with pytest.raises(ValueError, match="the model has no speed head"):
        speed_controls(model, squares, long_videos(squares))


def test_a_source_without_a_frame_rate_has_controls_too(squares: FrameStore) -> None:
    store = FrameStore(squares.path)
    store.fps[:] = np.nan
    assert speed_controls(tiny_recogniser(), store, store.videos(split="test")[:2]).frozen == 0.5


class Score(nn.Module):
    """In place of a ranking head: much motion is fast."""

    def forward(self, features_BC: Tensor) -> Tensor:
        return 1000 * features_BC


class FourSpeeds(nn.Module):
    """In place of a head of four speeds: the less motion, the later the speed."""

    def forward(self, features_BC: Tensor) -> Tensor:
        thresholds = torch.tensor([0.016, 0.011, 0.006])
        steps = (thresholds - features_BC).cumsum(dim=1)
        return torch.cat([torch.zeros_like(features_BC), steps], dim=1)


def controls_of(head: nn.Module, store: FrameStore) -> SpeedControls:
    model = motion_oracle()
    model.register_module("speed_head", head)
    return speed_controls(model, store, long_videos(store)[::3])


@pytest.mark.parametrize("head", [Threshold(), FourSpeeds(), Score()])
def test_every_kind_of_head_reads_real_videos_and_is_at_chance_on_frozen_ones(
    head: nn.Module, squares: FrameStore
) -> None:
    measured = controls_of(head, squares)
    assert measured.real > 0.9
    assert measured.frozen == 0.5
    assert measured.reencoded > 0.9, "another codec does not hide motion"


def test_a_shuffled_clip_keeps_its_frames_and_not_their_order(
    squares: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    length, videos = tiny_experiment().clips.length, long_videos(squares)[:4]
    asked: list[NDArray[np.int64]] = []
    real_read = FrameStore.read

    def spy(self: FrameStore, video_id: int, indices: NDArray[np.int64]) -> Tensor:
        asked.append(indices)
        return real_read(self, video_id, indices)

    monkeypatch.setattr(FrameStore, "read", spy)
    for name in ("_frozen_reader", "reencoded_reader"):
        monkeypatch.setattr(controls_module, name, lambda store, _folder: store.read)
    for seed in (0, 0, 1):
        speed_controls(motion_oracle(), squares, videos, seed=seed)
    # Four videos read for each of real, frozen, shuffled and re-encoded, three times.
    in_order, shuffled, again, other = (asked[start : start + 4] for start in (0, 8, 24, 40))
    for ordered, mixed in zip(in_order, shuffled, strict=True):
        for clip in (slice(0, length), slice(length, None)):
            assert sorted(mixed[clip].tolist()) == ordered[clip].tolist()
            assert mixed[clip].tolist() != ordered[clip].tolist()
    assert len({tuple(np.argsort(mixed[:length])) for mixed in shuffled}) == 4, "each video has an order of its own"
    assert np.array_equal(shuffled, again)
    assert not np.array_equal(shuffled, other)


@pytest.mark.parametrize("codec", ["jpeg", "raw"])
def test_a_reencoded_video_is_another_file_of_the_same_pictures(
    squares: FrameStore, raw_squares: FrameStore, codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = squares if codec == "jpeg" else raw_squares
    written: list[tuple[str, float]] = []

    def spy(path: Path, frames: Iterator[NDArray[np.uint8]], **options: Any) -> int:
        count = write_video(path, frames, **options)
        with av.open(str(path)) as container:
            keys = sum(packet.is_keyframe for packet in container.demux(video=0) if packet.size)
        written.append((probe_file(path).codec, keys / count))
        return count

    monkeypatch.setattr(controls_module, "write_video", spy)
    video = int(long_videos(store)[0])
    indices = np.array([30, 3, 3, 17])
    frames = reencoded_reader(store, tmp_path)(video, indices)
    ((codec_name, key_share),) = written
    assert codec_name == "vp8"
    assert key_share == pytest.approx(1 / 7, rel=0.2)
    original = store.read(video, indices)
    difference = (frames.float() - original.float()).abs()
    assert frames.shape == original.shape
    assert frames.dtype == torch.uint8
    assert 0 < float(difference.mean()) < 4, "near, but not the same pixels"
    assert not list(tmp_path.iterdir())


def test_frames_of_odd_size_lose_a_line(squares_folder: Path, tmp_path: Path) -> None:
    prepare(squares_folder, tmp_path / "odd", short_side=33, workers=1)
    store = FrameStore(tmp_path / "odd")
    video = int(long_videos(store)[0])
    height, width = store.frame_size(video)
    assert height % 2 == 1
    assert reencoded_reader(store, tmp_path)(video, np.array([5])).shape == (3, 1, height - 1, width // 2 * 2)


def test_pairs_of_two_and_of_many_speeds_count_clip_by_clip() -> None:
    dense = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    sparse = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.5, 0.5]])
    assert pairs_told(dense, sparse).tolist() == [1, 0, 0.5, 0.5]
    many_dense = torch.tensor([[1.0, 0.0, 2.0], [1.0, 0.9, 0.9]])
    many_sparse = torch.tensor([[1.0, 0.9, 0.9], [1.0, 0.0, 2.0]])
    assert pairs_told(many_dense, many_sparse).tolist() == [1, 0]


def test_a_rank_is_right_where_the_sparse_clip_scores_higher_and_a_tie_is_half() -> None:
    dense, sparse = torch.tensor([[1.0], [2.0], [3.0], [-1.0]]), torch.tensor([[1.5], [1.0], [3.0], [0.0]])
    assert pairs_told(dense, sparse).tolist() == [1, 0, 0.5, 1]
    assert pairs_told(dense, sparse, tie=0.5).tolist() == [0.5, 0, 0.5, 1]


@pytest.mark.parametrize("num_speeds", [1, 2, 4])
def test_what_says_the_same_of_every_clip_is_at_chance(num_speeds: int, squares: FrameStore) -> None:
    class Constant(nn.Module):
        def forward(self, features_BC: Tensor) -> Tensor:
            return torch.zeros(len(features_BC), num_speeds)

    measured = controls_of(Constant(), squares)
    assert (measured.real, measured.frozen, measured.shuffled, measured.reencoded) == (0.5, 0.5, 0.5, 0.5)


def test_traces_far_below_real_motion_are_no_rank(squares: FrameStore) -> None:
    """Frozen clips whose scores differ by a fiftieth of what real ones differ by."""

    class Faint(MotionEnergy):
        def forward(self, clips_BCTHW: Tensor) -> Tensor:
            moved: Tensor = super().forward(clips_BCTHW)
            self.views = getattr(self, "views", 0) + 1
            # Dense and sparse clips come in turn; the sparse ones get a trace.
            return moved + 2e-4 * (self.views % 2 == 0)

    model = motion_oracle()
    model.register_module("encoder", Faint())
    model.register_module("speed_head", Score())
    assert speed_controls(model, squares, long_videos(squares)[::4]).frozen == 0.5


def test_progress_counts_the_videos_of_every_measurement(squares: FrameStore) -> None:
    calls: list[tuple[int, int]] = []
    speed_controls(
        motion_oracle(), squares, long_videos(squares)[:5], progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(5, 20), (10, 20), (15, 20), (20, 20)]
