import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from sparsedense.training import best_epoch
from sparsedense.training.best_epoch import BestEpoch
from sparsedense.training.checkpoint_files import BEST, list_checkpoints
from sparsedense.training.module import SparseDenseModule


def module(value: float = 0.0) -> SparseDenseModule:
    """Stands in for a module: a model of one number."""
    made = SparseDenseModule.__new__(SparseDenseModule)
    nn.Module.__init__(made)
    made.model = nn.Linear(1, 1, bias=False)  # type: ignore[assignment]
    nn.init.constant_(made.model.weight, value)  # type: ignore[arg-type]
    return made


def weight(best: BestEpoch) -> float | None:
    weights = best.weights()
    return None if weights is None else float(weights["weight"])


def validate(best: BestEpoch, accuracies: dict[int, float]) -> None:
    for epoch, accuracy in accuracies.items():
        metrics = {"validation_accuracy": torch.tensor(accuracy)}
        trainer: Any = SimpleNamespace(callback_metrics=metrics, current_epoch=epoch, is_global_zero=True)
        best.on_train_epoch_end(trainer, module(float(epoch)))


def test_the_first_of_the_best_epochs_is_taken(tmp_path: Path) -> None:
    best = BestEpoch(tmp_path)
    assert weight(best) is None, "nothing was validated"
    validate(best, {0: 0.25, 1: 0.5, 2: 0.5, 3: 0.375})
    assert (weight(best), best.accuracy) == (1.0, 0.5)


def test_it_goes_on_from_a_state_with_what_that_state_knew(tmp_path: Path) -> None:
    best = BestEpoch(tmp_path)
    validate(best, {0: 0.25, 1: 0.5})
    state = best.state_dict()
    validate(best, {2: 0.75})  # of a future that is left
    again = BestEpoch(tmp_path)
    again.load_state_dict(state)
    assert (weight(again), again.accuracy) == (1.0, 0.5)
    validate(again, {2: 0.5, 3: 0.625})
    again.remove_old(3, keep=1)
    assert weight(again) == 3.0
    assert [epoch for epoch, _ in list_checkpoints(tmp_path, BEST)] == [3]


def test_what_the_kept_states_refer_to_is_kept(tmp_path: Path) -> None:
    best = BestEpoch(tmp_path)
    validate(best, {epoch: epoch / 10 for epoch in range(5)})
    best.remove_old(4, keep=2)
    assert [epoch for epoch, _ in list_checkpoints(tmp_path, BEST)] == [4, 3]


def test_weights_that_a_full_disk_refused_travel_in_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    best = BestEpoch(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(best_epoch, "write_checkpoint", full)
        with pytest.warns(UserWarning, match="No space left on device"):
            validate(best, {0: 0.25, 1: 0.5})
    again = BestEpoch(tmp_path)
    again.load_state_dict(best.state_dict())
    assert weight(again) == 1.0
    validate(best, {2: 0.375})
    assert [epoch for epoch, _ in list_checkpoints(tmp_path, BEST)] == [1], "written when there is room again"


def test_weights_that_are_gone_are_named(tmp_path: Path) -> None:
    best = BestEpoch(tmp_path)
    validate(best, {0: 0.25})
    (_, path) = list_checkpoints(tmp_path, BEST)[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OSError, match=rf"{path}, the weights of the best epoch so far, is damaged or missing"):
        BestEpoch(tmp_path).load_state_dict(best.state_dict())
