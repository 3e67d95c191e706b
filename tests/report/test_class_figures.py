"""Mistakes and gains by class."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sparsedense.report.class_figures import Confusion, class_comparison, confusion_matrix, frequent_confusions
from sparsedense.report.read_comparison import read_comparison
from sparsedense.report.read_run import Evaluation

MakeRun = Callable[..., Path]


def evaluation_of(confusion: list[list[float]]) -> Evaluation:
    names = ["a", "b", "c"]
    return Evaluation({"accuracy": 0.5}, 30, "test", 10, names, [], confusion, [])


def test_frequent_confusions_are_sorted_and_leave_out_what_is_right() -> None:
    found = frequent_confusions(evaluation_of([[7, 3, 0], [0, 5, 0], [4, 1, 5]]), most=2)
    assert found == [Confusion("c", "a", 4, 0.4), Confusion("a", "b", 3, 0.3)]


def test_a_class_without_videos_has_no_cell() -> None:
    picture = confusion_matrix(evaluation_of([[2, 1, 0], [0, 0, 0], [0, 0, 5]]))
    assert picture is not None
    assert picture.svg.count("fill-opacity") + picture.svg.count("fill: var(--pretrained)") >= 3
    assert frequent_confusions(evaluation_of([[0, 0, 0]] * 3)) == []


def test_no_matrix_without_counts() -> None:
    assert confusion_matrix(evaluation_of([])) is None


@pytest.mark.parametrize(("num_classes", "rows"), [(12, 12), (101, 40)])
def test_gains_show_all_classes_or_both_ends(
    make_run: MakeRun, make_comparison: MakeRun, tmp_path: Path, num_classes: int, rows: int
) -> None:
    names = [f"action{i:03d}" for i in range(num_classes)]
    folder = make_comparison(tmp_path / "demo", num_seeds=1, runs={"scratch": ["s"], "pretrained": ["p"]})
    make_run(folder / "s", class_names=names, top=0.3)
    make_run(folder / "p", class_names=names, top=0.8)
    picture = class_comparison(read_comparison(folder))
    assert picture is not None
    assert picture.svg.count("action") == rows
