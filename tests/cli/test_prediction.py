import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparsedense.cli import main
from sparsedense.models.model_file import save_model
from tests.conftest import HEIGHT, MOTIONS, square_frames
from tests.evaluation.colour_model import constant_recogniser, tiny_recogniser
from tests.video.sample_videos import write_truncated
from tests.video.stream_server import serve_stream

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that calls everything `down`."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, constant_recogniser(1), provenance={"store": {"short_side": HEIGHT}})
    return str(path)


@pytest.fixture
def videos(squares_folder: Path, tmp_path: Path) -> Path:
    """Two videos."""
    (tmp_path / "videos").mkdir()
    for name in ("down", "right"):
        shutil.copy(squares_folder / "val" / name / f"{name}_val0.mp4", tmp_path / "videos")
    return tmp_path / "videos"


def test_predictions_for_people_are_a_table(model: str, videos: Path, capsys: Capture) -> None:
    assert main(["predict", model, str(videos / "down_val0.mp4"), "--top-k", "2"]) == 0
    shown = capsys.readouterr().out
    assert "100.0%" in shown
    assert shown.count("%") == 2


def test_predictions_as_json_are_one_list_and_nothing_else(model: str, videos: Path, capsys: Capture) -> None:
    assert main(["predict", model, str(videos), "--json", "--top-k", "1", "--clips-per-video=2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    records = json.loads(printed)
    assert [Path(record["video"]).name for record in records] == ["down_val0.mp4", "right_val0.mp4"]
    assert all(record["label"] == "down" and len(record["classes"]) == 1 for record in records)


def test_predictions_are_written_as_csv(model: str, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    assert main(["predict", model, str(videos), "--csv", str(out)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(MOTIONS)
    assert rows[0]["label"] == rows[3]["label"] == "down"


def test_the_exit_status_tells_what_could_be_read(model: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    good, bad = str(videos), str(tmp_path / "absent.mp4")
    out = str(tmp_path / "f.npz")
    for command in (["predict", model], ["embed", model, "--out", out]):
        assert main([*command, good]) == 0
        assert main([*command, bad, good]) == 3
        assert f"error: {bad}: file not found\n" in capsys.readouterr().err
        assert main([*command, bad, bad]) == 1
        assert f"error: {bad}: file not found\n" in capsys.readouterr().err


def test_features_are_written(model: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "features.npy"
    assert main(["embed", model, str(videos / "*.mp4"), "--out", str(out)]) == 0
    assert np.load(out).shape == (2, 32)
    assert f"{out} and {tmp_path / 'features.videos.txt'}: 2 x 32 features" in capsys.readouterr().out
    assert main(["embed", model, str(videos), "--out", str(tmp_path / "features.csv")]) == 1
    assert "features are written as .npz" in capsys.readouterr().err


def test_nothing_is_written_of_nothing(model: str, tmp_path: Path) -> None:
    assert main(["embed", model, str(tmp_path / "absent.mp4"), "--out", str(tmp_path / "f.npz")]) == 1
    assert not list(tmp_path.iterdir())


def test_a_pretrained_model_is_sent_to_finetune(videos: Path, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "pretrained.safetensors"
    save_model(path, tiny_recogniser(()), provenance={})
    assert main(["predict", str(path), str(videos)]) == 1
    assert f"`sparsedense finetune STORE --init {path}`" in capsys.readouterr().err
    assert main(["embed", str(path), str(videos), "--out", str(tmp_path / "f.npz")]) == 0


def test_mistakes_are_told(model: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    for arguments, message in (
        (["nowhere.safetensors", str(videos)], "nowhere.safetensors: no such model file"),
        ([model, str(videos), "--top-k", "0"], "--top-k (0) must be at least 1"),
        ([model, str(videos), "--clips-per-video", "0"], "num_clips (0)"),
        ([model, str(tmp_path / "*.avi")], "no file matches"),
        ([model, str(videos), "--device", "gpu"], "--device gpu: no such device was found on this machine"),
    ):
        assert main(["predict", *arguments]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error
    with pytest.raises(SystemExit) as stopped:
        main(["predict", model])
    assert stopped.value.code == 2


def test_a_damaged_file_is_answered_with_a_warning(model: str, tmp_path: Path, capsys: Capture) -> None:
    path = write_truncated(tmp_path / "short.mp4", 40, keep=0.6)
    assert main(["predict", model, str(path)]) == 0
    assert f"warning: {path}: damaged after frame" in capsys.readouterr().err


def test_a_video_comes_through_a_pipe(
    model: str, videos: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (videos / "down_val0.mp4").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["predict", model, "-", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["video"], record["label"]) == ("-", "down")


def test_a_live_stream_prints_a_line_each_time(model: str, capsys: Capture) -> None:
    frames = list(square_frames(MOTIONS["down"], 1, num_frames=75, seed=0))
    flags = ["--live", "--window-seconds", "1", "--every-seconds=0.5", "--top-k", "2"]
    with serve_stream(frames, pace=8) as url:
        assert main(["predict", model, url, *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 1 <= len(lines) <= 5
    assert all(" s   down 100.0%   " in line for line in lines)
    with serve_stream(frames, pace=8) as url:
        assert main(["predict", model, url, *flags, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(record["label"] == "down" and len(record["classes"]) == 2 for record in records)
    assert [record["end_seconds"] for record in records] == sorted(record["end_seconds"] for record in records)


def test_a_live_stream_that_cannot_be_had_is_told(model: str, tmp_path: Path, capsys: Capture) -> None:
    for arguments, message in (
        (["tcp://127.0.0.1:1"], "cannot be opened as a live stream"),
        (["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"], "--live takes one URL or camera"),
        (["tcp://127.0.0.1:1", "--csv", str(tmp_path / "a.csv")], "and no --csv"),
    ):
        assert main(["predict", model, "--live", *arguments]) == 1
        assert message in capsys.readouterr().err


def test_predicting_needs_no_training_library(model: str, videos: Path) -> None:
    heavy = (
        "lightning", "pytorch_lightning", "tensorboard", "torchmetrics", "torchvision", "matplotlib", "scipy", "cv2",
        "pandas", "sklearn", "pyarrow",
    )  # fmt: skip
    code = (
        "import sys; from sparsedense.cli import main; status = main(sys.argv[1:]);"
        f"print([name for name in {heavy} if name in sys.modules], status)"
    )
    command = [sys.executable, "-c", code, "predict", model, str(videos)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
