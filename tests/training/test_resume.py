"""A run that is killed again and again equals the uninterrupted one, bit by bit."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sparsedense.config import experiment_from_dict, experiment_to_dict
from sparsedense.training.plan import Phase
from sparsedense.training.run import TrainingRun, run_phase
from tests.conftest import tiny_experiment
from tests.training.killed_training import train_with_kills

TIMING = ("clips_per_second", "data_wait")
OFTEN = {"checkpoint_steps": 2, "checkpoint_minutes": 1000.0}


def everything() -> dict[str, Any]:
    """Settings with all that a run remembers: a teacher, a queue, dropout, means of the epoch, recent features."""
    objective = {
        "speed": {"weight": 1.0},
        "consistency": {"weight": 0.5},
        "contrast": {"weight": 1.0, "queue_size": 16, "use_teacher": True},
        "dropout": 0.5,
    }
    experiment = tiny_experiment(
        objective=objective,
        augment={"noise": 0.1},
        pretrain={"epochs": 2, "batch_size": 3, "rate_schedule": "cosine"},
        finetune={"epochs": 2, "batch_size": 3, "rate_schedule": "cosine"},
        train={"epochs": 6, "batch_size": 4},
        machine=OFTEN,
    )
    return experiment_to_dict(experiment)


def metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMING} for line in lines]


def assert_same_run(one: Path, other: Path) -> None:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert first.keys() == second.keys()
    assert not [name for name in first if not torch.equal(first[name], second[name])]
    assert metrics(one) == metrics(other)


def uninterrupted(phase: str, store: Path, out: Path, values: dict[str, Any]) -> TrainingRun:
    return run_phase(Phase(phase), store, out, experiment_from_dict(values), progress=False)


@pytest.mark.parametrize(
    ("phase", "deaths", "workers", "precision"),
    [
        ("pretrain", [3, 4], 0, "32-true"),  # 6 steps an epoch; the first dies after its first checkpoint
        ("finetune", [2, 3], 1, "32-true"),  # 4 steps an epoch, each followed by a validation
        ("train", [7], 0, "32-true"),  # 4 or 3 steps an epoch: the pool changes, and so do the losses
        ("pretrain", [3], 0, "bf16-mixed"),
    ],
)
def test_a_killed_run_equals_the_uninterrupted_one(
    squares_path: Path, tmp_path: Path, phase: str, deaths: list[int], workers: int, precision: str
) -> None:
    values = everything()
    values["machine"] |= {"num_workers": workers, "precision": precision}
    whole = uninterrupted(phase, squares_path, tmp_path / "whole", values)
    codes = train_with_kills(phase, squares_path, tmp_path / "killed", values, deaths)
    assert codes == [-signal.SIGKILL] * len(deaths) + [0]
    assert_same_run(whole.path, tmp_path / "killed")


def test_a_signal_that_the_workers_get_too_leaves_a_state(squares_path: Path, tmp_path: Path) -> None:
    """Ctrl-C in a terminal, the end of a SLURM job and its warning: the step is ended, which takes batches."""
    values = everything()
    values["machine"] |= {"num_workers": 1, "checkpoint_steps": None}
    values["pretrain"] |= {"accumulate": 2}
    whole = uninterrupted("pretrain", squares_path, tmp_path / "whole", values)
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
    codes = train_with_kills("pretrain", squares_path, tmp_path / "stopped", values, [0, 2, 1], by=signals)
    assert codes == [1, 128 + signal.SIGTERM, 128 + signal.SIGUSR1, 0]
    assert_same_run(whole.path, tmp_path / "stopped")
