"""Means over the seeds."""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from sparsedense.report.comparison_figures import (
    arm_losses_over_epochs,
    arm_scores_over_epochs,
    gain_picture,
    mean_curve,
)
from sparsedense.report.read_comparison import read_comparison
from sparsedense.report.read_run import Curve
from sparsedense.report.wording import percent

MakeRun = Callable[..., Path]


def test_the_mean_stops_where_a_seed_stops() -> None:
    mean = mean_curve([Curve([0, 1, 2], [0.2, 0.4, 0.6]), Curve([1, 0], [0.6, 0.4])])
    assert mean.epochs == [0, 1]
    assert [round(value, 6) for value in mean.values] == [0.3, 0.5]


def test_every_bar_carries_its_mean(make_comparison: MakeRun, tmp_path: Path) -> None:
    picture = gain_picture(read_comparison(make_comparison(tmp_path / "demo")), chance=1 / 16)
    assert picture is not None
    for text in ("18.1", "47.3", "8.3", "29.9", "41.4", "61.4", "guessing 6.2"):
        assert f"{text}\N{NO-BREAK SPACE}%" in picture.svg


def test_no_curves_without_runs(make_comparison: MakeRun, tmp_path: Path) -> None:
    comparison = read_comparison(make_comparison(tmp_path / "demo", runs=None, num_seeds=1))
    assert arm_scores_over_epochs(comparison, metric="accuracy", label="accuracy") is None
    assert arm_losses_over_epochs(comparison) is None


def test_curves_end_in_the_mean_of_the_seeds(make_comparison: MakeRun, tmp_path: Path) -> None:
    comparison = read_comparison(make_comparison(tmp_path / "demo"))
    picture = arm_scores_over_epochs(comparison, metric="accuracy", label="accuracy")
    assert picture is not None
    for arm in comparison.arms:
        assert percent(fmean(run.validation_curve("accuracy").last for run in arm.runs)) in picture.svg
    losses = arm_losses_over_epochs(comparison)
    assert losses is not None
    assert "0.5<" in losses.svg
