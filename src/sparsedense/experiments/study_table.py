"""The table of a study, for the terminal and for `table.md`: every arm, its gain over the baseline, how sure it is."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sparsedense.experiments.gates import Gate
from sparsedense.experiments.study_results import ArmSummary, StudyResults
from sparsedense.report.wording import labels_in_words, p_value

CHOSEN = "*"
_MOMENTS = {"first_epoch": "first supervised epoch", "end": "end of the fine-tuning"}
_COLUMNS = ("arm", "accuracy (95 % CI)", "difference (95 % CI)", "p", "Holm", "pairs")
_OVER_STORES = "over stores"  # only where there are several


def markdown(results: StudyResults, baseline: str, videos: str) -> str:
    """All tables as Markdown.

    Args:
        results: what was found.
        baseline: name of the arm that the others are compared to.
        videos: the test videos in words.
    """
    lines = []
    columns = _columns(results)
    for title, rows in _tables(results):
        lines += [f"## {title}", "", "| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    return "\n".join([*lines, _legend(results, baseline, videos), ""])


def print_study(
    results: StudyResults, gates: Sequence[Gate], baseline: str, videos: str, console: Console | None = None
) -> None:
    """Print the tables and how many gates each arm passes."""
    console = console or Console()
    for title, rows in _tables(results):
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        for index, column in enumerate(_columns(results)):
            table.add_column(column, justify="right" if index else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(_legend(results, baseline, videos), markup=False, highlight=False)
    for arm, counts in gate_counts(gates).items():
        parts = [f"{count} {status}" for status, count in counts.items() if count]
        console.print(f"gates of {arm}: {', '.join(parts)}", markup=False, highlight=False)
        for gate in gates:
            if gate.arm == arm and gate.status == "fail":
                finding = (
                    f"  {gate.number} fails: {gate.name}: {gate.finding} (must be {gate.threshold}); {gate.advice}"
                )
                console.print(finding, markup=False, highlight=False)


def gate_counts(gates: Sequence[Gate]) -> dict[str, dict[str, int]]:
    """For each arm how many gates it passes, fails and was not measured by."""
    counts: dict[str, dict[str, int]] = {}
    for gate in gates:
        counts.setdefault(gate.arm, {"pass": 0, "fail": 0, "not measured": 0})[gate.status] += 1
    return counts


def _tables(results: StudyResults) -> list[tuple[str, list[list[str]]]]:
    columns = _columns(results)
    keys = dict.fromkeys((s.labels_per_class, s.moment) for s in results.summaries)
    return [
        (
            f"{labels_in_words(labels)}, {_MOMENTS[moment]}",
            [_row(s)[: len(columns)] for s in results.summaries if (s.labels_per_class, s.moment) == (labels, moment)],
        )
        for labels, moment in keys
    ]


def _columns(results: StudyResults) -> tuple[str, ...]:
    several = any(summary.difference_over_stores for summary in results.summaries)
    return (*_COLUMNS, _OVER_STORES) if several else _COLUMNS


def _row(summary: ArmSummary) -> list[str]:
    test, difference = summary.test, summary.difference or {}
    over_stores = summary.difference_over_stores
    return [
        summary.arm + (f" {CHOSEN}" if summary.best_on_validation else ""),
        f"{100 * test['mean']:.1f} %{_interval(test, '{:.1f}')}",
        _points(difference) if difference else "",
        p_value(difference["p"]) if "p" in difference else "",
        p_value(difference["p_holm"]) if "p_holm" in difference else "",
        str(difference.get("n", test["n"])),
        f"{_points(over_stores)} over {over_stores['n']}" if over_stores else "",
    ]


def _points(difference: Mapping[str, float | int]) -> str:
    return f"{100 * difference['mean']:+.1f}{_interval(difference, '{:+.1f}')}"


def _interval(values: Mapping[str, float | int], form: str) -> str:
    if "low" not in values:
        return ""
    return f" ({form.format(100 * values['low'])} to {form.format(100 * values['high'])})"


def _legend(results: StudyResults, baseline: str, videos: str) -> str:
    chosen = any(summary.best_on_validation for summary in results.summaries)
    choice = f"{CHOSEN} is the best on the validation videos" if chosen else "No validation videos, so no arm is chosen"
    several = len(_columns(results)) > len(_COLUMNS)
    over_stores = ", and with one number a store, its mean over the seeds" if several else ""
    return (
        f"Accuracy on {videos}, mean over pairs (store and seed). Difference: points above {baseline} over the same "
        f"pairs{over_stores}. Intervals by Student's t; p by the paired t-test, and corrected over the arms by Holm. "
        f"{choice}."
    )
