import errno
import json
import random
import warnings
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from sparsedense.models.model_file import load_model, read_provenance
from sparsedense.models.recogniser import build_recogniser
from sparsedense.training.callbacks import CollapseWatch, MetricsFile, ModelAfterEpochs, StepSeeds, Throughput
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.plan import Phase, TrainingPlan
from tests.conftest import MOTIONS, tiny_experiment

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


def module(phase: Phase) -> SparseDenseModule:
    experiment = tiny_experiment()
    model = build_recogniser(experiment.model, tuple(MOTIONS), clips=asdict(experiment.clips))
    return SparseDenseModule(model, experiment, TrainingPlan(phase, getattr(experiment, phase), experiment.objective))


def trainer(**values: Any) -> Trainer:
    """Stands in for Lightning's, with what callbacks read of it."""
    defaults = {"current_epoch": 0, "global_step": 0, "world_size": 1, "is_global_zero": True, "callback_metrics": {}}
    defaults |= {"loggers": []}
    return SimpleNamespace(**(defaults | values))  # type: ignore[return-value]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("views", [1, 2, 5])
def test_throughput_counts_clips_and_waiting(monkeypatch: pytest.MonkeyPatch, views: int) -> None:
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", clock)
    made, throughput, stand_in = module(Phase.PRETRAIN), Throughput(), trainer(world_size=2)
    batch = {"dense": torch.zeros(5 * max(1, views - 1))} | ({"sparse": torch.zeros(5)} if views > 1 else {})
    clock.now += 1000  # before the epoch: not counted
    throughput.on_train_epoch_start(stand_in, made)
    for number in range(4):
        clock.now += 1  # waits for the loader
        throughput.on_train_batch_start(stand_in, made, batch, number)
        clock.now += 3  # computes
        throughput.on_train_batch_end(stand_in, made, None, batch, number)
    assert throughput.epoch_summary == pytest.approx({"clips_per_second": views * 5 * 2 * 4 / 16, "data_wait": 0.25})
    throughput.on_train_epoch_start(stand_in, made)
    clock.now += 2
    throughput.on_train_batch_start(stand_in, made, batch, 0)
    throughput.on_train_batch_end(stand_in, made, None, batch, 0)
    assert throughput.epoch_summary["data_wait"] == 1, "every epoch counts anew"


def test_collapsed_features_are_told_in_the_first_epoch() -> None:
    made, logged = module(Phase.PRETRAIN), dict[str, Any]()
    made.log_dict = lambda values, **_options: logged.update(values)  # type: ignore[method-assign]
    directions = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CollapseWatch().on_train_epoch_end(trainer(current_epoch=0), made)
        assert not logged, "nothing was seen yet"
        made._recent_features.append(directions)
        CollapseWatch().on_train_epoch_end(trainer(current_epoch=0), made)
    assert logged["effective_rank"] > 10
    made._recent_features.clear()
    made._recent_features.append(torch.ones(64, 16) + 1e-3 * directions)
    with pytest.warns(UserWarning, match=r"epoch 3: the features use 1\.\d+ directions .* of 16: they have collapsed"):
        CollapseWatch().on_train_epoch_end(trainer(current_epoch=3), made)
    assert logged["effective_rank"] < 1.5
    assert logged["feature_std"] < 0.01


def test_metrics_of_an_epoch_are_a_line_each_for_training_and_validation(tmp_path: Path) -> None:
    throughput = Throughput()
    throughput.epoch_summary = {"clips_per_second": 3.0, "data_wait": 0.5}
    metrics = {"feature_std": torch.tensor(0.7), "validation_accuracy": torch.tensor(0.25)}
    callback, logged = MetricsFile(tmp_path / "metrics.jsonl", throughput), dict[str, Any]()
    made, logger = module(Phase.FINETUNE), SimpleNamespace(log_metrics=lambda means, step: logged.update(means))
    made.epoch_means.add({"loss": torch.tensor(2.0), "loss_classification": torch.tensor(1.5)}, 3)
    callback.on_train_epoch_end(
        trainer(current_epoch=1, global_step=8, callback_metrics=metrics, loggers=[logger]), made
    )
    train, validation = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert train == {
        "kind": "train", "epoch": 1, "step": 8, "loss": 2.0, "loss_classification": 1.5, "weight_speed": 0.0,
        "weight_consistency": 0.0, "weight_classification": 1.0, "learning_rate": 0.003, "clips_per_second": 3.0,
        "data_wait": 0.5, "feature_std": pytest.approx(0.7),
    }  # fmt: skip
    assert logged == {"loss": 2.0, "loss_classification": 1.5}
    assert validation == {"kind": "validation", "epoch": 1, "step": 8, "accuracy": 0.25}


