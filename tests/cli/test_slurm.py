import shlex
import sys
from pathlib import Path

import pytest

from sparsedense.cli import main


def start_line(folder: Path) -> list[str]:
    return shlex.split((folder / "job.sh").read_text().splitlines()[-1])


def word_after(folder: Path, word: str) -> str:
    words = start_line(folder)
    return words[words.index(word) + 1]


def test_a_recipe_becomes_a_job_that_goes_on_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, store = tmp_path / "run", tmp_path / "store"
    given = ["slurm", "sparsedense+small", str(store), "--out", str(run), "--nodes", "2", "--gpus-per-node", "4"]
    assert main([*given, "--time", "24:00:00", "--pretrain.epochs", "3", "--seed=1", "--machine.num_workers=2"]) == 0
    assert capsys.readouterr().out == f"sbatch {run}/job.sh\n"
    words = start_line(run)
    begin = words.index(sys.executable)
    assert words[begin : begin + 7] == [sys.executable, "-m", "sparsedense", "pretrain", str(store), "--out", str(run)]
    settings = " ".join(words[begin + 7 :])
    assert settings.startswith("--recipe sparsedense+small --machine.accelerator gpu")
    assert settings.endswith("--pretrain.epochs 3 --seed=1 --machine.num_workers=2 --resume=auto"), (
        "own settings come last"
    )
    assert "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=4\n" in (run / "job.sh").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nodes", "3", "--gpus-per-node", "1"], "shared evenly by 3 processes"),
        (["--pretrain.epochs", "many"], "many"),
        (["--gpus-per-node", "0", "--processes-per-node", "0"], "processes_per_node"),
    ],
)
def test_what_the_job_would_fail_at_is_said_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    given = ["slurm", "small", str(tmp_path / "store"), "--out", str(tmp_path / "run"), "--time", "90", *arguments]
    try:
        status = main(given)
    except SystemExit as exit_by_parser:
        status = int(exit_by_parser.code or 0)
    assert status != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_prepare_becomes_an_array(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["slurm", "prepare", str(tmp_path / "videos"), "--out", str(tmp_path / "store"), "--time", "90"]
    assert main([*given, "--shards", "4", "--", "--short-side", "64"]) == 0
    folder = tmp_path / "store-shards"
    words = start_line(folder)
    assert words[words.index("prepare") :] == [
        "prepare", str(tmp_path / "videos"), "--short-side", "64", "--shard", "$SLURM_ARRAY_TASK_ID/4", "--out",
        f"{folder}/shard-$SLURM_ARRAY_TASK_ID",
    ]  # fmt: skip
    assert f"then: sparsedense merge {folder}/shard-* --out {tmp_path / 'store'}" in capsys.readouterr().out


def test_a_store_at_a_url_stays_a_url(tmp_path: Path) -> None:
    assert main(["slurm", "sparsedense+small", "s3://bucket/store/", "--out", str(tmp_path / "run")]) == 0
    assert word_after(tmp_path / "run", "pretrain") == "s3://bucket/store"


def test_videos_and_a_store_at_urls_stay_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["slurm", "prepare", "s3://bucket/videos", "--out", "gs://bucket/store", "--shards", "4"]) == 0
    words = start_line(tmp_path / "store-shards")
    assert words[words.index("prepare") + 1] == "s3://bucket/videos"
    assert words[-1] == "gs://bucket/store-shards/shard-$SLURM_ARRAY_TASK_ID"
    assert "merge gs://bucket/store-shards/shard-{1..4} --out gs://bucket/store\n" in capsys.readouterr().out


def test_the_job_finds_its_files_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tuned.yaml").write_text("machine: {threads: 2}")
    Path("network.yaml").write_text("width: 0.25")
    Path("small").write_text("a file with the name of a shipped recipe")
    given = ["slurm", "sparsedense+small+tuned.yaml", "store", "--out", "run", "--phase", "finetune"]
    settings = ["--model", "network.yaml", "--labelled-list=few.txt", "--finetune.epochs", "3"]
    assert main([*given, "--init", "runs/model.safetensors", *settings]) == 0
    assert word_after(Path("run"), "finetune") == f"{tmp_path}/store"
    assert word_after(Path("run"), "--out") == f"{tmp_path}/run"
    assert word_after(Path("run"), "--recipe") == f"sparsedense+small+{tmp_path}/tuned.yaml"
    assert word_after(Path("run"), "--init") == f"{tmp_path}/runs/model.safetensors"
    assert word_after(Path("run"), "--model") == f"{tmp_path}/network.yaml"
    assert f"--labelled-list={tmp_path}/few.txt" in start_line(Path("run"))


