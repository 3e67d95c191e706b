"""A training in a process of its own that dies in the middle of a step, as by `kill -9`; no handler can run."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparsedense.config import experiment_from_dict
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.plan import Phase
from sparsedense.training.run import run_phase


def train_and_die(
    phase: str, store: Path, out: Path, values: dict[str, Any], resume: bool, steps: int | None, by: int
) -> None:
    """Train; in the step after so many, a signal comes."""
    torch.set_num_threads(1)
    done, training_step = 0, SparseDenseModule.training_step

    def dying(self: SparseDenseModule, batch: Any, batch_index: int) -> Tensor:
        nonlocal done
        if done == steps:
            os.kill(os.getpid(), by)
        done += 1
        return training_step(self, batch, batch_index)

    SparseDenseModule.training_step = dying  # type: ignore[method-assign]
    experiment = experiment_from_dict(values)
    run_phase(Phase(phase), store, out, experiment, resume=resume, progress=False)


def train_with_kills(
    phase: str, store: Path, out: Path, values: dict[str, Any], deaths: Sequence[int], by: int = signal.SIGKILL
) -> list[int | None]:
    """Begin, die in the step after so many, go on, ..., and at last run to the end; returns the exit codes.

    The processes are forked from one that has imported all, because importing takes longer than training here.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    codes: list[int | None] = []
    for session, steps in enumerate([*deaths, None]):
        process = context.Process(
            target=train_and_die, args=(phase, store, out, values, session > 0, steps, by), daemon=False
        )
        process.start()
        process.join(120)
        codes.append(process.exitcode)
    return codes
