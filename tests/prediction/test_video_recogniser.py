import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparsedense.data.store import FrameStore
from sparsedense.evaluation.evaluate import evaluate
from sparsedense.evaluation.inference import clip_outputs, video_features
from sparsedense.models.model_file import save_model
from sparsedense.models.recogniser import Recogniser
from sparsedense.prediction.answers import Prediction
from sparsedense.prediction.video_model import NoClassesError
from sparsedense.prediction.video_recogniser import VideoRecogniser, load_model
from sparsedense.video.errors import UnreadableVideoError
from sparsedense.video.read import stream_frames
from tests.conftest import HEIGHT, MOTIONS
from tests.evaluation.colour_model import ColourFeatures, Sharpen, tiny_recogniser
from tests.video.sample_videos import write_truncated


@pytest.fixture(scope="module")
def reader() -> VideoRecogniser:
    """Random weights."""
    return VideoRecogniser(tiny_recogniser().eval(), short_side=HEIGHT)


@pytest.fixture(scope="module")
def colour_reader() -> VideoRecogniser:
    """Always right on the squares: their colour is their class."""
    model = VideoRecogniser(tiny_recogniser().eval(), short_side=HEIGHT)
    model.register_module("encoder", ColourFeatures())
    model.register_module("classifier", Sharpen())
    return model


