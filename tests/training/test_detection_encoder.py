import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from sparsedense.cli import main
from sparsedense.data.clip_config import ClipConfig
from sparsedense.models.encoder import EncoderConfig
from sparsedense.models.model_file import load_model as load_recogniser
from sparsedense.models.model_file import save_model
from sparsedense.models.recogniser import build_recogniser
from sparsedense.prediction.annotated_videos import annotated_splits
from sparsedense.prediction.video_recogniser import load_model
from sparsedense.training.detection import finetune_detection
from sparsedense.training.detection_encoder import EncoderTraining, quarters_of, with_background
from sparsedense.training.detection_head import HeadTraining
from tests.training.coloured_videos import write_coloured_videos

Capture = pytest.CaptureFixture[str]
AUGMENT = {"colour_mix_probability": 0.0, "hue_degrees": 0.0, "grey_probability": 0.0, "saturation": 0.1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured videos, and a true small network that has learnt nothing yet."""
    folder = write_coloured_videos(tmp_path_factory.mktemp("coloured"))
    torch.manual_seed(0)
    config = EncoderConfig(depth=10, width=0.125, last_stage_temporal_stride=1)
    model = build_recogniser(config, ("red", "green"), clips=asdict(ClipConfig(length=16, size=16)))
    store = {"short_side": 24, "median_frames": 64.0}
    save_model(folder / "model.safetensors", model, provenance={"store": store, "experiment": {"augment": AUGMENT}})
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    out = folder / "run"
    flags = ["--init", str(folder / "model.safetensors"), "--out", str(out), "--epochs", "2", "--channels", "8"]
    flags += ["--encoder-epochs", "6", "--encoder-learning-rate", "0.003", "--device", "cpu"]
    assert main(["finetune", str(folder), "--task", "detection", *flags]) == 0
    return out


def test_the_encoder_learns_what_is_an_action_and_what_is_none(run: Path, folder: Path, capsys: Capture) -> None:
    model = str(run / "model.safetensors")
    capsys.readouterr()
    found = {}
    for name in (model, str(folder / "model.safetensors")):
        flags = ["--task", "detection", "--method", "window", "--effort", "1", "--json", "--device", "cpu"]
        assert main(["evaluate", name, str(folder), *flags]) == 0
        found[name] = json.loads(capsys.readouterr().out)["map"]["0.5"]
    assert found[model] >= 0.8
    assert found[str(folder / "model.safetensors")] < 0.5, "the model that it began with"


def test_the_model_has_background_and_knows_its_clips(run: Path, folder: Path) -> None:
    before, after = (load_model(path / "model.safetensors", device="cpu") for path in (folder, run))
    assert after.class_names == ("blue", "red", "background")
    assert after.head is not None
    assert after.head.class_names == ("blue", "red")
    assert after.short_side == 24
    assert before.training_stride_frames is not None
    assert after.calibration.stride_frames == pytest.approx(before.training_stride_frames / 2)
    assert after.calibration.background_logit is None, "a class of its own"
    weights = [each.encoder.state_dict()["backbone.stem.0.weight"] for each in (before, after)]
    assert not torch.equal(*weights)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    of_encoder = [record for record in records if "encoder_epoch" in record]
    assert [record["encoder_epoch"] for record in of_encoder] == [1, 2, 3, 4, 5, 6]
    assert of_encoder[-1]["loss"] < of_encoder[0]["loss"]


def test_the_same_seed_gives_the_same_encoder(folder: Path, tmp_path: Path) -> None:
    states = []
    for number, seed in enumerate((0, 0, 1)):
        run = finetune_detection(
            folder,
            tmp_path / str(number),
            init=folder / "model.safetensors",
            training=HeadTraining(epochs=1, channels=8),
            encoder_training=EncoderTraining(epochs=1, clips_per_video=2, seed=seed),
            device="cpu",
        )
        states.append(load_recogniser(run.model).state_dict())
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.linear.weight"], other["classifier.linear.weight"])


def test_what_the_classifier_knows_is_taken_over(folder: Path) -> None:
    model = load_recogniser(folder / "model.safetensors")
    videos = annotated_splits(folder, None, ("train",))["train"]
    extended = with_background(model, videos)
    assert extended.class_names == ("blue", "red", "background")
    assert extended.encoder is model.encoder
    assert model.classifier is not None
    assert extended.classifier is not None
    assert torch.equal(extended.classifier.linear.weight[1], model.classifier.linear.weight[0])
    assert not torch.equal(extended.classifier.linear.weight[0], model.classifier.linear.weight[1])


def test_quarters_are_there_where_the_map_has_them() -> None:
    def quarters(length: int, stride: int) -> int:
        config = EncoderConfig(depth=10, width=0.125, last_stage_temporal_stride=stride)
        return quarters_of(build_recogniser(config, ("a",), clips={"length": length, "size": 16}))

    assert quarters(16, 1) == 4
    assert quarters(16, 2) == 1
    assert quarters(32, 2) == 4


@pytest.mark.parametrize("values", [{"epochs": 0}, {"clips_per_video": 0}, {"learning_rate": 0.0}])
def test_settings_that_cannot_be_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        EncoderTraining(**values)  # type: ignore[arg-type]
