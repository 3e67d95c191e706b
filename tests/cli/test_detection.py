import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsedense.actors.untrimmed import write_annotations
from sparsedense.cli import main
from sparsedense.detection.scan import DEFAULT_EFFORT
from sparsedense.detection.segment_files import read_results_json
from sparsedense.models.model_file import read_calibration, save_model
from sparsedense.video.write import write_video
from tests.evaluation.colour_model import tiny_recogniser

Capture = pytest.CaptureFixture[str]
FPS = 10.0


@pytest.fixture
def model(tmp_path: Path) -> str:
    """An untrained model; these tests are about what is printed and written."""
    path = tmp_path / "model.safetensors"
    recogniser = tiny_recogniser()
    assert recogniser.classifier is not None
    with torch.no_grad():
        recogniser.classifier.linear.weight.mul_(20)
    save_model(path, recogniser, provenance={"store": {"short_side": 24, "median_frames": 128.0}})
    return str(path)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos in which a colour comes and goes, and when, each in a split of its own."""
    folder = tmp_path_factory.mktemp("untrimmed")
    for channel, name in ((1, "one"), (2, "two")):
        frames = np.full((200, 24, 32, 3), 100, dtype=np.uint8)
        frames[60:120, ..., channel] = 230
        write_video(folder / f"{name}.mp4", iter(frames), fps=FPS)
    rows = [("one", "validation", 20.0, [("down", 60, 120)]), ("two", "testing", 20.0, [("right", 60, 120)])]
    write_annotations(folder / "annotations.json", rows, fps=FPS)
    return folder


def test_json_is_a_list_for_each_video(model: str, videos: Path, capsys: Capture) -> None:
    absent = str(videos / "absent.mp4")
    assert main(["detect", model, str(videos / "one.mp4"), absent, "--json", "--min-score", "0.05"]) == 3
    printed = capsys.readouterr()
    first, second = map(json.loads, printed.out.splitlines())
    assert first
    assert all(set(row) == {"start_seconds", "end_seconds", "label", "score"} for row in first)
    assert second is None
    assert f"error: {absent}: file not found" in printed.err


def test_people_get_a_table_and_files(model: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    out = {name: tmp_path / f"out.{name}" for name in ("csv", "vtt", "srt", "activitynet")}
    flags = [part for name, path in out.items() for part in (f"--{name}", str(path))]
    picture = tmp_path / "out.svg"
    one = str(videos / "one.mp4")
    assert main(["detect", model, one, *flags, "--timeline", str(picture), "--effort", "0", "--min-score=0.05"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "200 frames decoded" in shown
    assert "start" in shown
    assert out["vtt"].read_text().startswith("WEBVTT")
    assert all(path.is_file() for path in (*out.values(), picture))
    assert set(read_results_json(out["activitynet"])) == {"one"}


def test_several_videos_get_a_file_each(model: str, videos: Path, tmp_path: Path) -> None:
    assert main(["detect", model, str(videos), str(videos / "one.mp4"), "--srt", str(tmp_path / "captions")]) == 0
    assert sorted(path.name for path in (tmp_path / "captions").iterdir()) == ["one-2.srt", "one.srt", "two.srt"]


def test_calibrate_then_evaluate(model: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["calibrate", model, str(videos), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["videos"] == 1
    assert report["calibration"]["background_logit"] is not None
    saved = read_calibration(model)
    assert saved is not None
    assert saved["temperature"] == report["calibration"]["temperature"]
    assert main(["evaluate", model, str(videos), "--task", "detection", "--json", "--effort=1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"0.3", "0.5", "0.95"} <= set(result["map"])
    assert result["average"] == pytest.approx(np.mean([result["map"][f"0.{tenth}"] for tenth in range(3, 8)]))
    assert (result["videos"], result["segments"]) == (1, 1)
    results = tmp_path / "results.json"
    assert main(["evaluate", model, str(videos), "--task=detection", "--activitynet", str(results)]) == 0
    assert "mAP@0.5" in capsys.readouterr().out
    assert set(read_results_json(results)) == {"two"}


def test_what_is_missing_is_told(model: str, videos: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["evaluate", model, str(videos), "--task", "dancing"]) == 1
    assert "--task dancing is not known" in capsys.readouterr().err
    annotations = str(videos / "annotations.json")
    (tmp_path / "empty").mkdir()
    evaluate = ["evaluate", model, str(tmp_path / "empty"), "--task", "detection", "--annotations", annotations]
    assert main(evaluate) == 1
    assert "1 video of 1 of the split 'test' missing: 'two'" in capsys.readouterr().err
    assert main([*evaluate, "--split", "train"]) == 1
    assert "no video of the split 'train'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["detect"], ["evaluate", "--task", "detection"]])
def test_the_default_effort_is_that_of_the_library(command: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    told = capsys.readouterr().out.split("--effort EFFORT")[-1]
    assert f"default: {DEFAULT_EFFORT}" in " ".join(told.split())
