from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsedense.data.segments import AnnotatedVideo
from sparsedense.prediction.annotated_videos import annotated_splits
from sparsedense.prediction.detection_methods import FeatureMethod
from sparsedense.prediction.long_videos import DetectionSettings, LongVideo
from sparsedense.prediction.sources import VideoSource
from sparsedense.training.detection_features import VideoFeatures, feature_statistics, read_features
from sparsedense.video.errors import UnreadableVideoError
from tests.training.coloured_videos import load, write_coloured_videos, write_model
from tests.video.sample_videos import write_truncated

SETTINGS = DetectionSettings()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_coloured_videos(tmp_path_factory.mktemp("coloured"))
    write_model(folder / "model.safetensors")
    return folder


def annotated(folder: Path, *names: str) -> list[AnnotatedVideo]:
    videos = annotated_splits(folder, None, ("train",))["train"]
    return [video for video in videos if video.video_id in names]


def features_of(folder: Path, cache: Path, *names: str) -> list[VideoFeatures]:
    recogniser, model = load(folder / "model.safetensors")
    return read_features(annotated(folder, *names), model, recogniser.encoder, SETTINGS, cache)


@pytest.mark.parametrize("name", ["video0", "short"])
def test_they_are_what_the_scans_give(folder: Path, tmp_path: Path, name: str) -> None:
    (features,) = features_of(folder, tmp_path, name)
    _, model = load(folder / "model.safetensors")
    method = FeatureMethod(model.features, model.stride_frames(SETTINGS), 3)
    part = features.part(0, len(features))
    for effort, kept in ((1.0, part.full_PKD), (0.0, part.skim_PKD)):
        source = VideoSource(name, folder / f"{name}.mp4")
        curves = list(LongVideo(source, model, replace(SETTINGS, effort=effort), method).curves())
        rows_PKD = np.concatenate([curve.outputs_KPD for curve in curves], axis=1).swapaxes(0, 1)
        np.testing.assert_allclose(kept, rows_PKD, atol=2e-3, rtol=2e-3)
    np.testing.assert_allclose(
        part.skim_presence_PK, np.concatenate([each.presence_KP.T for each in curves]), atol=1e-6
    )
    assert features.edges_seconds[-1] == pytest.approx(0.3 if name == "short" else 16.0, abs=0.2)
    np.testing.assert_array_equal(features.part(0, 1).full_PKD, part.full_PKD[:1])


def test_segments_are_told_in_positions(folder: Path, tmp_path: Path) -> None:
    (features,) = features_of(folder, tmp_path, "video0")
    bounds = features.segments_in_positions()
    back = np.interp(bounds, np.arange(len(features) + 1), features.edges_seconds)
    told = [(each.start_seconds, each.end_seconds) for each in features.video.segments]
    np.testing.assert_allclose(back, told, atol=1e-6)
    (empty,) = features_of(folder, tmp_path, "nothing")
    assert empty.segments_in_positions().shape == (0, 2)


def test_they_are_computed_once_for_each_network_and_video(folder: Path, tmp_path: Path) -> None:
    (first,) = features_of(folder, tmp_path, "short")
    before = (first.folder / "rows.bin").stat().st_mtime_ns
    (again,) = features_of(folder, tmp_path, "short")
    assert (again.folder / "rows.bin").stat().st_mtime_ns == before
    recogniser, model = load(folder / "model.safetensors")
    with torch.no_grad():
        next(recogniser.encoder.parameters()).mul_(2)
    (other,) = read_features(annotated(folder, "short"), model, recogniser.encoder, SETTINGS, tmp_path)
    assert other.folder != first.folder
    slower = replace(SETTINGS, stride_frames=3.0)
    recogniser, model = load(folder / "model.safetensors")
    (other,) = read_features(annotated(folder, "short"), model, recogniser.encoder, slower, tmp_path)
    assert other.folder != first.folder


def test_a_damaged_video_is_named_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    write_truncated(broken, 60, keep=0.6)
    recogniser, model = load(folder / "model.safetensors")
    video = AnnotatedVideo(video_id="broken", split="train", segments=(), path=broken)
    with pytest.raises(UnreadableVideoError, match=r"broken\.mp4"):
        read_features([video], model, recogniser.encoder, SETTINGS, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("edges_seconds.npy")]


def test_statistics_are_those_of_all_clips(folder: Path, tmp_path: Path) -> None:
    features = features_of(folder, tmp_path, "video0", "short")
    rows_PKD = np.concatenate([each.part(0, len(each)).full_PKD for each in features])
    mean_KD, std_KD = feature_statistics(features)
    np.testing.assert_allclose(mean_KD, rows_PKD.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(std_KD, rows_PKD.std(axis=0), atol=1e-4)
