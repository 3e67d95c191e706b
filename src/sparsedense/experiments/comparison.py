"""Arms against each other over paired seeds: same labels, data order and number of steps, other weights at the start.

Evidence, not one run: each seed draws its own labelled videos and its own classifier, both arms get the same, and the
difference is judged by its confidence interval. This is the demo's comparison; `study.py` runs those of `compare`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sparsedense.config import Experiment
from sparsedense.data.store import FrameStore
from sparsedense.experiments.finetuning import (
    FineTuning,
    Judgement,
    finetune_and_judge,
    threads_for,
    use_threads,
    without_workers,
)
from sparsedense.experiments.significance import paired_difference
from sparsedense.progress import progress_bar

SPLIT = "test"


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


def compare_arms(
    store: FrameStore,
    out: Path,
    experiment: Experiment,
    *,
    arms: Mapping[str, Path | None],
    seeds: Sequence[int],
    clips_per_video: int = 10,
    parallel_runs: int = 1,
    resume: bool = False,
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
        resume: go on with runs that were begun, and only evaluate those that are finished.
        progress: show progress bars.
    """
    started = time.perf_counter()
    named = [
        (arm, FineTuning(store.path, out / _run_name(arm, seed), init, replace(experiment, seed=seed), clips_per_video))
        for seed in seeds
        for arm, init in arms.items()
    ]
    jobs = [job for _, job in named]
    results = {name: ArmResults() for name in arms}
    test_videos = 0
    with progress_bar("compare") as advance:
        judgements = _judgements(jobs, parallel_runs, resume=resume, progress=progress)
        for done, ((arm, job), judgement) in enumerate(zip(named, judgements, strict=True), 1):
            _add(results[arm], judgement, _run_name(arm, job.experiment.seed))
            test_videos = judgement.last[SPLIT].videos
            advance(done, len(jobs))
    return Comparison(results, time.perf_counter() - started, test_videos)


def _judgements(jobs: Sequence[FineTuning], parallel_runs: int, *, resume: bool, progress: bool) -> Iterator[Judgement]:
    """Results in the order of the jobs; only a single run at a time shows its own bar."""
    if parallel_runs == 1:
        yield from map(partial(finetune_and_judge, resume=resume, progress=progress), jobs)
        return
    silent = [replace(job, experiment=without_workers(job.experiment)) for job in jobs]
    # Spawned, because a process that has used threads must not be forked.
    with ProcessPoolExecutor(
        parallel_runs, mp_context=get_context("spawn"), initializer=use_threads, initargs=(threads_for(parallel_runs),)
    ) as pool:
        yield from pool.map(partial(finetune_and_judge, resume=resume), silent)


def _run_name(arm: str, seed: int) -> str:
    return f"finetune/{arm}-seed{seed}"


def _add(arm: ArmResults, judgement: Judgement, run: str) -> None:
    first, last = judgement.first[SPLIT], judgement.last[SPLIT]
    arm.accuracy.append(last.accuracy)
    arm.f1.append(last.f1)
    arm.accuracy_first_epoch.append(first.accuracy)
    arm.f1_first_epoch.append(first.f1)
    arm.runs.append(run)


def differences(treated: ArmResults, control: ArmResults) -> dict[str, Any]:
    """Paired differences of every metric of two arms."""
    metrics = ("accuracy", "f1", "accuracy_first_epoch", "f1_first_epoch")
    return {name: paired_difference(getattr(treated, name), getattr(control, name)) for name in metrics}
