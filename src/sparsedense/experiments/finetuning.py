"""One fine-tuning of a comparison and what it is judged by: plain values, so that another process can do it."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sparsedense.config import Experiment
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.evaluate import Evaluation, evaluate
from sparsedense.training.machine import available_cores, resolve_workers
from sparsedense.training.run import finetune

FIRST_EPOCH = 1


@dataclass(frozen=True)
class FineTuning:
    """What to train and how to judge it.

    Attributes:
        store: the store's folder.
        folder: the run's folder.
        init: model file to start from; None is from scratch.
        experiment: the settings, the seed and the labels included.
        clips_per_video: clips a video of the evaluation.
        splits: what to judge on; the pictures of examples are of the last one.
    """

    store: Path
    folder: Path
    init: Path | None
    experiment: Experiment
    clips_per_video: int
    splits: tuple[str, ...] = ("test",)


@dataclass(frozen=True)
class Judgement:
    """Evaluations by split, after the first epoch and at the end; both moments are fixed before, nothing is chosen."""

    first: dict[str, Evaluation]
    last: dict[str, Evaluation]


def finetune_and_judge(job: FineTuning, *, resume: bool = False, progress: bool = False) -> Judgement:
    """Train and evaluate.

    Args:
        job: what to do.
        resume: go on from the last checkpoint in the folder, if there is one; else a run in it is replaced.
        progress: show a progress bar of the training.
    """
    run = finetune(
        job.store,
        job.folder,
        job.experiment,
        init=job.init,
        resume="auto" if resume else False,
        overwrite=True,
        keep_epochs=(FIRST_EPOCH,),
        progress=progress,
    )
    store, first_model = FrameStore(job.store), job.folder / f"model-epoch-{FIRST_EPOCH:03d}.safetensors"
    return Judgement(
        first={split: _evaluate(job, first_model, store, split) for split in job.splits},
        last={
            split: _evaluate(job, run.model, store, split, out=job.folder if split == job.splits[-1] else None)
            for split in job.splits
        },
    )


def threads_for(parallel_runs: int) -> int | None:
    """Threads that each of several parallel runs gets; None leaves a single run to torch.

    On a CPU two small networks on one core each train faster than one on two.
    """
    if parallel_runs == 1:
        return None
    return max(1, available_cores() // parallel_runs)


def without_workers(experiment: Experiment) -> Experiment:
    """Settings of one of several runs on the same cores, which reads its clips itself.

    The runs have all the cores already, and workers below a spawned process are spawned too, which is slow.
    """
    return replace(experiment, machine=replace(experiment.machine, num_workers=0))


def use_threads(threads: int | None) -> None:
    """Give this process its part of the cores."""
    if threads is not None:
        torch.set_num_threads(threads)


def _evaluate(job: FineTuning, model: Path, store: FrameStore, split: str, out: Path | None = None) -> Evaluation:
    workers = resolve_workers(job.experiment.machine)
    return evaluate(model, store, split=split, clips_per_video=job.clips_per_video, num_workers=workers, out=out)
