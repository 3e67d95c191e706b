import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sparsedense.training.slurm_script import SlurmJob, array_script, training_script

COMMAND = ["sparsedense", "pretrain", "my store", "--resume=auto"]


def options_of(script: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH ")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def check_by_shellcheck(script: str) -> None:
    beside_python = str(Path(sys.executable).parent)
    shellcheck = shutil.which("shellcheck", path=f"{beside_python}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, "-"], input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def run(script: str, folder: Path, **variables: str) -> list[list[str]]:
    """What a script gives to srun, call by call."""
    stub = folder / "bin" / "srun"
    stub.parent.mkdir()
    stub.write_text('#!/bin/bash\nprintf "%s\\0" "$@" >> "$CALLS"\nprintf "\\n" >> "$CALLS"\n')
    stub.chmod(0o755)
    calls = folder / "calls"
    environment = {"PATH": f"{stub.parent}:/usr/bin:/bin", "CALLS": str(calls), **variables}
    subprocess.run(["bash", "-c", script], env=environment, check=True, timeout=30)
    return [call.split("\0")[:-1] for call in calls.read_text().splitlines()]


def test_a_training_asks_for_a_process_a_gpu_and_for_a_warning(tmp_path: Path) -> None:
    job = SlurmJob("a job", "2-00:00:00", nodes=4, gpus_per_node=8, cpus_per_process=6, memory="64G", partition="big")
    script = training_script(job, COMMAND, tmp_path)
    check_by_shellcheck(script)
    assert options_of(script) == {
        "job-name": "'a job'", "time": "2-00:00:00", "nodes": "4", "ntasks-per-node": "8", "gpus-per-node": "8",
        "cpus-per-task": "6", "mem": "64G", "partition": "big", "signal": "USR1@180", "requeue": "",
        "open-mode": "append", "output": f"{tmp_path}/slurm-%j.log",
    }  # fmt: skip
    assert job.num_processes == 32


def test_the_script_starts_the_training_by_srun(tmp_path: Path) -> None:
    job = SlurmJob("job", "90", setup=("export GREETING='hello'", 'test "$GREETING" = hello'))
    script = training_script(job, COMMAND, tmp_path)
    (call,) = run(script, tmp_path, SLURM_CPUS_PER_TASK="8")
    assert call == ["--kill-on-bad-exit=1", "--cpus-per-task=8", *COMMAND]


def test_an_array_has_a_job_for_each_shard(tmp_path: Path) -> None:
    job = SlurmJob("job", "90", gpus_per_node=0)
    script = array_script(job, ["sparsedense", "prepare", "my videos"], 3, tmp_path / "parts of it")
    check_by_shellcheck(script)
    assert options_of(script)["array"] == "1-3"
    assert "gpus-per-node" not in options_of(script)
    (call,) = run(script, tmp_path, SLURM_ARRAY_TASK_ID="2", SLURM_CPUS_PER_TASK="8")
    out = str(tmp_path / "parts of it" / "shard-2")
    command = ["sparsedense", "prepare", "my videos", "--shard", "2/3", "--out", out]
    assert call == ["--ntasks=1", "--cpus-per-task=8", *command]


def test_the_stores_of_an_array_may_go_to_a_url(tmp_path: Path) -> None:
    job = SlurmJob("job", "90", gpus_per_node=0)
    script = array_script(job, ["sparsedense", "prepare", "videos"], 3, tmp_path, stores="s3://bucket/store-shards")
    check_by_shellcheck(script)
    assert options_of(script)["output"] == f"{tmp_path}/slurm-%A-%a.log"
    (call,) = run(script, tmp_path, SLURM_ARRAY_TASK_ID="2", SLURM_CPUS_PER_TASK="8")
    assert call[-2:] == ["--out", "s3://bucket/store-shards/shard-2"]


def test_a_failing_setup_starts_nothing(tmp_path: Path) -> None:
    script = training_script(SlurmJob("job", "90", setup=("false",)), COMMAND, tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        run(script, tmp_path, SLURM_CPUS_PER_TASK="8")
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": "tomorrow"}, "time"),
        ({"nodes": 0}, "nodes"),
        ({"gpus_per_node": -1}, "gpus_per_node"),
        ({"processes_per_node": 0}, "processes_per_node"),
        ({"cpus_per_process": 0}, "cpus_per_process"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SlurmJob(**({"name": "job", "time": "90"} | changes))  # type: ignore[arg-type]


def test_an_array_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shards"):
        array_script(SlurmJob("job", "90"), COMMAND, 0, tmp_path)