def test_a_list_that_a_recipe_names_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("few.yaml").write_text("labelled_list: few.txt")
    assert main(["slurm", "sparsedense+few.yaml", "store", "--out", "run", "--phase", "finetune"]) == 0
    assert word_after(Path("run"), "--labelled_list") == f"{tmp_path}/few.txt"
    given = ["slurm", "sparsedense+few.yaml", "store", "--out", "all", "--phase", "finetune"]
    assert main([*given, "--labelled_list", "null"]) == 0
    assert start_line(Path("all")).count("--labelled_list") == 1
    assert word_after(Path("all"), "--labelled_list") == "null"


def test_what_is_no_file_stays(tmp_path: Path) -> None:
    given = ["slurm", "small", str(tmp_path / "store"), "--out", str(tmp_path / "run"), "--phase", "finetune"]
    assert main([*given, "--init", "kinetics", "--model", '{"width": 0.5}']) == 0
    assert word_after(tmp_path / "run", "--init") == "kinetics"
    assert word_after(tmp_path / "run", "--model") == '{"width": 0.5}'
    assert word_after(tmp_path / "run", "--recipe") == "small"


def test_a_recipe_in_a_folder_with_a_plus_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Relative, `a.yaml+small` can be read; by its absolute path, the + of the folder would part it."""
    folder = tmp_path / "mine+yours"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("a.yaml").write_text("seed: 1")
    assert main(["slurm", "a.yaml+small", "store", "--out", "run"]) == 1
    assert f"{folder}/a.yaml, whose path has a +" in capsys.readouterr().err
    assert main(["slurm", "small+a.yaml", "store", "--out", "run"]) == 0


def test_files_of_prepare_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--", "--dataset", "ucf101", "--lists", "lists", "--cache=cache"]
    assert main(["slurm", "prepare", "videos", "--out", "store", *options]) == 0
    words = start_line(Path("store-shards"))
    start = words.index("prepare")
    found = ["--dataset", "ucf101", "--lists", f"{tmp_path}/lists", f"--cache={tmp_path}/cache"]
    assert words[start + 1 : start + 7] == [f"{tmp_path}/videos", *found]
    assert words[-1] == f"{tmp_path}/store-shards/shard-$SLURM_ARRAY_TASK_ID"


def test_readers_take_the_cores_of_a_job_with_gpus_alone(tmp_path: Path) -> None:
    given = ["slurm", "small", str(tmp_path / "store"), "--cpus-per-process", "6"]
    assert main([*given, "--out", str(tmp_path / "gpu")]) == 0
    assert word_after(tmp_path / "gpu", "--machine.num_workers") == "5"
    assert main([*given, "--out", str(tmp_path / "cpu"), "--gpus-per-node", "0"]) == 0
    assert word_after(tmp_path / "cpu", "--machine.accelerator") == "cpu"
    assert "--machine.num_workers" not in start_line(tmp_path / "cpu")


SETUP = ["module load gcc", "export FOO=a,b", "export CUDA_VISIBLE_DEVICES=0,1", "[ -e venv ]", "null", "echo '# x: 1'"]


@pytest.mark.parametrize("given", [["slurm", "small", "store"], ["slurm", "prepare", "videos"]])
def test_each_setup_is_a_line_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    flags = [word for line in SETUP[1:] for word in ("--setup", line)]
    assert main([*given, "--out", "run", f"--setup={SETUP[0]}", *flags]) == 0
    script = next(tmp_path.glob("*/job.sh")).read_text().splitlines()
    start = script.index("set -euo pipefail")
    assert script[start + 1 : -2] == SETUP
