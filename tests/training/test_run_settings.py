import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sparsedense.config import Experiment
from sparsedense.training.plan import Phase
from sparsedense.training.run_settings import Place, SettingsChangedError, check_settings, place_to_go_on, run_settings
from tests.conftest import tiny_experiment


@pytest.fixture
def store(tmp_path: Path) -> Any:
    for name in ("store.json", "manifest.parquet"):
        (tmp_path / name).write_text(name)
    return SimpleNamespace(path=tmp_path)


def check(old: dict[str, Any], new: dict[str, Any], epochs_begun: int = 1) -> None:
    check_settings(old, new, epochs_begun=epochs_begun, run=Path("runs/one"))


def test_the_same_settings_go_on(store: Any) -> None:
    settings = run_settings(Phase.PRETRAIN, tiny_experiment(), store, None)
    check(settings, settings)
    assert place_to_go_on(None, settings, Path("runs/one")) == Place()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "experiment.seed: 0 -> 1"),
        ({"finetune": {"learning_rate": 0.01}}, "experiment.finetune.learning_rate: 0.003 -> 0.01"),
        ({"labels_per_class": 2}, "experiment.labels_per_class: None -> 2"),
    ],
)
def test_other_settings_are_named(store: Any, changes: dict[str, Any], named: str) -> None:
    old = run_settings(Phase.FINETUNE, tiny_experiment(), store, None)
    new = run_settings(Phase.FINETUNE, tiny_experiment(**changes), store, None)
    message = rf"runs/one was begun with other settings: {re.escape(named)}\. Go on with those in .*config\.yaml"
    with pytest.raises(SettingsChangedError, match=message):
        check(old, new)


@pytest.mark.parametrize(
    "changes",
    [{"machine": {"num_workers": 3}}, {"finetune": {"epochs": 9}}, {"validation_clips": 2}, {"labels_per_class": 1}],
)
def test_what_does_not_decide_a_pretraining_may_change(store: Any, changes: dict[str, Any]) -> None:
    old = run_settings(Phase.PRETRAIN, tiny_experiment(), store, None)
    check(old, run_settings(Phase.PRETRAIN, tiny_experiment(**changes), store, None))


def test_another_store_or_model_is_named(store: Any, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    save_file({"weights": torch.arange(4.0)}, model, metadata={"written": "today"})
    old = run_settings(Phase.FINETUNE, tiny_experiment(), store, model)
    moved = model.rename(tmp_path / "moved.safetensors")
    check(old, run_settings(Phase.FINETUNE, tiny_experiment(), store, moved))
    save_file({"weights": torch.arange(4.0)}, moved, metadata={"written": "tomorrow, with more words"})
    check(old, run_settings(Phase.FINETUNE, tiny_experiment(), store, moved))
    other = tmp_path / "other.safetensors"
    save_file({"weights": torch.arange(4.0) + 1}, other)
    with pytest.raises(SettingsChangedError, match=r"init: [0-9a-f]{16} -> [0-9a-f]{16}"):
        check(old, run_settings(Phase.FINETUNE, tiny_experiment(), store, other))
    with pytest.raises(SettingsChangedError, match=r"init: [0-9a-f]{16} -> None"):
        check(old, run_settings(Phase.FINETUNE, tiny_experiment(), store, None))
    (store.path / "manifest.parquet").write_text("another video")
    with pytest.raises(SettingsChangedError, match=r"store: [0-9a-f]{16} -> [0-9a-f]{16}"):
        check(old, run_settings(Phase.FINETUNE, tiny_experiment(), store, moved))


def with_epochs(experiment: Experiment, epochs: int) -> Experiment:
    return replace(experiment, finetune=replace(experiment.finetune, epochs=epochs))


def test_a_run_may_become_longer_where_its_past_stays_the_same(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    constant, cosine = (tiny_experiment(finetune={"rate_schedule": kind}) for kind in ("constant", "cosine"))

    def told(experiment: Experiment) -> dict[str, Any]:
        return run_settings(Phase.FINETUNE, experiment, store, None)

    check(told(constant), told(constant), epochs_begun=2)
    assert not capsys.readouterr().out
    check(told(constant), told(with_epochs(constant, 9)), epochs_begun=2)
    assert capsys.readouterr().out == f"{Path('runs/one')} goes on with epochs: 2 -> 9\n"
    with pytest.raises(SettingsChangedError, match=r"experiment\.finetune\.epochs: 2 -> 1"):
        check(told(constant), told(with_epochs(constant, 1)), epochs_begun=2)
    check(told(cosine), told(with_epochs(cosine, 9)), epochs_begun=1)  # the first epoch has the full rate in both
    with pytest.raises(SettingsChangedError, match=r"experiment\.finetune\.epochs: 2 -> 9"):
        check(told(cosine), told(with_epochs(cosine, 9)), epochs_begun=2)
