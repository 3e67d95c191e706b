from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sparsedense.config import Experiment, load_experiment
from sparsedense.training import tuning
from sparsedense.training.machine import resolve_workers
from sparsedense.training.tuning import Trial, best_trial, tune, with_settings, write_settings
from tests.conftest import tiny_experiment


def pretend(monkeypatch: pytest.MonkeyPatch, rate: Any) -> list[Experiment]:
    """Steps as fast as a function of the experiment says."""
    seen: list[Experiment] = []

    def measured(experiment: Experiment, **_: object) -> SimpleNamespace:
        seen.append(experiment)
        return SimpleNamespace(ours=SimpleNamespace(clips_per_second=rate(experiment)))

    monkeypatch.setattr(tuning, "time_step", measured)
    return seen


def speed(experiment: Experiment) -> float:
    machine = experiment.machine
    if machine.precision == "bf16-mixed":
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
    if machine.compile != "no":
        raise TimeoutError("no answer within 60 s")
    return 10 + 5 * (machine.channels_last is True) + resolve_workers(machine) + 0.1 * experiment.pretrain.batch_size


def test_the_best_of_each_setting_is_kept_and_failures_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = pretend(monkeypatch, speed)
    trials = tune(tiny_experiment(machine={"channels_last": False}), tmp_path, batch_sizes=[12])
    assert trials[0].settings == {}, "the recipe as it is comes first"
    best = best_trial(trials)
    assert best.settings["channels_last"] is True
    assert best.settings["num_workers"] == max(experiment.machine.num_workers for experiment in seen)
    assert best.settings["batch_size"] == 12
    failures = {trial.failure for trial in trials if trial.failure}
    assert failures == {"out of memory", "no answer within 60 s"}
    assert len({str(trial.settings) for trial in trials}) == len(trials), "nothing is tried twice"
    later = [trial for trial in trials if "num_workers" in trial.settings]
    assert all(trial.settings["channels_last"] is True for trial in later), "on top of the best so far"


def layout_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_stages", lambda *_: [[{"channels_last": True}], [{"fused_optimiser": False}]])


def test_the_fastest_takes_turns_with_the_recipe_before_it_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    layout_alone(monkeypatch)
    told = iter([10.0, 12.0, 11.0, 9.0, 10.0, 10.0, 10.5, 10.0, 11.5, 10.0, 11.7])
    seen = pretend(monkeypatch, lambda _: next(told))
    trials = tune(tiny_experiment())
    # The layout was lucky, 12 and then 10; so the optimiser, tried on top of it, takes its turns and stays.
    assert [experiment.machine.channels_last for experiment in seen[3:7]] == ["auto", True, "auto", True]
    assert [experiment.machine.fused_optimiser for experiment in seen[7:]] == ["auto", False, "auto", False]
    assert [trial.clips_per_second for trial in trials] == [10.0, 10.5, 11.5]
    assert best_trial(trials) is trials[2]


def test_where_nothing_is_surely_faster_the_recipe_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert best_trial([Trial({}, 10.0), Trial({"threads": 1}, 10.2)]).settings == {}
    layout_alone(monkeypatch)
    told = iter([10.0, 9.0, 9.0])
    pretend(monkeypatch, lambda _: next(told))
    assert best_trial(tune(tiny_experiment())).settings == {}


def test_what_the_recipe_takes_anyway_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    pretend(monkeypatch, lambda _: 1.0)
    tried = [trial.settings for trial in tune(tiny_experiment(machine={"threads": None}))]
    # Narrow networks are channels-last anyway.
    for settings in ({"channels_last": True}, {"precision": "32-true"}, {"threads": 1}):
        assert settings not in tried
    assert {"channels_last": False} in tried
    assert {"precision": "bf16-mixed"} in tried


def test_when_the_time_is_up_no_trial_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, speed)
    assert [trial.settings for trial in tune(tiny_experiment(), budget_seconds=0)] == [{}]


def test_the_file_is_joined_to_the_recipe(tmp_path: Path) -> None:
    trials = [
        Trial({}, 10.0),
        Trial({"channels_last": True, "threads": 2, "batch_size": 8}, 12.5),
        Trial({"compile": "default"}, 0.0, "out of memory"),
    ]
    path = tmp_path / "tuned.yaml"
    write_settings(path, trials, recipe="sparsedense+small")
    experiment = load_experiment(f"sparsedense+small+{path}")
    expected = with_settings(load_experiment("sparsedense+small"), trials[1].settings)
    assert experiment == expected
    assert experiment.machine.threads == 2
    assert experiment.pretrain.batch_size == 8
    assert "0.00  compile default  (out of memory)" in path.read_text()


def test_where_nothing_works_there_is_no_best() -> None:
    with pytest.raises(RuntimeError, match="as the recipe is: out of memory"):
        best_trial([Trial({}, 0.0, "out of memory")])
