from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sparsedense.data.augment import to_float
from sparsedense.data.evaluation_clips import EvaluationClips, collate_clips
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.inference import PartedProgress, clip_outputs, clip_settings, output_batches, video_features
from tests.conftest import tiny_experiment
from tests.evaluation.colour_model import tiny_recogniser


def brightness(clips_BCTHW: Tensor) -> Tensor:
    return clips_BCTHW.mean(dim=(2, 3, 4))


def test_the_model_tells_its_clips() -> None:
    assert clip_settings(tiny_recogniser()) == tiny_experiment().clips


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_outputs_are_ordered_by_video_and_clip(squares: FrameStore, batch_size: int) -> None:
    model, videos = tiny_recogniser(), squares.videos(split="test")[::-1]
    outputs = clip_outputs(model, squares, videos, brightness, num_clips=3, batch_size=batch_size, num_workers=0)
    assert outputs.shape == (len(videos), 3, 3)
    dataset = EvaluationClips(squares, videos, clip_settings(model), num_clips=3)
    for row, clip in ((0, 0), (1, 2), (len(videos) - 1, 1)):
        frames, *_ = collate_clips([dataset[3 * row + clip]])
        assert torch.allclose(outputs[row, clip], brightness(to_float(frames))[0], atol=1e-6)


def test_the_sparse_view_gives_one_output(squares: FrameStore) -> None:
    videos = squares.videos(split="test")
    outputs = clip_outputs(tiny_recogniser(), squares, videos, brightness, num_clips=7, view="sparse", num_workers=0)
    assert outputs.shape == (len(videos), 1, 3)


def test_features_of_a_video_are_the_mean_of_its_clips(squares: FrameStore) -> None:
    model, videos = tiny_recogniser(), squares.videos(split="val")
    features = video_features(model, squares, videos, num_clips=4, num_workers=0)
    clips = clip_outputs(model, squares, videos, model.features, num_clips=4, num_workers=0)
    assert torch.allclose(features, clips.mean(dim=1))
    assert clips.std(dim=1).max() > 0, "the clips differ"


def test_the_model_is_in_evaluation_mode_meanwhile_and_then_as_before(squares: FrameStore) -> None:
    model, modes = tiny_recogniser().train(), []

    def spy(clips: Tensor) -> Tensor:
        modes.append((model.training, torch.is_grad_enabled()))
        logits: Tensor = model(clips)
        return logits

    statistics = model.state_dict()["encoder.backbone.stem.1.running_mean"].clone()
    clip_outputs(model, squares, squares.videos(split="val"), spy, num_clips=1, num_workers=0)
    assert set(modes) == {(False, False)}
    assert model.training
    assert torch.equal(model.state_dict()["encoder.backbone.stem.1.running_mean"], statistics)


def test_the_mode_comes_back_after_an_error(squares: FrameStore) -> None:
    model = tiny_recogniser().train()

    def broken(clips: Tensor) -> Tensor:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        clip_outputs(model, squares, squares.videos(split="val"), broken, num_clips=1, num_workers=0)
    assert model.training


def test_progress_ends_at_the_number_of_clips(squares: FrameStore) -> None:
    calls: list[tuple[int, int]] = []
    videos = squares.videos(split="test")
    clip_outputs(
        tiny_recogniser(), squares, videos, brightness, num_clips=2, batch_size=6, num_workers=0,
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    total = 2 * len(videos)
    assert calls == [(min(done, total), total) for done in range(6, total + 6, 6)]


def test_batches_are_the_outputs_in_parts(squares: FrameStore) -> None:
    model, videos = tiny_recogniser(), squares.videos(split="test")
    batches = list(output_batches(model, squares, videos, brightness, num_clips=2, batch_size=6, num_workers=0))
    assert [len(batch) for batch in batches] == [6, 6, 6, 2]
    outputs = clip_outputs(model, squares, videos, brightness, num_clips=2, num_workers=0)
    assert torch.allclose(torch.cat(batches), outputs.flatten(0, 1), atol=1e-6)


def test_other_clips_than_the_models_own_can_be_asked_for(squares: FrameStore) -> None:
    model, videos, sizes = tiny_recogniser(), squares.videos(split="val"), []
    clips = replace(clip_settings(model), size=12, length=4)

    def spy(clips_BCTHW: Tensor) -> Tensor:
        sizes.append(clips_BCTHW.shape[2:])
        return brightness(clips_BCTHW)

    clip_outputs(model, squares, videos, spy, num_clips=1, clips=clips, num_workers=0)
    assert set(sizes) == {(4, 12, 12)}


def test_parts_make_one_progress() -> None:
    calls: list[tuple[int, int]] = []
    parts = PartedProgress(lambda done, total: calls.append((done, total)), [10, 0, 20])
    for counts in ([(1, 2), (2, 2)], [(5, 5)], [(1, 4), (4, 4)]):
        part = parts.next_part()
        for done, total in counts:
            part(done, total)
    assert calls == [(5, 30), (10, 30), (10, 30), (15, 30), (30, 30)]
    PartedProgress(None, [1]).next_part()(1, 1)
