"""Batch scripts for SLURM: a training on several machines that queues itself again, or `prepare` as a job array."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsedense.data.locations import Location

_TIME = re.compile(r"(\d+-)?\d+(:\d\d){0,2}")  # sbatch: minutes, minutes:seconds, hours:minutes:seconds, days-hours...
_CORES = '--cpus-per-task="$SLURM_CPUS_PER_TASK"'  # srun does not take them over from sbatch since SLURM 22.05


@dataclass(frozen=True)
class SlurmJob:
    """What a job asks SLURM for.

    Attributes:
        name: of the job.
        time: limit, as sbatch takes it: `30` minutes, `24:00:00`, `2-00:00:00`.
        nodes: machines.
        gpus_per_node: GPUs of each; 0 trains on CPUs.
        processes_per_node: processes on each machine; one a GPU if not given, or one.
        cpus_per_process: cores of each process: its loader workers and itself.
        memory: of each machine, `64G`; the cluster's default if not given.
        partition: of the cluster.
        account: to charge.
        setup: lines of shell before the command: `module load cuda`, `source venv/bin/activate`.
        warning_seconds: how long before the time limit the job is warned, to write a checkpoint.

    Raises:
        ValueError: a number or the time makes no sense.
    """

    name: str
    time: str
    nodes: int = 1
    gpus_per_node: int = 1
    processes_per_node: int | None = None
    cpus_per_process: int = 8
    memory: str | None = None
    partition: str | None = None
    account: str | None = None
    setup: tuple[str, ...] = ()
    warning_seconds: int = 180

    def __post_init__(self) -> None:
        if not _TIME.fullmatch(self.time):
            raise ValueError(f"time ({self.time!r}) must be a limit as sbatch takes it: 90, 24:00:00 or 2-00:00:00")
        for field, least in (("nodes", 1), ("gpus_per_node", 0), ("cpus_per_process", 1), ("per_node", 1)):
            if getattr(self, field) < least:
                named = "processes_per_node" if field == "per_node" else field
                raise ValueError(f"{named} ({getattr(self, field)}) must be at least {least}")

    @property
    def per_node(self) -> int:
        """Processes of one machine."""
        return max(1, self.gpus_per_node) if self.processes_per_node is None else self.processes_per_node

    @property
    def num_processes(self) -> int:
        """Processes of the job."""
        return self.nodes * self.per_node


def training_script(job: SlurmJob, command: Sequence[str], log_folder: Path) -> str:
    """Script of a training; before the time limit it writes a checkpoint and queues the job again.

    srun starts the processes and tells each its place; Lightning reads it from SLURM's variables. SIGUSR1 reaches the
    training itself, which ends the step that it is at, writes its state and asks for the job to be queued again.

    Args:
        job: what to ask for.
        command: the training's, which must go on by itself where there is a checkpoint: with `--resume auto`.
        log_folder: where the output goes; it must be there when the job starts.
    """
    options = [
        *_resources(job),
        f"--signal=USR1@{job.warning_seconds}",
        "--requeue",
        "--open-mode=append",
        f"--output={shlex.quote(str(log_folder))}/slurm-%j.log",
    ]
    start = f"srun --kill-on-bad-exit=1 {_CORES} {_quoted(command)}"
    return _script(job, options, start)


def array_script(
    job: SlurmJob, command: Sequence[str], shards: int, folder: Path, *, stores: Location | None = None
) -> str:
    """Script of `prepare` as an array of jobs, each of one shard; the stores are put together by `merge` afterwards.

    Args:
        job: what each job of the array asks for.
        command: `sparsedense prepare SOURCE` with its options, but without `--shard` and `--out`.
        shards: how many jobs.
        folder: where the output goes; it must be there when the jobs start.
        stores: folder or URL that the shards' stores, `shard-1` and so on, go to; `folder` if not given.

    Raises:
        ValueError: fewer than 1 shard.
    """
    if shards < 1:
        raise ValueError(f"shards ({shards}) must be at least 1")
    options = [
        *_resources(job),
        f"--array=1-{shards}",
        "--requeue",
        "--open-mode=append",
        f"--output={shlex.quote(str(folder))}/slurm-%A-%a.log",
    ]
    part = f'{shlex.quote(str(stores or folder))}/shard-"$SLURM_ARRAY_TASK_ID"'
    start = f'srun --ntasks=1 {_CORES} {_quoted(command)} --shard "$SLURM_ARRAY_TASK_ID/{shards}" --out {part}'
    return _script(job, options, start)


def _resources(job: SlurmJob) -> list[str]:
    asked = {
        "job-name": job.name,
        "time": job.time,
        "nodes": job.nodes,
        "ntasks-per-node": job.per_node,
        "gpus-per-node": job.gpus_per_node or None,
        "cpus-per-task": job.cpus_per_process,
        "mem": job.memory,
        "partition": job.partition,
        "account": job.account,
    }
    return [f"--{name}={shlex.quote(str(value))}" for name, value in asked.items() if value is not None]


def _script(job: SlurmJob, options: Sequence[str], start: str) -> str:
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in options),
        "",
        "set -euo pipefail",
        *job.setup,
        "",
        start,
    ]
    return "\n".join(lines) + "\n"


def _quoted(command: Sequence[str]) -> str:
    return " ".join(shlex.quote(word) for word in command)
