import json
from pathlib import Path

import pytest

from sparsedense.data.store import FrameStore
from sparsedense.experiments.comparison import ArmResults, compare_arms, differences
from sparsedense.training.run import TrainingRun
from tests.conftest import tiny_experiment


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
