"""Finds the machine's settings with which a recipe trains fastest here: a few real steps of each candidate.

Coarse to fine: the settings are tried one after the other, each on top of the best so far. None of them changes what is
learnt but for rounding; the batch size does, so other sizes are tried only where they are asked for. The fastest may
have been lucky, so at the end it takes turns with the recipe as it is.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import yaml

from sparsedense.config import Experiment
from sparsedense.training.machine import (
    available_cores,
    resolve_channels_last,
    resolve_precision,
    resolve_workers,
    uses_cuda,
)
from sparsedense.training.step_timing import time_step

_START_SECONDS = 240.0  # for a process to begin, with compilation
_LEAST_GAIN = 1.03  # over the recipe as it is, for other settings to be worth it
_TURNS = 2


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        settings: those of `machine` that differ from the recipe's, and `batch_size`.
        clips_per_second: 0 where it failed.
        failure: why.
    """

    settings: Mapping[str, Any]
    clips_per_second: float
    failure: str | None = None

    def describe(self) -> str:
        """The settings in a line."""
        return ", ".join(f"{name} {value}" for name, value in self.settings.items()) or "as the recipe"


def tune(
    experiment: Experiment,
    store: Path | None = None,
    *,
    budget_seconds: float = 600.0,
    batch_sizes: Sequence[int] = (),
    rounds: int = 4,
    on_trial: Callable[[Trial], None] = lambda _trial: None,
) -> list[Trial]:
    """Try settings until all were tried or the time is up; the recipe as it is comes first.

    Args:
        experiment: the recipe.
        store: where the clips come from; without it there is nothing to say about workers.
        budget_seconds: after so long no further trial is begun.
        batch_sizes: sizes to try beside the recipe's.
        rounds: steps of a trial.
        on_trial: called after each.
    """
    ends = time.monotonic() + budget_seconds
    trials: list[Trial] = []
    best = Trial({}, 0.0)
    as_it_is: list[dict[str, Any]] = [{}]
    for candidates in (as_it_is, *_stages(experiment, store, batch_sizes)):
        base = best.settings
        for change in candidates:
            settings = {**base, **change}
            if (trials and time.monotonic() > ends) or any(trial.settings == settings for trial in trials):
                continue
            trial = _try(experiment, store, settings, rounds, best, ends)
            trials.append(trial)
            on_trial(trial)
            best = max(best, trial, key=_speed)
    _confirm(trials, lambda trial: _try(experiment, store, trial.settings, rounds, best, ends), on_trial, ends)
    return trials


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The fastest; the recipe as it is, the first, where that is as fast but for what may be chance.

    Raises:
        RuntimeError: all failed.
    """
    best = max(trials, key=_speed)
    if best.clips_per_second == 0:
        raise RuntimeError(f"no settings worked; as the recipe is: {trials[0].failure}")
    return best if best.clips_per_second > _LEAST_GAIN * trials[0].clips_per_second else trials[0]


def write_settings(path: Path, trials: Sequence[Trial], *, recipe: str) -> None:
    """Write the best settings as YAML to be joined to the recipe, with what was tried in its head."""
    best = dict(best_trial(trials).settings)
    batch_size = best.pop("batch_size", None)
    values: dict[str, Any] = {"machine": best}
    if batch_size is not None:
        values["pretrain"] = {"batch_size": batch_size}
    lines = [
        f"# Measured by `sparsedense tune {recipe}`; use it as --recipe {recipe}+{path.name}",
        "# clips/s  settings",
    ]
    for trial in sorted(trials, key=lambda trial: -trial.clips_per_second):
        lines.append(f"# {trial.clips_per_second:7.2f}  {trial.describe()}{_remark(trial)}")
    path.write_text("\n".join([*lines, yaml.safe_dump(values, sort_keys=False)]))


def with_settings(experiment: Experiment, settings: Mapping[str, Any]) -> Experiment:
    """The recipe with a trial's settings."""
    machine = {name: value for name, value in settings.items() if name != "batch_size"}
    pretrain = replace(experiment.pretrain, batch_size=settings.get("batch_size", experiment.pretrain.batch_size))
    return replace(experiment, machine=replace(experiment.machine, **machine), pretrain=pretrain)


def _confirm(
    trials: list[Trial], measure: Callable[[Trial], Trial], on_trial: Callable[[Trial], None], ends: float
) -> None:
    """Have the fastest and the recipe as it is take turns, until one that did so is the fastest or the time is up."""
    confirmed = {0}
    while time.monotonic() < ends:
        fastest = trials.index(max(trials, key=_speed))
        if fastest in confirmed:
            return
        confirmed.add(fastest)
        speeds = {place: [trials[place].clips_per_second] for place in (0, fastest)}
        for _ in range(_TURNS):
            for place, measured in speeds.items():
                again = measure(trials[place])
                on_trial(again)
                measured.append(again.clips_per_second)
        for place, measured in speeds.items():
            trials[place] = replace(trials[place], clips_per_second=median(measured))


def _speed(trial: Trial) -> float:
    return trial.clips_per_second


def _stages(experiment: Experiment, store: Path | None, batch_sizes: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
    """Candidates of one setting after the other, those that matter most first; not what the recipe takes anyway."""
    machine, cores = experiment.machine, available_cores()
    cuda, threads = uses_cuda(machine), machine.threads or torch.get_num_threads()
    yield [{"channels_last": not resolve_channels_last(machine, experiment.model)}]
    yield [{"precision": name} for name in ("bf16-mixed", "32-true") if name != resolve_precision(machine)]
    if not cuda:
        yield [{"threads": count} for count in sorted({1, cores // 2, cores} - {0, threads})]
    if store is not None:
        yield [
            {"num_workers": workers}
            for workers in sorted({0, 1, 2, cores // 2, cores} - {resolve_workers(experiment.machine)})
        ]
    yield [{"compile": "default"}, *([{"compile": "reduce-overhead"}] if cuda else [])]
    yield [{"keep_freed_memory": False}, {"fused_optimiser": False}]
    yield [{"batch_size": size} for size in batch_sizes]


def _try(
    experiment: Experiment, store: Path | None, settings: Mapping[str, Any], rounds: int, best: Trial, ends: float
) -> Trial:
    patience = _START_SECONDS
    if best.clips_per_second:
        # Counting operations, warming up and compiling are part of the start.
        patience = max(60.0, min(_START_SECONDS, ends - time.monotonic()))
    try:
        changed = with_settings(experiment, settings)
        timing = time_step(changed, store=store, rounds=rounds, patience_seconds=patience).ours
    except (TimeoutError, RuntimeError, MemoryError) as error:
        return Trial(settings, 0.0, _reason(error))
    return Trial(settings, timing.clips_per_second)


def _reason(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return "out of memory"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _remark(trial: Trial) -> str:
    return f"  ({trial.failure})" if trial.failure else ""
