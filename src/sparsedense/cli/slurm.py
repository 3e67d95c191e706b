"""The command that writes batch scripts for a cluster."""

import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sparsedense.cli.parser import parse_function, parse_training

if TYPE_CHECKING:
    from sparsedense.training.slurm_script import SlurmJob


def slurm(arguments: Sequence[str]) -> None:
    """Write a SLURM batch script: a training on several machines, or `prepare` as an array of jobs."""
    if arguments[:1] == ["prepare"]:
        _slurm_prepare(arguments[1:])
        return
    own, settings = _without_settings(arguments)

    def command(
        recipe: str,
        out: Path,
        store: Path,
        time: str = "24:00:00",
        phase: Literal["pretrain", "finetune", "train"] = "pretrain",
        nodes: int = 1,
        gpus_per_node: int = 1,
        processes_per_node: int | None = None,
        cpus_per_process: int = 8,
        memory: str | None = None,
        partition: str | None = None,
        account: str | None = None,
        setup: list[str] = [],  # noqa: B006 (never changed; jsonargparse shows it in the help)
        init: str | None = None,
    ) -> None:
        """Write the script of a training; its settings may follow. For that of videos, see `slurm prepare --help`.

        A training that reaches its time limit writes a checkpoint, queues its job again and goes on.

        Args:
            recipe: name of a recipe, a YAML file, or several joined by +.
            out: the run's folder, where the script is written too.
            store: folder that `prepare` made.
            time: limit of a job, as sbatch takes it: `24:00:00`, `2-00:00:00`.
            phase: `pretrain`, `finetune` or `train`.
            nodes: machines.
            gpus_per_node: GPUs of each, with a process for each; 0 trains on CPUs.
            processes_per_node: processes on each machine, where they are not as many as its GPUs.
            cpus_per_process: cores of each process; all but one of them read clips.
            memory: of each machine, as `64G`.
            partition: of the cluster.
            account: to charge.
            setup: lines of shell before the command, as in `module load cuda`.
            init: model file to fine-tune from.
        """
        from sparsedense.training.slurm_script import SlurmJob

        job = SlurmJob(
            name=f"{phase}-{out.name}",
            time=time,
            nodes=nodes,
            gpus_per_node=gpus_per_node,
            processes_per_node=processes_per_node,
            cpus_per_process=cpus_per_process,
            memory=memory,
            partition=partition,
            account=account,
            setup=tuple(setup),
        )
        script = _training(job, phase, recipe, store, out, init, settings)
        _write(out / "job.sh", script)

    command(**parse_function(command, "slurm", own))


def _slurm_prepare(arguments: Sequence[str]) -> None:
    split = list(arguments).index("--") if "--" in arguments else len(arguments)
    options = list(arguments[split + 1 :])

    def command(
        source: Path,
        out: Path,
        time: str = "24:00:00",
        shards: int = 16,
        cpus: int = 8,
        memory: str | None = None,
        partition: str | None = None,
        account: str | None = None,
        setup: list[str] = [],  # noqa: B006 (never changed; jsonargparse shows it in the help)
    ) -> None:
        """Write the script of `prepare` as an array of jobs, one a shard; what follows `--` goes to `prepare`.

        Args:
            source: the videos.
            out: the store; those of the shards and the script lie in `OUT-shards`.
            time: limit of each job, as sbatch takes it.
            shards: jobs of the array.
            cpus: cores of each job.
            memory: of each job, as `16G`.
            partition: of the cluster.
            account: to charge.
            setup: lines of shell before the command.
        """
        from sparsedense.training.slurm_script import SlurmJob, array_script

        job = SlurmJob(
            name=f"prepare-{out.name}",
            time=time,
            gpus_per_node=0,
            cpus_per_process=cpus,
            memory=memory,
            partition=partition,
            account=account,
            setup=tuple(setup),
        )
        folder = out.resolve().with_name(f"{out.name}-shards")
        words = [sys.executable, "-m", "sparsedense", "prepare", str(source.resolve()), *options]
        _write(folder / "job.sh", array_script(job, words, shards, folder))
        print(f"then: sparsedense merge {folder}/shard-* --out {out}")

    command(**parse_function(command, "slurm prepare", arguments[:split]))


def _write(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    print(f"sbatch {path}")


def _training(
    job: "SlurmJob", phase: str, recipe: str, store: Path, out: Path, init: str | None, settings: list[str]
) -> str:
    """The script of a training, once all that can be refused here has been looked at."""
    from sparsedense.training.clip_streams import batch_share
    from sparsedense.training.slurm_script import training_script

    defaults = {
        "--machine.accelerator": "gpu" if job.gpus_per_node else "cpu",
        "--machine.num_workers": str(job.cpus_per_process - 1),
    }
    named = Path(recipe).resolve() if Path(recipe).is_file() else recipe
    words = [str(store.resolve()), "--out", str(out.resolve()), "--recipe", str(named)]
    for name, value in defaults.items():
        words += [name, value]
    words += [*settings, *(["--init", init] if init else []), "--resume=auto"]
    experiment = parse_training(phase, "", words).experiment
    batch_share(getattr(experiment, phase).batch_size, job.num_processes)
    return training_script(job, [sys.executable, "-m", "sparsedense", phase, *words], out.resolve())


def _without_settings(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments, and the training's: `--section.name VALUE`, or `--seed` and its like."""
    from sparsedense.config import Experiment

    settable = {field.name for field in fields(Experiment)}
    own: list[str] = []
    settings: list[str] = []
    takes_value = False
    for argument in arguments:
        if argument.startswith("--"):
            name = argument.removeprefix("--").partition("=")[0].replace("-", "_")
            target = settings if name.partition(".")[0] in settable else own
            takes_value = "=" not in argument and target is settings
        else:
            target = settings if takes_value else own
            takes_value = False
        target.append(argument)
    return own, settings
