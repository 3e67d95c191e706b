"""A training in a process of its own that gets a signal in the middle of a step, such as `kill -9`.

Of one that can be heard, its loader's workers get a copy, as from a terminal or a batch system.
"""

import multiprocessing
import os
import signal
import subprocess
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
    os.setsid()
    # Its loader's workers are forked from itself, as from a command. A fork server would end by a signal to all, and
    # they with it.
    multiprocessing.set_start_method("fork", force=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the background of a shell ignores it
    done, training_step = 0, SparseDenseModule.training_step

    def dying(self: SparseDenseModule, batch: Any, batch_index: int) -> Tensor:
        nonlocal done
        if done == steps:
            # By another process: a worker ends by what its own main process sends.
            subprocess.run(["kill", f"-{by:d}", "--", f"-{os.getpid()}"], start_new_session=True, check=True)
        done += 1
        return training_step(self, batch, batch_index)

    SparseDenseModule.training_step = dying  # type: ignore[method-assign]
    experiment = experiment_from_dict(values)
    run_phase(Phase(phase), store, out, experiment, resume=resume, progress=False)


def train_with_kills(
    phase: str, store: Path, out: Path, values: dict[str, Any], deaths: Sequence[int], by: Sequence[int] = ()
) -> list[int | None]:
    """Begin, die in the step after so many, go on, ..., and at last run to the end; returns the exit codes.

    `by` has a signal for each death; SIGKILL if not given.

    The processes are forked from one that has imported all, because importing takes longer than training here.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    codes: list[int | None] = []
    signals = [*(by or [signal.SIGKILL] * len(deaths)), 0]
    for session, (steps, number) in enumerate(zip([*deaths, None], signals, strict=True)):
        process = context.Process(
            target=train_and_die, args=(phase, store, out, values, session > 0, steps, number), daemon=False
        )
        process.start()
        process.join(120)
        codes.append(process.exitcode)
    return codes
