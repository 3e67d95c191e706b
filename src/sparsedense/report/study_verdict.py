"""The sentence at the top of a study: how the arm that validation chose does on the test videos."""

from sparsedense.report.read_study import Estimate, Study, Summary
from sparsedense.report.verdict import Verdict
from sparsedense.report.wording import count, labels_in_words, signed_points

_SIGNIFICANT = 0.05
_MOMENT_NAMES = {"first_epoch": "after the first supervised epoch", "end": "at the end"}


def study_verdict(study: Study) -> Verdict | None:
    """Judge by the fewest labels at the end of the fine-tuning; None where no pair is finished.

    The chosen arm is the one that is best on the validation videos. Without those, a single arm stands for itself, and
    of several it is only counted how many are better than the baseline, p-values corrected for asking several times.
    """
    judged = {labels: _differences(study, labels, "end") for labels, _ in study.labels}
    fewest = next((labels for labels, found in judged.items() if found), None)
    found = judged.get(fewest, [])
    if not found:
        return None
    chosen = _chosen(study, fewest, found)
    tone, headline = _counted(study, found, fewest) if chosen is None else _judged(study, chosen, fewest)
    details = [] if chosen is None else _details(study, chosen.arm)
    return Verdict(tone, headline, [*details, *_gate_line(study, chosen)])


def _differences(study: Study, labels: int | None, moment: str) -> list[Summary]:
    of_labels = [s for s in study.summaries if (s.labels_per_class, s.moment) == (labels, moment)]
    return [summary for summary in of_labels if summary.difference is not None]


def _chosen(study: Study, labels: int | None, found: list[Summary]) -> Summary | None:
    best = study.best_on_validation(labels)
    if best is not None:
        return best
    return found[0] if len(found) == 1 else None


def _judged(study: Study, chosen: Summary, labels: int | None) -> tuple[str, str]:
    given = f"with {labels_in_words(labels)}"
    if chosen.difference is None:
        return "worse", f"No arm helps {given}: on the validation videos none is better than {study.baseline}."
    difference = chosen.difference
    gain = f"{signed_points(difference.mean)} points of accuracy over {study.baseline}"
    if difference.low is None or difference.high is None:
        return "open", f"Too few pairs to tell: {chosen.arm} has {gain} {given} in a single pair of runs."
    bounds = f"[95 % CI {_bounds(difference)}] {given} over {count(difference.pairs, 'pair')}"
    if difference.low > 0:
        return "better", f"{chosen.arm} helps: {gain} {bounds}."
    if difference.high < 0:
        return "worse", f"{chosen.arm} hurts: {gain} {bounds}."
    return "open", f"Not shown to help: {chosen.arm} has {gain} {bounds}, which includes zero."


def _counted(study: Study, found: list[Summary], labels: int | None) -> tuple[str, str]:
    known = [s.difference for s in found if s.difference is not None and s.difference.p_holm is not None]
    sure = [difference for difference in known if (difference.p_holm or 0.0) < _SIGNIFICANT]
    better = sum(difference.mean > 0 for difference in sure)
    worse = len(sure) - better
    given = f"with {labels_in_words(labels)}, corrected for {count(len(found), 'comparison')}"
    if not known:
        return "open", f"Too few pairs to tell {given}."
    also = f", {worse} worse" if worse else ""
    tone = "better" if better else "worse" if worse else "open"
    return (
        tone,
        f"{better} of {len(found)} arms better than {study.baseline}{also} {given}; no validation chose among them.",
    )


def _details(study: Study, arm: str) -> list[str]:
    lines = []
    for labels, _ in study.labels:
        parts = []
        for moment, name in _MOMENT_NAMES.items():
            summary = study.summary(arm, labels, moment)
            if summary is not None and summary.difference is not None:
                bounds = f" [{_bounds(summary.difference)}]" if summary.difference.low is not None else ""
                parts.append(f"{signed_points(summary.difference.mean)} points{bounds} {name}")
        if parts:
            lines.append(f"{labels_in_words(labels)}: {', '.join(parts)}")
    return lines


def _gate_line(study: Study, chosen: Summary | None) -> list[str]:
    gates = [gate for gate in study.gates if chosen is not None and gate.arm == chosen.arm]
    if not gates:
        return []
    counts = {status: sum(gate.status == status for gate in gates) for status in ("pass", "fail", "not measured")}
    words = [f"{counts['pass']} of {len(gates)} gates passed"]
    words += [
        f"{number} {name}"
        for name, number in (("failed", counts["fail"]), ("not measured", counts["not measured"]))
        if number
    ]
    return [", ".join(words)]


def _bounds(estimate: Estimate) -> str:
    assert estimate.low is not None
    assert estimate.high is not None
    return f"{signed_points(estimate.low)} to {signed_points(estimate.high)}"
