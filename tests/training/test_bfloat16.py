"""Training in bfloat16 on a CPU, which `auto` takes where it is fast; elsewhere PyTorch emulates it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sparsedense.data.loader import ClipBatch
from sparsedense.data.store import FrameStore
from sparsedense.models import batch_norm
from sparsedense.models.batch_norm import BatchNorm
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.plan import Phase
from sparsedense.training.run import run_phase
from tests.conftest import tiny_experiment
from tests.training.test_objectives import CASES, batch_of, experiment_of, module_of

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")
IN_BFLOAT16: dict[str, Any] = {"precision": "bf16-mixed", "channels_last": True}


def step(module: SparseDenseModule, batch: ClipBatch, *, in_bfloat16: bool) -> tuple[dict[str, Tensor], Tensor]:
    """What a step logs, and the gradient of all weights."""
    logged: dict[str, Tensor] = {}
    module._log_epoch = lambda values, batch_size: logged.update(values)  # type: ignore[method-assign]
    with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
        loss = module.training_step(batch, 1)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad.flatten() for parameter in module.parameters() if parameter.grad is not None]
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    return logged, torch.cat(gradients)


def rounded(module: SparseDenseModule) -> SparseDenseModule:
    """The module with weights that bfloat16 can hold: computing in it cannot be better than that."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.bfloat16())
    return module


def distance(gradient: Tensor, exact: Tensor) -> float:
    return float((gradient - exact).norm() / exact.norm())


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("case", list(CASES))
def test_losses_are_float32_and_gradients_as_near_as_rounded_weights(
    squares: FrameStore, case: str, rows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_norm, "_LEAST_IN_HALF", 0 if rows else 2**40)
    experiment = experiment_of(case)
    batch = batch_of(experiment, squares, range(12))
    ours = module_of(experiment).to(memory_format=torch.channels_last_3d)
    ours.memory_format = torch.channels_last_3d
    logged, gradient = step(ours, batch, in_bfloat16=True)
    exactly_logged, exact = step(module_of(experiment), batch, in_bfloat16=False)
    _, of_rounded = step(rounded(module_of(experiment)), batch, in_bfloat16=False)
    assert logged.keys() == exactly_logged.keys()
    for name, value in logged.items():
        assert value.dtype == torch.float32, name
        if name.startswith("loss"):
            torch.testing.assert_close(value, exactly_logged[name], rtol=0.05, atol=0.01)
    # Kinks make much of rounding in so small a network; how much, the rounded weights tell.
    assert distance(gradient, exact) < 2.5 * distance(of_rounded, exact)


def test_statistics_of_batchnorm_are_float32s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean far from 0 beside its deviation, which sums in bfloat16 would lose."""
    monkeypatch.setattr(batch_norm, "_LEAST_IN_HALF", 0)
    x = (torch.randn(4, 8, 4, 12, 12) + 20).bfloat16().contiguous(memory_format=torch.channels_last_3d)
    ours, exact = BatchNorm(8, momentum=1.0), nn.BatchNorm3d(8, momentum=1.0).double()
    ours(x)
    exact(x.double())
    for name in ("running_mean", "running_var"):
        assert getattr(ours, name).dtype == torch.float32
        torch.testing.assert_close(getattr(ours, name).double(), getattr(exact, name), rtol=1e-5, atol=0)


@pytest.mark.parametrize("phase", list(Phase))
def test_each_training_runs_and_learns_as_in_float32(squares_path: Path, tmp_path: Path, phase: Phase) -> None:
    first = []
    for name, machine in (("exact", {}), ("ours", IN_BFLOAT16)):
        experiment = tiny_experiment(
            machine=machine,
            objective={
                "alignment": {"weight": 1.0},
                "contrast": {"weight": 1.0, "queue_size": 16, "use_teacher": True},
            },
            augment={"noise": 0.03, "colour_mix_probability": 1.0},
        )
        run = run_phase(phase, squares_path, tmp_path / name, experiment, progress=False)
        lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
        assert all(value == value for line in lines for value in line.values()), "no NaN"
        assert {value.dtype for value in load_file(run.model).values() if value.is_floating_point()} == {torch.float32}
        first.append(lines[0])
    assert first[0].keys() == first[1].keys()
    assert first[1]["loss"] == pytest.approx(first[0]["loss"], rel=0.1)
    if phase is not Phase.FINETUNE:
        assert first[1]["feature_std"] == pytest.approx(first[0]["feature_std"], rel=0.3)
