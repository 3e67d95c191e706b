"""Arms against each other over paired seeds: same labels, data order and number of steps, other weights at the start.

Evidence, not one run: each seed draws its own labelled videos and its own classifier, both arms get the same, and the
difference is judged by its confidence interval.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from sparsedense.config import Experiment
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.evaluate import evaluate
from sparsedense.training.run import TrainingRun, finetune

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
    """Results of all arms, and the seconds that training and evaluation took."""

    arms: dict[str, ArmResults]
    finetune_seconds: float
    evaluate_seconds: float
    test_videos: int


def compare_arms(
    store: FrameStore,
    out: Path,
    experiment: Experiment,
    *,
    arms: Mapping[str, Path | None],
    seeds: Sequence[int],
    clips_per_video: int = 10,
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
        progress: show progress bars.
    """
    results = {name: ArmResults() for name in arms}
    finetune_seconds = evaluate_seconds = 0.0
    videos = 0
    for seed in seeds:
        for name, init in arms.items():
            folder = out / "finetune" / f"{name}-seed{seed}"
            run = finetune(
                store.path,
                folder,
                replace(experiment, seed=seed),
                init=init,
                overwrite=True,
                keep_epochs=(FIRST_EPOCH,),
                progress=progress,
            )
            finetune_seconds += run.seconds
            started = time.perf_counter()
            videos = _judge(run, store, results[name], out, clips_per_video)
            evaluate_seconds += time.perf_counter() - started
    return Comparison(results, finetune_seconds, evaluate_seconds, videos)


def _judge(run: TrainingRun, store: FrameStore, arm: ArmResults, out: Path, clips_per_video: int) -> int:
    first = evaluate(run.path / f"model-epoch-{FIRST_EPOCH:03d}.safetensors", store, clips_per_video=clips_per_video)
    last = evaluate(run.model, store, clips_per_video=clips_per_video, out=run.path)
    arm.accuracy.append(last.accuracy)
    arm.f1.append(last.f1)
    arm.accuracy_first_epoch.append(first.accuracy)
    arm.f1_first_epoch.append(first.f1)
    arm.runs.append(run.path.relative_to(out).as_posix())
    return last.videos


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
