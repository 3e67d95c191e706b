"""The command that writes batch scripts for a cluster."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sparsedense.cli.absolute_paths import absolute_init, absolute_recipe, setting_takes_file, with_absolute_files
from sparsedense.cli.parser import parse_function, parse_training
from sparsedense.data.locations import Location, file_name, parse_location, resolved

if TYPE_CHECKING:
    from sparsedense.training.slurm_script import SlurmJob

_SETUP = ("setup", "a line of shell before the command, as in `module load cuda`; give it again for each further line")
_FILES_OF_PREPARE = ("lists", "cache")  # its flags that take a folder


def slurm(arguments: Sequence[str]) -> None:
    """Write a SLURM batch script: a training on several machines, or `prepare` as an array of jobs."""
    if arguments[:1] == ["prepare"]:
        _slurm_prepare(arguments[1:])
        return
    own, settings = _without_settings(arguments)

    def command(
        recipe: str,
        out: Path,
        store: str,
        time: str = "24:00:00",
        phase: Literal["pretrain", "finetune", "train"] = "pretrain",
        nodes: int = 1,
        gpus_per_node: int = 1,
        processes_per_node: int | None = None,
        cpus_per_process: int = 8,
        memory: str | None = None,
        partition: str | None = None,
        account: str | None = None,
        setup: Sequence[str] = (),
        init: str | None = None,
    ) -> None:
        """Write the script of a training; its settings may follow. For that of videos, see `slurm prepare --help`.

        A training that reaches its time limit writes a checkpoint, queues its job again and goes on.

        Args:
            recipe: name of a recipe, a YAML file, or several joined by +.
            out: the run's folder, where the script is written too.
            store: folder that `prepare` made, or its URL.
            time: limit of a job, as sbatch takes it: `24:00:00`, `2-00:00:00`.
            phase: `pretrain`, `finetune` or `train`.
            nodes: machines.
            gpus_per_node: GPUs of each, with a process for each; 0 trains on CPUs.
            processes_per_node: processes on each machine, where they are not as many as its GPUs.
            cpus_per_process: cores of each process; beside a GPU all but one of them read clips.
            memory: of each machine, as `64G`.
            partition: of the cluster.
            account: to charge.
            setup: lines of shell before the command.
            init: model file to fine-tune from, or `kinetics`.
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
        script = _training(job, phase, recipe, parse_location(store), out, init, settings)
        _write(out / "job.sh", script)

    command(**parse_function(command, "slurm", own, repeated=_SETUP))


def _slurm_prepare(arguments: Sequence[str]) -> None:
    split = list(arguments).index("--") if "--" in arguments else len(arguments)
    options = list(arguments[split + 1 :])

    def command(
        source: str,
        out: Location,
        time: str = "24:00:00",
        shards: int = 16,
        cpus: int = 8,
        memory: str | None = None,
        partition: str | None = None,
        account: str | None = None,
        setup: Sequence[str] = (),
    ) -> None:
        """Write the script of `prepare` as an array of jobs, one a shard; what follows `--` goes to `prepare`.

        Args:
            source: the videos: a folder or list, or its URL.
            out: the store; those of the shards lie in `OUT-shards`, as does the script, for a URL in the folder of
                that name here.
            time: limit of each job, as sbatch takes it.
            shards: jobs of the array.
            cpus: cores of each job.
            memory: of each job, as `16G`.
            partition: of the cluster.
            account: to charge.
            setup: lines of shell before the command.
        """
        from sparsedense.training.slurm_script import SlurmJob

        job = SlurmJob(
            name=f"prepare-{file_name(out)}",
            time=time,
            gpus_per_node=0,
            cpus_per_process=cpus,
            memory=memory,
            partition=partition,
            account=account,
            setup=tuple(setup),
        )
        _write_array(job, parse_location(source), out, shards, options)

    own = parse_function(command, "slurm prepare", arguments[:split], repeated=_SETUP, out_may_be_url=True)
    command(**own)


def _write_array(job: "SlurmJob", source: Location, out: Location, shards: int, options: Sequence[str]) -> None:
    from sparsedense.training.slurm_script import array_script

    stores, parts = f"{resolved(out)}-shards", "shard-*"
    folder = Path(stores)
    if isinstance(out, str):  # the script and the jobs' output need a folder, and a shell finds nothing at a URL by *
        folder, parts = Path(f"{file_name(out)}-shards").resolve(), f"shard-{{1..{shards}}}"
    words = [sys.executable, "-m", "sparsedense", "prepare", resolved(source)]
    words += with_absolute_files(options, _FILES_OF_PREPARE.__contains__)
    _write(folder / "job.sh", array_script(job, words, shards, folder, stores=parse_location(stores)))
    print(f"then: sparsedense merge {shlex.quote(stores)}/{parts} --out {shlex.quote(str(out))}")


def _write(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    print(f"sbatch {path}")


def _training(
    job: "SlurmJob", phase: str, recipe: str, store: Location, out: Path, init: str | None, settings: list[str]
) -> str:
    """The script of a training, once all that can be refused here has been looked at."""
    from sparsedense.training.clip_streams import batch_share
    from sparsedense.training.slurm_script import training_script

    words = [resolved(store), "--out", str(out.resolve()), "--recipe", absolute_recipe(recipe)]
    words += ["--machine.accelerator", "gpu" if job.gpus_per_node else "cpu"]
    if job.gpus_per_node:  # on a CPU the network needs the cores itself, and `auto` leaves them to it
        words += ["--machine.num_workers", str(job.cpus_per_process - 1)]
    words += with_absolute_files(settings, setting_takes_file)
    if init:
        words += ["--init", absolute_init(init)]
    words += ["--resume=auto"]
    experiment = parse_training(phase, "", words).experiment
    labelled = experiment.labelled_list
    if labelled is not None and not Path(labelled).is_absolute():  # one that a recipe names
        words += ["--labelled_list", str(Path(labelled).resolve())]
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
