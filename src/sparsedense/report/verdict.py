"""The sentence at the top of a comparison, computed from its numbers."""

from dataclasses import dataclass
from statistics import fmean

from sparsedense.report.read_comparison import Comparison, Difference
from sparsedense.report.wording import count, signed_points

_MOMENTS = {"accuracy": "at the end", "accuracy_first_epoch": "after the first supervised epoch"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison shows: `tone` is 'better', 'worse' or 'open'."""

    tone: str
    headline: str
    details: list[str]


def verdict(comparison: Comparison) -> Verdict | None:
    """Judge pretrained against random weights by the accuracy at the end; None where an arm is absent.

    Better (worse) is said only where the 95 % confidence interval of the paired difference lies above (below) zero.
    Without interval the means stand alone and nothing is claimed.
    """
    pairs = {metric: _paired_differences(comparison, metric) for metric in _MOMENTS}
    if not pairs["accuracy"]:
        return None
    num_seeds = len(pairs["accuracy"])
    interval = comparison.differences.get("accuracy")
    tone, headline = _judge(fmean(pairs["accuracy"]), interval, num_seeds)
    details = [
        _detail(metric, differences, comparison.differences.get(metric))
        for metric, differences in pairs.items()
        if differences
    ]
    return Verdict(tone, headline, details)


def _judge(mean: float, interval: Difference | None, num_seeds: int) -> tuple[str, str]:
    gain = f"{signed_points(interval.mean if interval else mean)} points of accuracy"
    if num_seeds < 2:
        return "open", f"Too few seeds to tell: {gain} with pretrained weights in a single pair of runs."
    over = f"over {num_seeds} paired seeds"
    if interval is None:
        return "open", f"{gain} with pretrained weights on average {over}; no confidence interval was computed."
    bounds = f"[95 % CI {signed_points(interval.low)} to {signed_points(interval.high)}] {over}"
    if interval.low > 0:
        return "better", f"Pretraining without labels helps: {gain} {bounds}."
    if interval.high < 0:
        return "worse", f"Pretraining without labels hurts here: {gain} {bounds}."
    return "open", f"Not shown to be better: {gain} with pretrained weights {bounds}, which includes zero."


def _detail(metric: str, differences: list[float], interval: Difference | None) -> str:
    wins = sum(difference > 0 for difference in differences)
    bounds = f" [{signed_points(interval.low)} to {signed_points(interval.high)}]" if interval else ""
    mean = signed_points(interval.mean if interval else fmean(differences))
    return f"{_MOMENTS[metric]}: {mean} points{bounds}, pretrained ahead in {wins} of {count(len(differences), 'seed')}"


def _paired_differences(comparison: Comparison, metric: str) -> list[float]:
    scratch, pretrained = comparison.arm("scratch"), comparison.arm("pretrained")
    if scratch is None or pretrained is None or metric not in scratch.scores or metric not in pretrained.scores:
        return []
    return [p - s for s, p in zip(scratch.scores[metric], pretrained.scores[metric], strict=True)]
