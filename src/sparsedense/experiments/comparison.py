"""Arms against each other over paired seeds: same labels, data order and number of steps, other weights at the start.

Evidence, not one run: each seed draws its own labelled videos and its own classifier, both arms get the same, and the
difference is judged by its confidence interval.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from sparsedense.config import Experiment
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.evaluate import Evaluation, evaluate
from sparsedense.progress import progress_bar
from sparsedense.training.run import finetune

FIRST_EPOCH = 1


@dataclass
class ArmResults:
    """Test results of one arm, one entry a seed, all in 0..1."""

    accuracy: list[float] = field(default_factory=list)
    f1: list[float] = field(default_factory=list)
    accuracy_first_epoch: list[float] = field(default_factory=list)
    f1_first_epoch: list[float] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


@dataclass
class Comparison:
    """Results of all arms, the wall-clock seconds that they took, and the number of test videos."""

    arms: dict[str, ArmResults]
    seconds: float
    test_videos: int


@dataclass(frozen=True)
class _Job:
    """One fine-tuning and its evaluation: plain values, so that another process can do it."""

    store: Path
    out: Path
    arm: str
    init: Path | None
    experiment: Experiment
    clips_per_video: int
    threads: int | None
    progress: bool


@dataclass(frozen=True)
class _Verdict:
    first: Evaluation
    last: Evaluation
    run: str


def compare_arms(
    store: FrameStore,
    out: Path,
    experiment: Experiment,
    *,
    arms: Mapping[str, Path | None],
    seeds: Sequence[int],
    clips_per_video: int = 10,
    parallel_runs: int = 1,
    progress: bool = True,
) -> Comparison:
    """Fine-tune every arm with every seed and judge it on the test split, after its first epoch and at its end.

    Nothing is chosen on the test split: both moments are fixed before.

    Args:
        store: with labelled training and test videos.
        out: folder; the runs go into `finetune/<arm>-seed<seed>`.
        experiment: the settings of all runs; the seed is set for each.
        arms: name of each arm and the model file that it starts from; None is from scratch.
        seeds: paired seeds.
        clips_per_video: clips a video of the evaluation.
        parallel_runs: runs at a time, each in a process of its own with its part of the cores. On a CPU two small
            networks on one core each train faster than one on two.
        progress: show progress bars.
    """
    started = time.perf_counter()
    threads = max(1, (os.cpu_count() or 1) // parallel_runs) if parallel_runs > 1 else None
    jobs = [
        _Job(store.path, out, arm, init, replace(experiment, seed=seed), clips_per_video, threads, progress)
        for seed in seeds
        for arm, init in arms.items()
    ]
    results = {name: ArmResults() for name in arms}
    test_videos = 0
    with progress_bar("compare") as advance:
        for done, (job, verdict) in enumerate(zip(jobs, _verdicts(jobs, parallel_runs), strict=True), 1):
            _add(results[job.arm], verdict)
            test_videos = verdict.last.videos
            advance(done, len(jobs))
    return Comparison(results, time.perf_counter() - started, test_videos)


def _verdicts(jobs: Sequence[_Job], parallel_runs: int) -> Iterator[_Verdict]:
    """Results in the order of the jobs."""
    if parallel_runs == 1:
        yield from map(_finetune_and_judge, jobs)
        return
    # No workers and no bars below these processes: they have all the cores already, and spawned ones spawn slowly.
    silent = [replace(job, experiment=_without_workers(job.experiment), progress=False) for job in jobs]
    # Spawned, because a process that has used threads must not be forked.
    with ProcessPoolExecutor(parallel_runs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_finetune_and_judge, silent)


def _finetune_and_judge(job: _Job) -> _Verdict:
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    folder = job.out / "finetune" / f"{job.arm}-seed{job.experiment.seed}"
    run = finetune(
        job.store,
        folder,
        job.experiment,
        init=job.init,
        overwrite=True,
        keep_epochs=(FIRST_EPOCH,),
        progress=job.progress,
    )
    store = FrameStore(job.store)
    first_model = folder / f"model-epoch-{FIRST_EPOCH:03d}.safetensors"
    workers, clips = job.experiment.machine.num_workers, job.clips_per_video
    return _Verdict(
        first=evaluate(first_model, store, clips_per_video=clips, num_workers=workers),
        last=evaluate(run.model, store, clips_per_video=clips, num_workers=workers, out=folder),
        run=folder.relative_to(job.out).as_posix(),
    )


def _without_workers(experiment: Experiment) -> Experiment:
    return replace(experiment, machine=replace(experiment.machine, num_workers=0))


def _add(arm: ArmResults, verdict: _Verdict) -> None:
    arm.accuracy.append(verdict.last.accuracy)
    arm.f1.append(verdict.last.f1)
    arm.accuracy_first_epoch.append(verdict.first.accuracy)
    arm.f1_first_epoch.append(verdict.first.f1)
    arm.runs.append(verdict.run)


def paired_difference(
    treated: Sequence[float], control: Sequence[float], confidence: float = 0.95
) -> dict[str, float | int]:
    """Mean of the paired differences with its confidence interval by Student's t.

    Returns:
        `mean`, `low`, `high` and the number of pairs `n`; without an interval where there are fewer than two pairs.

    Raises:
        ValueError: the arms have different numbers of seeds, or none.
    """
    if len(treated) != len(control) or not treated:
        raise ValueError(f"paired arms need the same number of seeds, got {len(treated)} and {len(control)}")
    differences = np.subtract(treated, control)
    mean, pairs = float(differences.mean()), len(differences)
    if pairs < 2:
        return {"mean": mean, "n": pairs}
    error = float(differences.std(ddof=1)) / np.sqrt(pairs)
    reach = float(stats.t.ppf((1 + confidence) / 2, df=pairs - 1)) * error
    return {"mean": mean, "low": mean - reach, "high": mean + reach, "n": pairs}


def differences(treated: ArmResults, control: ArmResults) -> dict[str, Any]:
    """Paired differences of every metric of two arms."""
    metrics = ("accuracy", "f1", "accuracy_first_epoch", "f1_first_epoch")
    return {name: paired_difference(getattr(treated, name), getattr(control, name)) for name in metrics}
