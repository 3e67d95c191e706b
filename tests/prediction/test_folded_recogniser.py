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
    return load_model(path, device="cpu", precision="float32")


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
    assert model._fast_encoder.is_folded, "the fast way was taken"
    with torch.no_grad():
        next(model.encoder.parameters()).mul_(2.0)
    assert not torch.allclose(assert_as_the_network(model), before, rtol=1e-2)


def test_training_and_gradients_go_through_the_network(model: VideoRecogniser) -> None:
    torch.autograd.backward(model.features(CLIPS).sum())
    assert next(model.encoder.parameters()).grad is not None
    model.train()
    with torch.no_grad():
        model.features(CLIPS)
    assert not model._fast_encoder.is_folded


def test_a_model_read_for_inference_alone_answers(model: VideoRecogniser) -> None:
    with torch.inference_mode():
        read = load_model(model.name, device="cpu", precision="float32")
        torch.testing.assert_close(read.logits(CLIPS), model.logits(CLIPS))


def test_bfloat16_answers_nearly_the_same(model: VideoRecogniser) -> None:
    rounded = load_model(model.name, device="cpu", precision="bfloat16")
    with torch.inference_mode():
        features, told = model.features(CLIPS), rounded.features(CLIPS)
    assert told.dtype == torch.float32
    assert not torch.equal(told, features), "another way was taken"
    assert (told - features).abs().max() < 0.05 * features.std()


def test_frames_are_subtracted_before_they_are_rounded(model: VideoRecogniser) -> None:
    # Each frame is brighter than the one before by less than a step of bfloat16 at 0.75, which is 1/256.
    brightness_T = 0.75 + torch.arange(16) / 2048
    clips = brightness_T.view(1, 1, 16, 1, 1).expand(1, 3, 16, 16, 16).contiguous()
    rounded = load_model(model.name, device="cpu", precision="bfloat16")
    with torch.inference_mode():
        features, told, still = (
            model.features(clips),
            rounded.features(clips),
            model.features(clips[:, :, :1].expand_as(clips)),
        )
    assert (told - features).abs().max() < 0.1 * (still - features).abs().max()


def test_an_unknown_precision_is_refused(model: VideoRecogniser) -> None:
    with pytest.raises(ValueError, match="precision 'int8' is not known"):
        load_model(model.name, precision="int8")
