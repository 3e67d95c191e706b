import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sparsedense.data.store import FrameStore
from sparsedense.experiments.comparison import ArmResults, compare_arms, differences, paired_difference
from sparsedense.training.run import TrainingRun
from tests.conftest import tiny_experiment

SHARES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12)


@given(pairs=SHARES, confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_is_that_of_the_paired_t_test(pairs: list[tuple[float, float]], confidence: float) -> None:
    treated, control = zip(*pairs, strict=True)
    result = paired_difference(treated, control, confidence)
    assert result["mean"] == pytest.approx(np.mean(np.subtract(treated, control)))
    assert result["n"] == len(pairs)
    if np.ptp(np.subtract(treated, control)) < 1e-6:
        return  # scipy has no interval of equal differences
    interval = stats.ttest_rel(treated, control).confidence_interval(confidence)
    assert (result["low"], result["high"]) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_equal_differences_have_an_interval_of_no_width() -> None:
    result = paired_difference([0.5, 0.75, 1.0], [0.25, 0.5, 0.75])
    assert result == pytest.approx({"mean": 0.25, "low": 0.25, "high": 0.25, "n": 3})


def test_exchanging_the_arms_changes_the_sign() -> None:
    forwards, backwards = (
        paired_difference(*arms) for arms in pairwise([[0.5, 0.9, 0.7], [0.4, 0.6, 0.8], [0.5, 0.9, 0.7]])
    )
    assert forwards["mean"] == pytest.approx(-backwards["mean"])
    assert forwards["low"] == pytest.approx(-backwards["high"])


def test_one_pair_has_no_interval() -> None:
    assert paired_difference([0.75], [0.5]) == {"mean": 0.25, "n": 1}


@pytest.mark.parametrize(("treated", "control"), [([], []), ([0.5], [0.5, 0.6])])
def test_arms_of_different_length_are_an_error(treated: list[float], control: list[float]) -> None:
    message = rf"the same number of seeds, got {len(treated)} and {len(control)}"
    with pytest.raises(ValueError, match=message):
        paired_difference(treated, control)


def test_every_metric_has_its_difference() -> None:
    treated = ArmResults(accuracy=[0.9, 0.8], f1=[0.7, 0.7], accuracy_first_epoch=[0.5, 0.5], f1_first_epoch=[0.4, 0.2])
    control = ArmResults(accuracy=[0.5, 0.6], f1=[0.6, 0.5], accuracy_first_epoch=[0.5, 0.5], f1_first_epoch=[0.1, 0.1])
    result = differences(treated, control)
    means = {name: value["mean"] for name, value in result.items()}
    assert means == pytest.approx({"accuracy": 0.3, "f1": 0.15, "accuracy_first_epoch": 0.0, "f1_first_epoch": 0.2})


@pytest.mark.parametrize("parallel_runs", [1, 2])
def test_two_arms_are_compared_over_two_seeds(
    squares: FrameStore, pretrained: TrainingRun, tmp_path: Path, parallel_runs: int
) -> None:
    result = compare_arms(
        squares,
        tmp_path,
        tiny_experiment(labels_per_class=2),
        arms={"scratch": None, "pretrained": pretrained.model},
        seeds=[0, 3],
        clips_per_video=1,
        parallel_runs=parallel_runs,
        progress=False,
    )
    assert list(result.arms) == ["scratch", "pretrained"]
    assert result.test_videos == len(squares.videos(split="test"))
    assert result.seconds > 0
    for name, arm in result.arms.items():
        assert arm.runs == [f"finetune/{name}-seed0", f"finetune/{name}-seed3"]
        for number, run in enumerate(arm.runs):
            evaluation = json.loads((tmp_path / run / "evaluation.json").read_text())
            assert arm.accuracy[number] == evaluation["accuracy"]
            assert arm.f1[number] == evaluation["f1"]
            assert (tmp_path / run / "model-epoch-001.safetensors").is_file()
        assert len(arm.accuracy_first_epoch) == len(arm.f1_first_epoch) == 2
