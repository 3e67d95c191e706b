"""What is wrong in results.json is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sparsedense.report.errors import ReportError
from sparsedense.report.read_comparison import read_comparison

MakeRun = Callable[..., Path]


def test_everything_is_read(make_comparison: MakeRun, tmp_path: Path) -> None:
    comparison = read_comparison(make_comparison(tmp_path / "demo"))
    assert [arm.name for arm in comparison.arms] == ["scratch", "pretrained"]
    assert [len(arm.runs) for arm in comparison.arms] == [3, 3]
    assert comparison.differences["accuracy"].low == 0.1873
    assert comparison.command == "sparsedense demo --out runs/demo"
    assert len(list(comparison.runs())) == 7


def test_a_difference_without_interval_is_left_out(make_comparison: MakeRun, tmp_path: Path) -> None:
    difference = {"accuracy": {"mean": 0.2, "n": 1}, "f1": {"mean": 0.2, "low": 0.1, "high": 0.3, "n": 1}}
    comparison = read_comparison(make_comparison(tmp_path / "demo", num_seeds=1, difference=difference))
    assert list(comparison.differences) == ["f1"]


def test_further_arms_come_last(make_comparison: MakeRun, tmp_path: Path) -> None:
    arms = {name: {"accuracy": [0.5]} for name in ("kinetics", "pretrained", "scratch", "another")}
    comparison = read_comparison(make_comparison(tmp_path / "demo", arms=arms, runs=None, num_seeds=0))
    assert [arm.name for arm in comparison.arms] == ["scratch", "pretrained", "another", "kinetics"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {}}, r"has no 'arms'"),
        (
            {"arms": {"scratch": {"accuracy": [0.4, 0.5]}, "pretrained": {"accuracy": [0.6]}}},
            r"must have the same seeds",
        ),
        ({"arms": {"scratch": {"accuracy": []}}}, r"must have the same seeds"),
        ({"arms": {"scratch": {"accuracy": [0.4, "x"]}}}, r"'accuracy' must be a list of numbers"),
        ({"arms": {"scratch": 0.4}}, r"arms, scratch must be an object, got 0.4"),
        ({"difference": {"accuracy": {"mean": 0.1, "high": 0.2}}}, r"difference, accuracy has no 'low'"),
        ({"runs": {"pretrain": "../elsewhere"}}, r"must be a folder below"),
        ({"runs": {"pretrain": "gone"}}, r"gone is no run"),
    ],
)
def test_damage_is_named(make_comparison: MakeRun, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ReportError, match=message):
        read_comparison(make_comparison(tmp_path / "demo", num_seeds=1, **changes))
