from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sparsedense.detection.calibration import Calibration
from sparsedense.models.model_file import save_calibration, save_model
from sparsedense.prediction.long_videos import DetectionSettings
from sparsedense.prediction.video_model import NoClassesError
from sparsedense.prediction.video_recogniser import VideoRecogniser, load_model
from sparsedense.video.errors import UnreadableVideoError
from sparsedense.video.write import write_video
from tests.evaluation.colour_model import ColourFeatures, constant_recogniser, tiny_recogniser
from tests.video.sample_videos import write_truncated

FPS = 10.0
ACTIONS = [("diagonal", 0, 4.0, 9.0), ("right", 2, 15.0, 22.0)]  # label, its colour channel, seconds


class Tell(nn.Module):
    """In place of a classifier: the colour is the class, and grey is none."""

    def forward(self, features_BC: Tensor) -> Tensor:
        return 30 * features_BC


def coloured_frames(duration_seconds: float = 30.0) -> NDArray[np.uint8]:
    """Grey, but for the colours of two actions."""
    frames = np.full((round(duration_seconds * FPS), 24, 32, 3), 100, dtype=np.uint8)
    for _, channel, start, end in ACTIONS:
        frames[round(start * FPS) : round(end * FPS), ..., channel] = 220
    return frames


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    write_video(path, iter(coloured_frames()), fps=FPS)
    return path


@pytest.fixture
def model() -> VideoRecogniser:
    """Sure of the class of a colour; grey is background."""
    calibration = Calibration(background_logit=3.0)
    recogniser = VideoRecogniser(tiny_recogniser(), short_side=24, calibration=calibration, training_stride_frames=2.0)
    recogniser.register_module("encoder", ColourFeatures())
    recogniser.register_module("classifier", Tell())
    recogniser.register_parameter("unused", nn.Parameter(torch.zeros(1)))  # tells the device
    return recogniser


@pytest.mark.parametrize("effort", [0.25, 1.0])
def test_the_actions_of_a_video_are_found(model: VideoRecogniser, video: Path, effort: float) -> None:
    found = model.detect(video, effort=effort, min_score=0.5)
    for label, _, start, end in ACTIONS:
        best = max((each for each in found if each.label == label), key=lambda each: each.score)
        np.testing.assert_allclose([best.start_seconds, best.end_seconds], [start, end], atol=0.8)
    assert found.counts.frames_decoded == 300
    assert found.counts.duration_seconds == pytest.approx(30.0, abs=0.1)
    assert (found.counts.clips_computed == found.counts.clips_exhaustive) == (effort == 1.0)
    assert len(found.thumbnails) > 10
    assert len(found) == len(list(found)) == len(found.segments)


def test_arrays_need_a_frame_rate_and_give_what_files_give(model: VideoRecogniser, video: Path) -> None:
    with pytest.raises(UnreadableVideoError, match="frame rate"):
        model.detect(coloured_frames())
    of_array = model.detect(coloured_frames(), fps=FPS, min_score=0.5)
    of_file = model.detect(video, min_score=0.5)
    assert [each.label for each in of_array] == [each.label for each in of_file]
    times = [(each.start_seconds, each.end_seconds) for each in of_array]
    np.testing.assert_allclose(times, [(each.start_seconds, each.end_seconds) for each in of_file], atol=0.2)


def test_a_given_frame_rate_counts(model: VideoRecogniser, video: Path) -> None:
    assert model.detect(video, fps=5.0).counts.duration_seconds == pytest.approx(60.0)


def test_a_bad_file_in_a_list_does_not_stop_the_others(model: VideoRecogniser, video: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    absent, good = model.detect([tmp_path / "absent.mp4", video], progress=lambda *step: done.append(step))
    assert absent.error == "file not found"
    assert good.error is None
    assert good.segments
    assert done == [(1, 2), (2, 2)]
    with pytest.raises(UnreadableVideoError, match="file not found"):
        model.detect(tmp_path / "absent.mp4")


def test_damage_is_told_and_what_is_before_it_counts(model: VideoRecogniser, tmp_path: Path) -> None:
    path = write_truncated(tmp_path / "cut.mp4", num_frames=60, keep=0.5)
    found = model.detect(path)
    assert found.damage is not None
    assert 0 < found.counts.frames_decoded < 60


def test_the_stride_comes_from_settings_calibration_or_training() -> None:
    recogniser = VideoRecogniser(tiny_recogniser(), short_side=24)
    with pytest.raises(ValueError, match="--stride-frames"):
        recogniser.long_video_model().stride_frames(DetectionSettings())
    assert recogniser.long_video_model().stride_frames(DetectionSettings(stride_frames=3.0)) == 3.0
    recogniser.training_stride_frames = 5.0
    assert recogniser.long_video_model().stride_frames(DetectionSettings()) == 2.5


def test_a_calibration_in_the_model_file_is_used(tmp_path: Path, video: Path) -> None:
    path = tmp_path / "model.safetensors"
    provenance = {"store": {"short_side": 24, "median_frames": 64.0}}
    save_model(path, constant_recogniser(1), provenance=provenance)
    plain = load_model(path)
    assert plain.training_stride_frames == 64.0 / (8 * 4.0)
    assert {each.label for each in plain.detect(video)} == {"down"}
    calibration = plain.calibration.as_plain() | {"background_logit": 50.0, "stride_frames": 2.0}
    save_calibration(path, calibration)
    again = load_model(path)
    assert again.calibration.background_logit == 50.0
    assert again.short_side == 24
    assert again.predict(video).label == "down"  # as before
    assert again.detect(video).segments == ()  # all is background


def test_a_calibration_of_other_weights_or_of_before_is_noticed(tmp_path: Path, video: Path) -> None:
    path, other = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    provenance = {"store": {"short_side": 24, "median_frames": 64.0}}
    for file, class_id in ((path, 1), (other, 2)):
        save_model(file, constant_recogniser(class_id), provenance=provenance)
        save_calibration(file, {"background_logit": 0.0})
        assert load_model(file).detect(video).segments
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    changed = load_file(other)
    for weights, metadata, told in (
        (changed, header, "was made for other weights than those in the file"),
        (load_file(path), {key: value for key, value in header.items() if "made_for" not in key}, "an earlier version"),
    ):
        save_file(weights, path, metadata)
        model = load_model(path)
        assert model.predict(video).labels, "classes of a short video need no calibration"
        with pytest.raises(ValueError, match=f"model.safetensors: .*{told}.*; run `sparsedense calibrate` again"):
            model.detect(video)
    save_calibration(path, {"background_logit": 0.0})
    assert load_model(path).detect(video).segments, "made again, all is well"


@pytest.mark.parametrize("values", [{"min_score": 2.0}, {"fps": 0.0}])
def test_settings_that_cannot_be_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        DetectionSettings(**values)  # type: ignore[arg-type]


def test_a_model_without_classes_is_told(video: Path) -> None:
    with pytest.raises(NoClassesError):
        VideoRecogniser(tiny_recogniser(()), short_side=24).detect(video)
