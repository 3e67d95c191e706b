import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from sparsedense import __version__
from sparsedense.cli import COMMANDS, main
from sparsedense.cli.parser import parse_function
from sparsedense.config import load_experiment, save_experiment
from sparsedense.data.store import FrameStore
from sparsedense.training.run import TrainingRun
from tests.conftest import tiny_experiment

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def few_videos(squares_folder: Path, tmp_path: Path) -> Path:
    """Two videos of two classes."""
    for name in ("down", "right"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        shutil.copy(squares_folder / "train" / name / f"{name}_train0.mp4", tmp_path / "videos" / name)
    return tmp_path / "videos"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands_in_the_order_of_use(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    listed = [line.split()[0] for line in shown.splitlines() if line.startswith("  ")]
    assert listed == [
        "demo", "actors", "datasets", "prepare", "merge", "inspect", "bench", "tune", "recipes", "pretrain", "probe",
        "finetune", "train", "slurm", "evaluate", "predict", "detect", "calibrate", "embed", "index", "retrieve",
        "export", "compare", "report", "app",
    ]  # fmt: skip
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"sparsedense {command}" in capsys.readouterr().out


def test_the_version_is_told(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sparsedense {__version__}\n"


@pytest.mark.parametrize(
    ("command", "hint"), [("pretrian", "did you mean `pretrain`?"), ("xyz", "see `sparsedense --help`")]
)
def test_an_unknown_command_gets_a_hint(command: str, hint: str, capsys: Capture) -> None:
    assert main([command]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"error: there is no command {command!r}; {hint}\n"
    assert not captured.out


def test_recipes_are_listed_with_what_they_are(capsys: Capture) -> None:
    assert main(["recipes"]) == 0
    shown = capsys.readouterr().out
    names = [line.split()[0] for line in shown.splitlines()]
    assert names == sorted(names)
    assert {"sparsedense", "paper-jsd", "tclr", "small"} <= set(names)
    assert "R(2+1)D-18" in shown


def test_an_empty_folder_is_told(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["prepare", str(tmp_path / "empty"), "--out", str(tmp_path / "store")]) == 1
    error = capsys.readouterr().err
    assert "error: " in error
    assert "empty" in error
    assert "Traceback" not in error
    assert not (tmp_path / "store").exists()


def test_a_folder_without_a_single_video_is_told(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "videos" / "walk").mkdir(parents=True)
    (tmp_path / "videos" / "walk" / "text.mp4").write_text("this is no video\n" * 50)
    assert main(["prepare", str(tmp_path / "videos"), "--out", str(tmp_path / "store"), "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert "walk/text.mp4" in error
    assert "not a video file" in error
    assert "Traceback" not in error


def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text.mp4").write_text("this is no video\n" * 50)
    assert main(["prepare", str(tmp_path / "text.mp4"), "--out", str(tmp_path / "store")]) == 1
    error = capsys.readouterr().err
    assert "text.mp4" in error
    assert "Traceback" not in error


def test_a_traceback_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEDENSE_TRACEBACK", "1")
    with pytest.raises(ValueError, match="nowhere"):
        main(["prepare", str(tmp_path / "nowhere"), "--out", str(tmp_path / "store")])


@pytest.mark.parametrize("flag", ["--short-side", "--short_side"])
def test_flags_may_be_written_both_ways(few_videos: Path, tmp_path: Path, flag: str, capsys: Capture) -> None:
    store = tmp_path / "store"
    assert main(["prepare", str(few_videos), "--out", str(store), flag, "24", "--workers=1"]) == 0
    assert FrameStore(store).short_side == 24
    assert "2 videos" in " ".join(capsys.readouterr().out.split())  # a long path wraps the line


@pytest.mark.parametrize("flag", [["--overwrite"], ["--overwrite=true"], ["--overwrite", "true"]])
def test_a_bare_flag_is_true(few_videos: Path, tmp_path: Path, flag: list[str], capsys: Capture) -> None:
    prepare = ["prepare", str(few_videos), "--out", str(tmp_path / "store"), "--workers", "1"]
    assert main([*prepare, "--short_side", "24"]) == 0
    assert main(prepare) == 1
    assert "short_side was 24 and is now 128; use --overwrite" in capsys.readouterr().err
    assert main([*prepare, *flag, "--short_side", "32"]) == 0
    assert FrameStore(tmp_path / "store").short_side == 32


def test_prepare_again_does_nothing_and_parts_are_merged(few_videos: Path, tmp_path: Path, capsys: Capture) -> None:
    def prepare(name: str, *flags: str) -> int:
        return main(["prepare", str(few_videos), "--out", str(tmp_path / name), "--workers", "0", *flags])

    assert prepare("whole") == prepare("whole") == 0
    assert "up to date, nothing to do" in " ".join(capsys.readouterr().out.split())
    assert prepare("one", "--shard", "1/2") == prepare("two", "--shard=2/2") == 0
    assert main(["merge", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "merged")]) == 0
    assert "2 videos" in " ".join(capsys.readouterr().out.split())
    assert FrameStore(tmp_path / "merged").paths == FrameStore(tmp_path / "whole").paths


def test_inspecting_shows_the_store_and_draws_it(squares_path: Path, tmp_path: Path, capsys: Capture) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["inspect", str(squares_path), "--contact-sheet", str(sheet)]) == 0
    assert "diagonal" in capsys.readouterr().out
    assert sheet.is_file()


def test_inspecting_counts_by_the_clips_of_a_recipe(squares_path: Path, tmp_path: Path, capsys: Capture) -> None:
    flags = ["--contact-sheet", str(tmp_path / "sheet.png")]
    for told, recipe, frames in (
        ([], "sparsedense", 109),
        (["--recipe", "sparsedense+small"], "sparsedense+small", load_experiment("sparsedense+small").clips.min_frames),
        (["--clip-length", "10", "--skip-ratio", "3", "--min-dense-stride-frames", "1"], "sparsedense", 30),
    ):
        assert main(["inspect", str(squares_path), *flags, *told]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert f"length filter of the recipe {recipe} leaves" in printed
        assert f">= {frames} frames" in printed


def test_preparing_warns_of_classes_that_lack_videos(squares_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    rows = [f"{squares_folder}/train/down/down_train{number}.mp4,down,g{number},train" for number in range(2)]
    rows += [f"{squares_folder}/test/{name}/{name}_test0.mp4,{name},{name},test" for name in ("down", "right")]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,group,split", *rows]))
    assert main(["prepare", str(tmp_path / "list.csv"), "--out", str(tmp_path / "store"), "--workers", "0"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "warning: 1 class without a training video (all videos of the class are of one group): 'right'" in printed


def test_inspecting_a_store_at_a_url_draws_it_here(
    squares_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("sparsedense.data.remote_store.DEFAULT_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", squares_path.as_uri()]) == 0
    assert "diagonal" in capsys.readouterr().out
    assert (tmp_path / "contact_sheet.png").is_file()


def test_a_training_from_a_recipe_with_a_flag_behind_it(squares_path: Path, tmp_path: Path, capsys: Capture) -> None:
    save_experiment(tiny_experiment(), tmp_path / "tiny.yaml")
    out = tmp_path / "run"
    command = ["finetune", str(squares_path), "--out", str(out), "--recipe", str(tmp_path / "tiny.yaml")]
    assert main([*command, "--finetune.epochs", "1", "--labels-per-class=2"]) == 0
    written = load_experiment(out / "config.yaml")
    assert written == tiny_experiment(finetune={"epochs": 1}, labels_per_class=2)
    assert f"model: {out / 'model.safetensors'}" in capsys.readouterr().out
    assert (out / "report.html").is_file()
    assert main(command) == 1
    assert "--resume or --overwrite" in capsys.readouterr().err


def test_the_name_of_a_recipe_will_do(squares_path: Path, tmp_path: Path, capsys: Capture) -> None:
    """The paper's length filter is longer than the squares."""
    for recipe in (["--recipe", "paper-jsd"], ["--recipe=paper-jsd"]):
        assert main(["pretrain", str(squares_path), "--out", str(tmp_path / "run"), *recipe]) == 1
        assert "no training video of at least 109 frames" in capsys.readouterr().err
    assert main(["pretrain", str(squares_path), "--recipe", "dmeo"]) == 1
    assert "dmeo is neither a recipe" in capsys.readouterr().err


def test_ctrl_c_is_told(squares_path: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sparsedense.training.run.run_phase", interrupt)
    assert main(["train", str(squares_path), "--out", str(tmp_path)]) == 130
    assert "--resume" in capsys.readouterr().err


def test_an_evaluation_as_json_is_one_object_and_nothing_else(
    finetuned: TrainingRun, squares_path: Path, tmp_path: Path, capsys: Capture
) -> None:
    command = ["evaluate", str(finetuned.model), str(squares_path), "--out", str(tmp_path), "--num-workers", "0"]
    assert main([*command, "--clips-per-video", "2", "--json"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    result = json.loads(printed)
    assert {"accuracy", "accuracy_top5", "precision", "recall", "f1", "videos"} <= set(result)
    assert (result["videos"], result["clips_per_video"], result["split"]) == (10, 2, "test")
    assert json.loads((tmp_path / "evaluation.json").read_text()) == result


def test_an_evaluation_for_people_is_a_table(
    finetuned: TrainingRun, squares_path: Path, tmp_path: Path, capsys: Capture
) -> None:
    command = ["evaluate", str(finetuned.model), str(squares_path), "--out", str(tmp_path), "--split", "val"]
    assert main([*command, "--clips-per-video", "1", "--num-workers", "0"]) == 0
    shown = capsys.readouterr().out
    assert "3 videos of the split val" in shown
    assert all(name in shown for name in ("diagonal", "down", "right", "precision", "recall", "F1"))


def test_a_pretrained_model_is_sent_to_finetune(pretrained: TrainingRun, squares_path: Path, capsys: Capture) -> None:
    assert main(["evaluate", str(pretrained.model), str(squares_path)]) == 1
    assert "pretrained only; run `sparsedense finetune`" in capsys.readouterr().err


def test_a_report_can_be_written_again(finetuned: TrainingRun, tmp_path: Path, capsys: Capture) -> None:
    run = shutil.copytree(finetuned.path, tmp_path / "run")
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").is_file()
    assert "report.html" in capsys.readouterr().out


@pytest.mark.parametrize("written", [["--test-groups", "anna,ben"], ["--test_groups=[anna,ben]"]])
def test_a_list_needs_no_brackets(written: list[str]) -> None:
    def command(source: str, test_groups: Sequence[str] = (), overwrite: bool = False) -> None:
        """Do it."""

    values = parse_function(command, "prepare", ["videos", *written, "--overwrite"])
    assert values == {"source": "videos", "test_groups": ["anna", "ben"], "overwrite": True}


PROBE_QUICKLY = ["--labels-per-class", "2", "--clips-per-video", "2", "--num-workers", "0", "--robustness", "false"]


def test_a_probe_as_json_is_one_object_and_nothing_else(
    pretrained: TrainingRun, squares_path: Path, capsys: Capture
) -> None:
    command = ["probe", str(pretrained.model), str(squares_path), "--control-videos", "2", *PROBE_QUICKLY]
    assert main([*command, "--json"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    result = json.loads(printed)
    assert set(result["knn"]) == set(result["linear"]) == set(result["retrieval"]) == {"model", "random", "untrained"}
    assert set(result["controls"]) == {"real", "frozen", "shuffled", "reencoded"}
    assert (result["gallery_videos"], result["query_videos"], result["robustness"]) == (6, 10, None)


def test_a_probe_for_people_is_a_table(pretrained: TrainingRun, squares_path: Path, capsys: Capture) -> None:
    command = ["probe", str(pretrained.model), str(squares_path), "--split", "val", "--controls", "false"]
    assert main([*command, *PROBE_QUICKLY]) == 0
    shown = capsys.readouterr().out
    assert "3 videos of the split val" in " ".join(shown.split())
    assert all(name in shown for name in ("random weights", "nearest neighbour", "linear probe", "effective rank"))
