from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.controls import speed_controls
from sparsedense.models.recogniser import Recogniser
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
    videos = long_videos(store)
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
    assert speed_controls(model, squares, long_videos(squares)[:6]).frozen == 0.5


def test_answers_are_counted_view_by_view(squares: FrameStore) -> None:
    """An oracle that takes sparse for dense is always wrong."""

    class Reversed(Threshold):
        def forward(self, features_BC: Tensor) -> Tensor:
            return -super().forward(features_BC)

    model = motion_oracle()
    model.register_module("speed_head", Reversed())
    assert speed_controls(model, squares, long_videos(squares)).real < 0.1


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