@pytest.fixture
def served(squares_folder: Path) -> Iterator[str]:
    """The address of a server of the squares."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(squares_folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def probabilities_in_store(model: Recogniser, store: FrameStore) -> tuple[list[str], NDArray[np.float32]]:
    """Paths and probabilities (N, L) of the test videos, as `evaluate` has them."""
    videos = store.videos(split="test")
    logits = clip_outputs(model, store, videos, model, num_clips=10, num_workers=0)
    return [store.paths[video_id] for video_id in videos.tolist()], logits.softmax(dim=-1).mean(dim=1).numpy()


def in_order(prediction: Prediction, class_names: tuple[str, ...]) -> list[float]:
    return [float(prediction.probabilities[prediction.labels.index(name)]) for name in class_names]


def test_files_are_judged_as_the_same_videos_in_a_store(raw_store: FrameStore, squares_folder: Path) -> None:
    model = VideoRecogniser(tiny_recogniser().eval(), short_side=raw_store.short_side)
    names, probabilities = probabilities_in_store(model, raw_store)
    paths = [squares_folder / name for name in names]
    for prediction, expected in zip(model.predict(paths, clips_per_video=10), probabilities, strict=True):
        np.testing.assert_allclose(in_order(prediction, model.class_names), expected, atol=1e-5)
    videos = raw_store.videos(split="test")
    features = video_features(model, raw_store, videos, num_clips=10, num_workers=0).numpy()
    np.testing.assert_allclose(model.embed(paths, clips_per_video=10).features_ND, features, atol=1e-5)


def test_the_jpeg_of_a_store_changes_little(reader: VideoRecogniser, squares: FrameStore, squares_folder: Path) -> None:
    names, probabilities = probabilities_in_store(reader, squares)
    predictions = reader.predict([squares_folder / name for name in names], clips_per_video=10)
    for prediction, expected in zip(predictions, probabilities, strict=True):
        np.testing.assert_allclose(in_order(prediction, reader.class_names), expected, atol=2e-3)


def test_one_video_gives_one_prediction(colour_reader: VideoRecogniser, squares_folder: Path) -> None:
    path = squares_folder / "test" / "down" / "down_test0.mp4"
    for given in (path, str(path), np.stack(list(stream_frames(path)))):
        prediction = colour_reader.predict(given)
        assert prediction.label == "down"
        assert set(prediction.labels) == set(MOTIONS)
        assert list(prediction.probabilities) == sorted(prediction.probabilities, reverse=True)
        assert prediction.probability == prediction.probabilities[0]
        assert prediction.probabilities.sum() == pytest.approx(1.0)
        assert prediction.num_frames == len(list(stream_frames(path)))
    assert colour_reader.predict(path).video == str(path)


def test_the_batches_change_nothing(reader: VideoRecogniser, squares_folder: Path) -> None:
    folder = squares_folder / "val"
    alone = [reader.predict(path, batch_size=1) for path in sorted(folder.rglob("*.mp4"))]
    together = reader.predict([folder], batch_size=5, num_threads=3)
    assert [prediction.video for prediction in together] == [prediction.video for prediction in alone]
    for one, other in zip(alone, together, strict=True):
        assert one.labels == other.labels
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)


def test_one_bad_file_does_not_stop_the_others(
    colour_reader: VideoRecogniser, squares_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.mp4").write_text("no video" * 100)
    good = squares_folder / "test" / "right"
    predictions = colour_reader.predict([tmp_path / "bad.mp4", good / "right_test0.mp4", tmp_path / "absent.mp4"])
    assert [prediction.error is None for prediction in predictions] == [False, True, False]
    assert "not a video file" in str(predictions[0].error)
    assert predictions[1].label == "right"
    assert predictions[2].error == "file not found"
    for ask in (lambda: predictions[0].label, lambda: predictions[0].probability):
        with pytest.raises(ValueError, match=r"no prediction for .*bad\.mp4: not a video file"):
            ask()
    with pytest.raises(UnreadableVideoError, match=r"bad\.mp4: not a video file"):
        colour_reader.predict(tmp_path / "bad.mp4")
    with pytest.raises(UnreadableVideoError, match=r"absent\.mp4: file not found"):
        colour_reader.embed(tmp_path / "absent.mp4")


def test_a_damaged_file_is_recognised_by_what_is_good_of_it(colour_reader: VideoRecogniser, tmp_path: Path) -> None:
    path = write_truncated(tmp_path / "short.mp4", 40, keep=0.6)
    prediction = colour_reader.predict(path)
    assert f"damaged after frame {prediction.num_frames}" in str(prediction.damage)
    assert 0 < prediction.num_frames < 40
    assert colour_reader.embed([path]).damages == {str(path): prediction.damage}


def test_features_have_a_row_for_each_video_that_can_be_read(
    reader: VideoRecogniser, squares_folder: Path, tmp_path: Path
) -> None:
    folder = squares_folder / "val"
    embeddings = reader.embed([tmp_path / "absent.mp4", folder])
    paths = sorted(folder.rglob("*.mp4"))
    assert embeddings.videos == tuple(map(str, paths))
    assert embeddings.errors == {str(tmp_path / "absent.mp4"): "file not found"}
    assert embeddings.features_ND.shape == (3, reader.encoder.feature_dim)
    assert embeddings.features_ND.dtype == np.float32
    np.testing.assert_allclose(reader.embed(paths[1]).features_ND[0], embeddings.features_ND[1], atol=1e-5)
    nothing = reader.embed([tmp_path / "absent.mp4"])
    assert (nothing.features_ND.shape, nothing.videos) == ((0, reader.encoder.feature_dim), ())


def test_a_model_without_classes_embeds_but_does_not_predict(squares_folder: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", tiny_recogniser(()), provenance={})
    model = load_model(tmp_path / "m.safetensors")
    path = squares_folder / "val" / "down" / "down_val0.mp4"
    with pytest.raises(NoClassesError, match=r"m\.safetensors has no classes: .*`sparsedense finetune STORE --init"):
        model.predict(path)
    assert len(model.embed(path).features_ND) == 1


def test_videos_are_read_from_a_web_server(colour_reader: VideoRecogniser, served: str) -> None:
    good, missing = f"{served}/test/down/down_test0.mp4", f"{served}/absent.mp4"
    predictions = colour_reader.predict([good, missing])
    assert (predictions[0].video, predictions[0].label) == (good, "down")
    assert "404" in str(predictions[1].error)


def test_a_video_on_a_server_is_not_downloaded_to_be_counted(
    colour_reader: VideoRecogniser, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("sparsedense.prediction.clips.count_frames")
    assert colour_reader.predict(f"{served}/test/right/right_test0.mp4").label == "right"


def test_the_model_is_in_evaluation_mode_meanwhile_and_then_as_before(squares_folder: Path) -> None:
    model = VideoRecogniser(tiny_recogniser().train(), short_side=HEIGHT)
    before = model.state_dict()["encoder.backbone.stem.1.running_mean"].clone()
    model.predict(squares_folder / "val" / "down" / "down_val0.mp4")
    assert model.training
    assert torch.equal(model.state_dict()["encoder.backbone.stem.1.running_mean"], before)


def test_progress_counts_videos(reader: VideoRecogniser, squares_folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    reader.predict([squares_folder / "val"], batch_size=100, progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("recorded", "told", "expected"), [({"short_side": 40}, None, 40), ({"short_side": 40}, 64, 64), ({}, None, 128)]
)
def test_frames_are_scaled_as_in_the_store_that_the_model_learnt_from(
    tmp_path: Path, recorded: dict[str, object], told: int | None, expected: int
) -> None:
    save_model(tmp_path / "m.safetensors", tiny_recogniser(), provenance={"store": recorded})
    assert load_model(tmp_path / "m.safetensors", short_side=told).short_side == expected


def test_a_loaded_model_is_a_recogniser_like_any_other(squares: FrameStore, tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", tiny_recogniser(), provenance={})
    model = load_model(tmp_path / "m.safetensors", device="cpu")
    assert not model.training
    assert model.class_names == tuple(MOTIONS)
    plain = evaluate(tmp_path / "m.safetensors", squares, clips_per_video=1, num_workers=0)
    assert evaluate(model, squares, clips_per_video=1, num_workers=0) == plain
    save_model(tmp_path / "again.safetensors", model, provenance={})
    clip = torch.rand(1, 3, 8, 16, 16)
    assert torch.equal(load_model(tmp_path / "again.safetensors")(clip), model(clip))
