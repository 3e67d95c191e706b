import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsedense.cli import main
from sparsedense.data.errors import CatalogError
from sparsedense.detection.head import DetectionHead
from sparsedense.detection.trained_head import read_head
from sparsedense.models.model_file import load_model as load_recogniser
from sparsedense.models.model_file import save_model
from sparsedense.models.recogniser import Recogniser
from sparsedense.prediction.video_recogniser import load_model
from sparsedense.training.detection import finetune_detection
from sparsedense.training.detection_head import HeadTraining
from sparsedense.training.run_folder import RunFolderError
from tests.training.coloured_videos import write_coloured_videos, write_model

Capture = pytest.CaptureFixture[str]
TINY = HeadTraining(epochs=1, channels=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_coloured_videos(tmp_path_factory.mktemp("coloured"))
    write_model(folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """A head trained by the command line until it knows the colours."""
    out = folder / "run"
    flags = ["--init", str(folder / "model.safetensors"), "--out", str(out), "--epochs", "30", "--channels", "24"]
    flags += ["--features", str(folder / "features")]
    assert main(["finetune", str(folder), "--task", "detection", *flags, "--learning-rate", "0.003"]) == 0
    return out


def test_the_head_finds_the_actions_of_other_videos(run: Path, folder: Path, capsys: Capture) -> None:
    model = str(run / "model.safetensors")
    assert main(["evaluate", model, str(folder), "--task", "detection", "--json", "--effort=1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["map"]["0.5"] >= 0.9
    assert main(["evaluate", model, str(folder), "--task", "detection", "--json", "--effort=0.25"]) == 0
    zoomed = json.loads(capsys.readouterr().out)
    assert zoomed["clips_computed"] < result["clips_computed"]
    assert zoomed["map"]["0.5"] >= 0.75


def test_a_run_is_a_folder(run: Path) -> None:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == list(range(1, 31))
    assert records[-1]["loss_distances"] < records[0]["loss_distances"]
    assert "val_map" in records[4]
    assert all((run / name).exists() for name in ("config.yaml", "environment.json", "model.safetensors"))


def test_detect_uses_the_head_and_can_do_without(run: Path, folder: Path, capsys: Capture) -> None:
    model, video = str(run / "model.safetensors"), str(folder / "video8.mp4")
    found = load_model(model, device="cpu").detect(video)
    assert {each.label for each in found} <= {"red", "blue"}
    assert main(["detect", model, video, "--method", "window", "--json", "--min-score", "0.01"]) == 0
    windows = json.loads(capsys.readouterr().out)
    assert windows
    assert not {each["label"] for each in windows} & {"red", "blue"}, "the classes of the recogniser are others"
    short = load_model(model, device="cpu").detect(folder / "short.mp4", min_score=0.0)
    assert all(0 <= each.start_seconds < each.end_seconds <= 0.5 for each in short)


def test_calibrating_the_head_again_gives_what_the_training_gave(run: Path, folder: Path, capsys: Capture) -> None:
    model = run / "model.safetensors"
    before = read_head(model)
    assert before is not None
    assert main(["calibrate", str(model), str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["calibration"]["factor"] == pytest.approx(before.calibration.factor, rel=0.05)
    assert report["calibration"]["shift"] == pytest.approx(before.calibration.shift, rel=0.05, abs=0.05)


def test_what_the_head_does_not_do_is_told(run: Path, folder: Path, capsys: Capture) -> None:
    model, video = str(run / "model.safetensors"), str(folder / "video8.mp4")
    assert main(["detect", model, video, "--num-scales", "2"]) == 1
    assert "trained at stride_frames" in capsys.readouterr().err
    assert main(["detect", str(folder / "model.safetensors"), video, "--method", "head"]) == 1
    assert "the model has no detection head" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_head(folder: Path, tmp_path: Path) -> None:
    heads = []
    for number, seed in enumerate((0, 0, 1)):
        training = HeadTraining(**{**vars(TINY), "seed": seed})
        out = tmp_path / f"run{number}"
        finetune_detection(
            folder, out, init=folder / "model.safetensors", training=training, features=folder / "features"
        )
        head = read_head(out / "model.safetensors")
        assert head is not None
        assert isinstance(head.network, DetectionHead)
        heads.append(head.network.state_dict())
    first, again, other = heads
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["class_tower.out.weight"], other["class_tower.out.weight"])


def test_an_encoder_without_classes_gets_a_head(folder: Path, tmp_path: Path) -> None:
    recogniser = load_recogniser(folder / "model.safetensors")
    bare = Recogniser(recogniser.encoder, clips=recogniser.clips)
    store = {"short_side": 24, "median_frames": 64.0}
    save_model(tmp_path / "bare.safetensors", bare, provenance={"store": store})
    finetune_detection(
        folder, tmp_path / "run", init=tmp_path / "bare.safetensors", training=TINY, features=folder / "features"
    )
    model = load_model(tmp_path / "run" / "model.safetensors", device="cpu")
    found = model.detect(np.full((40, 24, 32, 3), 100, dtype=np.uint8), fps=10.0, min_score=0.0)
    assert {each.label for each in found} <= {"red", "blue"}
    with pytest.raises(ValueError, match="no classes for the method `window`"):
        model.detect(np.full((40, 24, 32, 3), 100, dtype=np.uint8), fps=10.0, method="window")


def test_what_is_missing_is_told(folder: Path, tmp_path: Path, run: Path) -> None:
    init = folder / "model.safetensors"
    with pytest.raises(RunFolderError, match="holds a run already"):
        finetune_detection(folder, run, init=init)
    with pytest.raises(CatalogError, match="no such file; detection learns from a folder of long videos"):
        finetune_detection(tmp_path, tmp_path / "run", init=init)
    (tmp_path / "annotations.json").write_text(
        '{"database": {"a": {"subset": "training", "annotations": []}, "b": {"subset": "testing", "annotations": []}}}'
    )
    with pytest.raises(CatalogError, match="'a'"):
        finetune_detection(tmp_path, tmp_path / "run", init=init)
    with pytest.raises(ValueError, match="epochs \\(0\\)"):
        HeadTraining(epochs=0)
    with pytest.raises(ValueError, match="learning_rate"):
        HeadTraining(learning_rate=0.0)
