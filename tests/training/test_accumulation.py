"""Batches whose mean gradient makes one step are one large batch, but for BatchNorm and losses that compare videos."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from sparsedense.models.batch_norm import BatchNorm
from sparsedense.training.checkpoint_files import STATE, list_checkpoints, read_checkpoint
from sparsedense.training.run import pretrain
from tests.conftest import tiny_experiment

# Losses of each video by itself, one of them through a slow copy of the encoder.
ALONE: dict[str, Any] = {
    "speed": {"weight": 1.0, "kind": "binary"},
    "consistency": {"weight": 1.0, "kind": "cosine", "target": "teacher"},
    "teacher_momentum": 0.5,
}
COMPARING = {"speed": {"weight": 0.0}, "consistency": {"weight": 0.0}, "contrast": {"weight": 1.0}}
STEPS = 3


def trained(store: Path, out: Path, objective: dict[str, Any], accumulate: int, precision: str = "32-true") -> Path:
    """Three steps of six videos each, in as many batches as told."""
    batches = {"batch_size": 6 // accumulate, "steps_per_epoch": STEPS * accumulate, "accumulate": accumulate}
    experiment = tiny_experiment(
        objective=objective,
        pretrain={"epochs": 1, "learning_rate": 1e-4, **batches},
        machine={"checkpoint_steps": 1, "checkpoints_kept": 9, "precision": precision},
    )
    pretrain(store, out, experiment, progress=False)
    return out


def without_statistics_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(layer: nn.BatchNorm3d, x: Tensor) -> Tensor:
        return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias)

    for kind in (BatchNorm, nn.modules.batchnorm._BatchNorm):
        monkeypatch.setattr(kind, "forward", forward)


def difference(one: Path, other: Path) -> float:
    """Of what the steps have changed, as a share of it; the teacher's weights included."""

    def state(run: Path, place: int) -> dict[str, Tensor]:
        content = read_checkpoint(list_checkpoints(run / "checkpoints", STATE)[place].path)
        return {name: value for name, value in content["state_dict"].items() if value.is_floating_point()}

    first, ends = state(one, -1), [state(run, 0) for run in (one, other)]
    moved = [torch.cat([(end[name] - first[name]).flatten() for name in first]) for end in ends]
    assert moved[0].norm() > 0
    return float((moved[0] - moved[1]).norm() / moved[0].norm())


@pytest.mark.parametrize(
    ("accumulate", "precision", "allowed"), [(2, "32-true", 0.02), (3, "32-true", 0.02), (2, "bf16-mixed", 0.2)]
)
def test_several_batches_make_the_step_of_one(
    squares_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accumulate: int,
    precision: str,
    allowed: float,
) -> None:
    without_statistics_of_the_batch(monkeypatch)
    whole = trained(squares_path, tmp_path / "whole", ALONE, 1, precision)
    parts = trained(squares_path, tmp_path / "parts", ALONE, accumulate, precision)
    assert difference(whole, parts) < allowed
    losses = [json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["loss"] for run in (whole, parts)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4 if precision == "32-true" else 1e-3)
    steps = [list_checkpoints(run / "checkpoints", STATE)[0].number for run in (whole, parts)]
    assert steps == [STEPS, STEPS]
    weights = [load_file(run / "model.safetensors") for run in (whole, parts)]
    assert all(torch.allclose(value, weights[1][name], rtol=0.05, atol=1e-3) for name, value in weights[0].items())


def test_the_last_step_of_an_epoch_is_as_long_with_fewer_batches(
    squares_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen by plain gradient descent: Adam's steps are as long whatever the size of the gradient."""
    without_statistics_of_the_batch(monkeypatch)
    monkeypatch.setattr(torch.optim, "AdamW", lambda weights, lr, **_: torch.optim.SGD(weights, lr))
    runs = []
    for accumulate in (1, 4):  # one step of one batch
        settings = {"batch_size": 6, "steps_per_epoch": 1, "accumulate": accumulate}
        experiment = tiny_experiment(
            objective=ALONE,
            pretrain={"epochs": 1, "learning_rate": 1e-2, **settings},
            machine={"precision": "32-true"},
        )
        runs.append(load_file(pretrain(squares_path, tmp_path / str(accumulate), experiment, progress=False).model))
    assert all(torch.equal(value, runs[1][name]) for name, value in runs[0].items())


def test_a_loss_that_compares_videos_sees_one_batch_at_a_time(
    squares_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_statistics_of_the_batch(monkeypatch)
    whole, parts = (trained(squares_path, tmp_path / str(count), COMPARING, count) for count in (1, 2))
    assert difference(whole, parts) > 0.1
