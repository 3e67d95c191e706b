from pathlib import Path

import pytest
import torch

from sparsedense.models.encoder import EncoderConfig, pool, quarter_features
from sparsedense.models.model_file import save_model
from sparsedense.models.recogniser import build_recogniser
from sparsedense.prediction.video_recogniser import VideoRecogniser, load_model

CLIPS = torch.rand(2, 3, 16, 16, 16)


@pytest.fixture
def model(tmp_path: Path) -> VideoRecogniser:
    torch.manual_seed(0)
    config = EncoderConfig(depth=10, width=0.125, input="residual")
    path = tmp_path / "model.safetensors"
    save_model(path, build_recogniser(config, ("a", "b"), clips={"length": 16, "size": 16}), provenance={})
    return load_model(path, device="cpu")


@torch.no_grad()
def assert_as_the_network(model: VideoRecogniser) -> torch.Tensor:
    map_BCKHW = model.encoder(CLIPS)
    assert model.classifier is not None
    features, quarters = pool(map_BCKHW), quarter_features(map_BCKHW, 16)
    for told, expected in (
        (model.features(CLIPS), features),
        (model.quarter_features(CLIPS), quarters),
        (model.logits(CLIPS), model.classifier(features)),
        (model.quarter_logits(CLIPS), model.classifier(quarters)),
    ):
        torch.testing.assert_close(told, expected, rtol=1e-4, atol=1e-5)
    return features


def test_answers_are_the_networks_and_follow_its_weights(model: VideoRecogniser) -> None:
    before = assert_as_the_network(model)
    assert model._folded is not None, "the fast way was taken"
    with torch.no_grad():
        next(model.encoder.parameters()).mul_(2.0)
    assert not torch.allclose(assert_as_the_network(model), before, rtol=1e-2)


def test_training_and_gradients_go_through_the_network(model: VideoRecogniser) -> None:
    torch.autograd.backward(model.features(CLIPS).sum())
    assert next(model.encoder.parameters()).grad is not None
    model.train()
    with torch.no_grad():
        model.features(CLIPS)
    assert model._folded is None


def test_a_model_read_for_inference_alone_answers(model: VideoRecogniser) -> None:
    with torch.inference_mode():
        read = load_model(model.name, device="cpu")
        torch.testing.assert_close(read.logits(CLIPS), model.logits(CLIPS))
