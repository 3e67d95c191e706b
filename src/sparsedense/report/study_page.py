"""What the page of a study shows, ready for the template."""

from collections.abc import Iterable
from dataclasses import dataclass

from sparsedense.report.canvas import study_colours
from sparsedense.report.facts import environment_facts
from sparsedense.report.links import RunLink, run_link
from sparsedense.report.read_files import as_text
from sparsedense.report.read_study import MOMENTS, GateResult, Study, Summary
from sparsedense.report.study_figures import efficiency_pictures, pretraining_pictures, probe_pictures
from sparsedense.report.study_verdict import study_verdict
from sparsedense.report.wording import (
    count,
    duration,
    key_name,
    labels_in_words,
    p_value,
    percent,
    short_number,
    signed_points,
)

_SIGNS = {"pass": "✓", "fail": "✗", "not measured": "○"}
_KINDS = ("pretrain", "finetune")
_ABSENT = "n/a"


@dataclass(frozen=True, slots=True)
class Cell:
    """A number with what stands below it."""

    summary: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ArmRow:
    """One arm of a table: its colour (of the palette), whether validation chose it, and its cells."""

    arm: str
    colour: str
    chosen: bool
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class LabelTable:
    """All arms with one number of labels."""

    title: str
    rows: list[ArmRow]


@dataclass(frozen=True, slots=True)
class GateCell:
    """One gate of one arm: its status, the sign for it, and its number in short."""

    status: str
    sign: str
    number: str


@dataclass(frozen=True, slots=True)
class GateColumn:
    """One gate: what it asks, and its threshold."""

    number: int
    name: str
    threshold: str


@dataclass(frozen=True, slots=True)
class GateRow:
    """One arm: its colour (of the palette) and a cell for each gate, None where it has none."""

    arm: str
    colour: str
    cells: list[GateCell | None]


def study_context(study: Study) -> dict[str, object]:
    """Values of the template study.html.j2; what the study does not have is empty."""
    gated = [arm for arm in study.arms if any(gate.arm == arm for gate in study.gates)]
    colours = study_colours(study.arms, study.baseline)
    return {
        "title": study.folder.resolve().name,
        "command": as_text(study.environment.get("command")) or "",
        "verdict": study_verdict(study),
        "setting": _setting(study),
        "unfinished": study.jobs - study.jobs_done - len(study.failed),
        "failed": list(study.failed.items()),
        "gate_columns": _gate_columns(study),
        "gate_rows": _gate_rows(study, gated, colours),
        "trouble": [gate for gate in study.gates if gate.status == "fail"],
        "findings": [(arm, [gate for gate in study.gates if gate.arm == arm]) for arm in gated],
        "signs": _SIGNS,
        "efficiency": efficiency_pictures(study),
        "tables": [_table(study, labels, colours) for labels, _ in study.labels],
        "baseline": study.baseline,
        "several_stores": len(study.stores) > 1,
        "validated": any(store.val for store in study.stores),
        "probes": probe_pictures(study),
        "pretraining": pretraining_pictures(study),
        "seconds": [(key_name(kind), duration(seconds)) for kind, seconds in study.seconds.items()],
        "facts": environment_facts(study.environment),
        "links": _links(study),
    }


def _setting(study: Study) -> list[str]:
    """What was compared on what, in a few phrases."""
    stores = study.stores
    tests = sum(store.test for store in stores)
    counts = [str(labels) if labels is not None else f"all ({short_number(videos)})" for labels, videos in study.labels]
    return [
        count(len(study.arms), "arm"),
        f"{count(len(stores), 'store')}: {', '.join(store.name for store in stores)}",
        f"{count(len(study.seeds), 'seed')} ({', '.join(map(str, study.seeds))})",
        f"{', '.join(counts)} labels a class",
        f"{count(max((store.classes for store in stores), default=0), 'class')}",
        f"{count(tests, 'test video')}",
        f"{count(sum(store.val for store in stores), 'validation video')}",
    ]


def _table(study: Study, labels: int | None, colours: dict[str, str]) -> LabelTable:
    best = study.best_on_validation(labels)
    rows = []
    for arm in study.arms:
        summaries = [study.summary(arm, labels, moment) for moment in MOMENTS]
        if any(summaries):
            cells = [cell for summary in summaries for cell in _cells(summary, arm, study.baseline)]
            rows.append(ArmRow(arm, colours[arm], best is not None and best.arm == arm, cells))
    words = labels_in_words(labels)
    return LabelTable(words[0].upper() + words[1:], rows)


def _cells(summary: Summary | None, arm: str, baseline: str) -> tuple[Cell, Cell, Cell]:
    """Accuracy, gain over the baseline, and p-value."""
    if summary is None:
        return Cell(_ABSENT), Cell(_ABSENT), Cell("")
    test, difference = summary.test, summary.difference
    accuracy = Cell(percent(test.mean), _range(f"{100 * x:.1f}" for x in (test.low, test.high) if x is not None))
    if arm == baseline:
        return accuracy, Cell("baseline"), Cell("")
    if difference is None:
        return accuracy, Cell(_ABSENT), Cell("")
    bounds = _range(signed_points(x) for x in (difference.low, difference.high) if x is not None)
    bounds = bounds or count(difference.pairs, "pair")
    stores = summary.difference_over_stores
    if stores is not None and stores.low is not None and stores.high is not None:
        bounds += f"; over {stores.pairs} stores {signed_points(stores.low)} to {signed_points(stores.high)}"
    corrected = "" if difference.p_holm is None else f"Holm {p_value(difference.p_holm)}"
    return (
        accuracy,
        Cell(signed_points(difference.mean), bounds),
        Cell("" if difference.p is None else p_value(difference.p), corrected),
    )


def _range(bounds: Iterable[str]) -> str:
    return " to ".join(bounds)


def _gate_columns(study: Study) -> list[GateColumn]:
    columns = {gate.number: GateColumn(gate.number, gate.name, gate.threshold) for gate in study.gates}
    return [columns[number] for number in sorted(columns)]


def _gate_rows(study: Study, arms: list[str], colours: dict[str, str]) -> list[GateRow]:
    found = {(gate.number, gate.arm): gate for gate in study.gates}
    numbers = [column.number for column in _gate_columns(study)]
    return [GateRow(arm, colours[arm], [_gate_cell(found.get((n, arm))) for n in numbers]) for arm in arms]


def _gate_cell(gate: GateResult | None) -> GateCell | None:
    return None if gate is None else GateCell(gate.status, _SIGNS[gate.status], _gate_number(gate))


def _gate_number(gate: GateResult) -> str:
    """The number that decided, in its unit."""
    if gate.value is None:
        return ""
    if gate.number == 1:
        return f"{gate.value:.2g}"
    if gate.number == 3:
        return f"{gate.value:.2f} of guessing"
    return signed_points(gate.value) + " points" if gate.number == 6 else percent(gate.value)


def _links(study: Study) -> list[tuple[str, list[RunLink]]]:
    links = [run_link(study.folder, name) for name in study.runs]
    grouped = [(kind, [link for link in links if link.name.startswith(f"{kind}/")]) for kind in _KINDS]
    return [(kind, found) for kind, found in grouped if found]