def test_a_resumed_run_drops_the_lines_that_it_writes_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"kind": kind, "epoch": epoch}) for epoch in range(4) for kind in ("train", "validation")]
    path.write_text("\n".join(lines) + '\n{"kind": "train", "ep')  # killed while it wrote
    MetricsFile(path, Throughput()).on_train_start(trainer(current_epoch=2), module(Phase.FINETUNE))
    assert path.read_text().splitlines() == lines[:4]


def test_lines_that_a_full_disk_refused_are_written_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path, made = tmp_path / "metrics.jsonl", module(Phase.FINETUNE)
    callback = MetricsFile(path, Throughput())
    callback.on_train_epoch_end(trainer(current_epoch=0), made)
    before = path.read_text()
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.warns(UserWarning, match=rf"{path} could not be written .*No space left on device"):
            callback.on_train_epoch_end(trainer(current_epoch=1), made)
    assert path.read_text() == before, "no half line"
    again = MetricsFile(path, Throughput())
    again.load_state_dict(callback.state_dict())
    again.on_train_epoch_end(trainer(current_epoch=2), made)
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [0, 1, 2]


def test_each_step_draws_as_if_it_were_the_first(tmp_path: Path) -> None:
    def drawn(epoch: int, batch: int, seed: int = 0, rank: int = 0) -> tuple[float, float, float]:
        stand_in = trainer(current_epoch=epoch, global_rank=rank)
        StepSeeds(seed).on_train_batch_start(stand_in, module(Phase.FINETUNE), None, batch)
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002 - the global one

    first = drawn(2, 5)
    others = [drawn(2, 6), drawn(3, 5), drawn(2, 5, seed=1), drawn(2, 5, rank=1)]
    assert drawn(2, 5) == first
    assert len({first, *others}) == 5


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a device to seed")
def test_devices_that_are_not_there_are_not_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    StepSeeds(0).on_train_batch_start(trainer(current_epoch=0, global_rank=0), module(Phase.FINETUNE), None, 0)
    assert not seeded


def test_only_one_process_writes(tmp_path: Path) -> None:
    path, other = tmp_path / "metrics.jsonl", trainer(is_global_zero=False)
    path.write_text(json.dumps({"kind": "train", "epoch": 7}) + "\n")
    before = path.read_text()
    callback = MetricsFile(path, Throughput())
    callback.on_train_start(other, module(Phase.FINETUNE))
    callback.on_train_epoch_end(
        trainer(is_global_zero=False, callback_metrics={"loss": torch.tensor(1.0)}), module(Phase.FINETUNE)
    )
    ModelAfterEpochs(tmp_path, (1,), {}).on_train_epoch_end(other, module(Phase.FINETUNE))
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_models_are_kept_after_the_epochs_asked_for(tmp_path: Path) -> None:
    callback, made = ModelAfterEpochs(tmp_path, (1, 3), {"seed": 5}), module(Phase.FINETUNE)
    for epoch in range(4):
        with torch.no_grad():
            next(made.model.parameters()).fill_(float(epoch))
        callback.on_train_epoch_end(trainer(current_epoch=epoch), made)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model-epoch-001.safetensors",
        "model-epoch-003.safetensors",
    ]
    assert read_provenance(tmp_path / "model-epoch-003.safetensors") == {"seed": 5, "epochs_done": 3}
    assert float(next(load_model(tmp_path / "model-epoch-003.safetensors").parameters()).detach().mean()) == 2.0
