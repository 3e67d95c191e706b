"""The gates of all arms of a study, from its records and from what its pretrainings logged."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsedense.evaluation.probe import MODEL
from sparsedense.evaluation.probe_samples import UNTRAINED
from sparsedense.experiments.gates import (
    Gate,
    Metrics,
    control_gate,
    difference_gate,
    gradient_gate,
    guess_gate,
    knn_gate,
    linear_gate,
)
from sparsedense.experiments.job_records import JobRecord
from sparsedense.experiments.study_jobs import StudyPlan
from sparsedense.experiments.study_results import StudyResults
from sparsedense.report.read_run import read_metrics
from sparsedense.report.wording import labels_in_words


def study_gates(
    plan: StudyPlan,
    records: Mapping[str, JobRecord],
    results: StudyResults,
    out: Path,
    *,
    baseline: str,
    labels_per_class: Sequence[int | None],
) -> list[Gate]:
    """Six gates for every arm but the baseline.

    Args:
        plan: the study's jobs.
        records: of the finished jobs.
        results: what they found.
        out: the study's folder.
        baseline: name of the arm that the others are compared to.
        labels_per_class: the numbers of labels; the smallest counts for gate 6.
    """
    fewest = min(labels_per_class, key=lambda labels: float("inf") if labels is None else labels)
    gates = []
    for arm in dict.fromkeys(cell.arm for cell in plan.cells if cell.arm != baseline):
        runs = [_metrics(out / name) for name in pretraining_runs(plan, arm) if name in records]
        probes = results.probes.get(arm, [])
        summary = results.summary(arm, fewest, "end")
        gates += [
            gradient_gate(arm, runs),
            control_gate(arm, [probe["controls"] for probe in probes if probe["controls"]]),
            guess_gate(arm, runs),
            knn_gate(arm, [(probe["knn"][MODEL], probe["knn"][UNTRAINED]) for probe in probes]),
            linear_gate(arm, [(probe["linear"][MODEL], probe["linear"][UNTRAINED]) for probe in probes]),
            difference_gate(arm, None if summary is None else summary.difference, labels_in_words(fewest)),
        ]
    return gates


def pretraining_runs(plan: StudyPlan, arm: str) -> list[str]:
    """Names of the pretrainings of an arm."""
    return list(dict.fromkeys(cell.pretrain for cell in plan.cells if cell.arm == arm and cell.pretrain is not None))


def _metrics(run: Path) -> Metrics:
    """Values over the epochs of a pretraining; none where its log was deleted."""
    path = run / "metrics.jsonl"
    return {name: curve.values for name, curve in read_metrics(path)[0].items()} if path.is_file() else {}
