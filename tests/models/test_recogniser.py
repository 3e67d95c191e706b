import pytest
import torch

from sparsedense.models.encoder import Encoder, EncoderConfig
from sparsedense.models.heads import ClassifierHead
from sparsedense.models.recogniser import Recogniser, build_recogniser

CONFIG = EncoderConfig(depth=10, width=0.125)


def test_clips_become_logits_over_the_named_classes() -> None:
    model = build_recogniser(CONFIG, ("sit", "stand", "wave"), clips={"length": 8, "size": 16}).eval()
    clips = torch.rand(2, 3, 8, 16, 16)
    assert model.clips == {"length": 8, "size": 16}
    assert model.classifier is not None
    assert model(clips).shape == (2, 3)
    torch.testing.assert_close(model(clips), model.classifier(model.features(clips)))
    torch.testing.assert_close(model.features(clips), model.encoder(clips).mean(dim=(2, 3, 4)))


def test_without_classes_there_is_no_classifier() -> None:
    model = build_recogniser(CONFIG)
    assert model.classifier is None
    assert model.speed_head is not None
    with pytest.raises(RuntimeError, match=r"no classifier.*sparsedense finetune"):
        model(torch.rand(1, 3, 8, 16, 16))
    assert build_recogniser(CONFIG, speed_head=False).speed_head is None


def test_new_classes_go_onto_the_same_encoder() -> None:
    model = build_recogniser(CONFIG, ("a", "b"), clips={"length": 8})
    finetuned = model.with_classes(("x", "y", "z"), dropout=0.3)
    assert finetuned.encoder is model.encoder
    assert finetuned.speed_head is model.speed_head
    assert finetuned.class_names == ("x", "y", "z")
    assert finetuned.clips == model.clips
    assert finetuned.classifier is not None
    assert finetuned.classifier.dropout.p == 0.3
    assert model.class_names == ("a", "b")


def test_new_speeds_go_onto_the_same_encoder() -> None:
    model = build_recogniser(CONFIG, ("a", "b"), clips={"length": 8}, num_speeds=4)
    ranking = model.with_speeds(1)
    assert ranking.encoder is model.encoder
    assert ranking.classifier is model.classifier
    assert (ranking.class_names, ranking.clips) == (model.class_names, model.clips)
    assert ranking.speed_head is not None
    assert ranking.speed_head.num_speeds == 1
    assert model.speed_head is not None
    assert model.speed_head.num_speeds == 4


def test_the_same_seed_gives_the_same_weights() -> None:
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(torch.cat([value.flatten() for value in build_recogniser(CONFIG, ("a",)).parameters()]))
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


def test_names_must_fit_the_classifier() -> None:
    encoder = Encoder(CONFIG)
    with pytest.raises(ValueError, match="1 class_names for a classifier of 2 classes"):
        Recogniser(encoder, classifier=ClassifierHead(64, 2), class_names=("a",))
    with pytest.raises(ValueError, match="1 class_names for a classifier of 0 classes"):
        Recogniser(encoder, class_names=("a",))
    with pytest.raises(ValueError, match="class_names must differ, got a more than once"):
        build_recogniser(CONFIG, ("a", "b", "a"))
