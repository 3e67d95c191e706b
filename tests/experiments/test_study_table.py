import io
from dataclasses import replace

from rich.console import Console

from sparsedense.experiments.gates import difference_gate, knn_gate
from sparsedense.experiments.study_results import ArmSummary, StudyResults
from sparsedense.experiments.study_table import gate_counts, markdown, print_study

DIFFERENCE = {"mean": 0.2, "low": 0.1, "high": 0.3, "n": 5, "p": 0.0004, "p_holm": 0.0008}
RESULTS = StudyResults(
    summaries=[
        ArmSummary("scratch", 3, "end", {"mean": 0.4, "low": 0.35, "high": 0.45, "n": 5}, 0.4, 0.4),
        ArmSummary("ours", 3, "end", {"mean": 0.6, "low": 0.5, "high": 0.7, "n": 5}, 0.6, 0.6, DIFFERENCE, True),
        ArmSummary("ours", None, "first_epoch", {"mean": 0.5, "n": 1}, 0.5, None, {"mean": -0.05, "n": 1}),
    ]
)
GATES = [knn_gate("ours", [(0.5, 0.2)]), knn_gate("ours", [(0.1, 0.2)]), difference_gate("ours", None, "3 labels")]


def test_the_markdown_holds_the_numbers() -> None:
    text = markdown(RESULTS, "scratch", "320 test videos")
    assert "## 3 labels a class, end of the fine-tuning" in text
    assert "| scratch | 40.0 % (35.0 to 45.0) |  |  |  | 5 |" in text
    assert "| ours * | 60.0 % (50.0 to 70.0) | +20.0 (+10.0 to +30.0) | 0.0004 | 0.0008 | 5 |" in text
    assert "## all labels, first supervised epoch" in text
    assert "| ours | 50.0 % | -5.0 |  |  | 1 |" in text
    assert "* is the best on the validation videos" in text
    columns = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert columns == {7}


def test_without_validation_no_arm_is_chosen() -> None:
    results = StudyResults(summaries=[RESULTS.summaries[0]])
    assert "No validation videos, so no arm is chosen" in markdown(results, "scratch", "320 test videos")


def test_the_terminal_shows_what_fails_and_what_to_try() -> None:
    console = Console(file=io.StringIO(), width=200)
    print_study(RESULTS, GATES, "scratch", "320 test videos", console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "gates of ours: 1 pass, 1 fail, 1 not measured" in shown
    assert "4 fails: nearest neighbours beat untrained weights: 10 %, untrained 20 %" in shown
    assert "pretrain longer" in shown
    assert "+20.0 (+10.0 to +30.0)" in shown


def test_gates_are_counted_by_arm() -> None:
    assert gate_counts([*GATES, knn_gate("other", [])]) == {
        "ours": {"pass": 1, "fail": 1, "not measured": 1},
        "other": {"pass": 0, "fail": 0, "not measured": 1},
    }


def test_several_stores_have_a_column_of_their_own() -> None:
    over_stores = {"mean": 0.2, "low": 0.05, "high": 0.35, "n": 4, "p": 0.02}
    ours = replace(RESULTS.summaries[1], difference_over_stores=over_stores)
    text = markdown(StudyResults(summaries=[RESULTS.summaries[0], ours]), "scratch", "320 test videos of 4 stores")
    assert "| 0.0004 | 0.0008 | 5 | +20.0 (+5.0 to +35.0) over 4 |" in text
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {8}
    assert "one number a store" in text
    assert "one number a store" not in markdown(RESULTS, "scratch", "320 test videos")
