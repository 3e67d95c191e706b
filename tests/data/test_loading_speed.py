import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.loading_speed import measure_loading
from sparsedense.data.store import FrameStore

CLIPS = ClipConfig(length=8, size=16, min_dense_stride_frames=1.0)


@pytest.fixture
def one_second_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves on by a second whenever it is asked."""
    clock = SimpleNamespace(perf_counter=itertools.count().__next__)
    monkeypatch.setattr("sparsedense.data.loading_speed.time", clock)


def test_every_stage_and_every_number_of_workers_is_measured(squares: FrameStore, one_second_each: None) -> None:
    speed = measure_loading(squares, clips=CLIPS, workers=(1, 0), batch_size=2, rounds=2)
    assert speed.stages == dict.fromkeys(["read", "decode", "crop", "collate", "augment"], 4.0)
    assert speed.limit == 4.0
    assert speed.loader == {0: 4.0, 1: 8.0}, "the workers' two batches took one second together"
    assert speed.share_of_limit == {0: 1.0, 1: 2.0}
    assert speed.to_dict()["codec"] == "jpeg"
    assert "JPEG" in speed.limit_name


def test_all_clips_of_a_video_count(raw_store: Path, one_second_each: None) -> None:
    clips = ClipConfig(length=8, size=16, min_dense_stride_frames=0.2, dense_clips=2, dense_copies=2)
    speed = measure_loading(FrameStore(raw_store), clips=clips, workers=[0], batch_size=2, rounds=1)
    assert speed.loader == {0: 10.0}
    assert "memcpy" in speed.limit_name


def test_without_a_wrong_clock_all_rates_are_numbers(squares: FrameStore) -> None:
    speed = measure_loading(squares, clips=CLIPS, workers=[0], batch_size=2, rounds=2)
    assert all(0 < rate < math.inf for rate in (*speed.stages.values(), *speed.loader.values(), speed.limit))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, r"rounds \(0\)"),
        ({"workers": ()}, r"workers \(\[\]\)"),
        ({"workers": (-1,)}, r"workers \(\[-1\]\)"),
        ({"clips": ClipConfig()}, "no video has the 109 frames"),
        ({"device": "gpu"}, "--device gpu: no such device was found on this machine; use cpu or auto"),
    ],
)
def test_what_cannot_be_measured_is_an_error(squares: FrameStore, options: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"clips": CLIPS, "workers": (0,), **options}
    with pytest.raises(ValueError, match=message):
        measure_loading(squares, **settings)  # type: ignore[arg-type]
