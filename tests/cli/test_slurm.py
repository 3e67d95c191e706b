import shlex
import sys
from pathlib import Path

import pytest

from sparsedense.cli import main


def start_line(folder: Path) -> list[str]:
    return shlex.split((folder / "job.sh").read_text().splitlines()[-1])


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
