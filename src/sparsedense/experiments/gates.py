"""Six gates that an arm passes, fails or was not measured by; what is not measured is never a pass.

Pure functions from numbers to a verdict, each with its number, its threshold and what to try.
The worst run decides where a training can go wrong by itself (1, 3), the mean over the runs where something is measured
(2, 4, 5), the interval over the pairs where arms are compared (6).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

Status = Literal["pass", "fail", "not measured"]
Metrics = Mapping[str, Sequence[float]]  # values over the epochs by name, as in metrics.jsonl

CHANCE = 0.5  # of telling a sparse from a dense clip
ABOVE_CHANCE = 0.2
CONTROL_TOLERANCE = 0.05
SHARE_OF_GUESSING = 0.8
FEWEST_PAIRS = 5
# The first of these that has a loss of guessing is judged: what tells best that something about time was learnt.
GUESSED_OBJECTIVES = ("alignment", "consistency", "contrast", "generator")
_ROUNDING = 1e-9  # 0.55 - 0.5 is a little more than 0.05

NAMES = {
    1: "every loss reaches the encoder",
    2: "speed is told by motion",
    3: "the pretext beats guessing",
    4: "nearest neighbours beat untrained weights",
    5: "a linear probe beats untrained weights",
    6: "fine-tuning beats the baseline",
}
_ADVICE = {
    1: "look for a detached tensor or a loss weight of 0 on the way from this loss to the encoder",
    2: "look for what gives the speed away without motion: codec artefacts, padding, separate batches of the two views",
    3: "pretrain longer, raise the learning rate or the temperature, or look at effective_rank for collapse",
    4: "pretrain longer, add alignment and instance contrast, or check that the augmentation keeps what tells classes",
    5: "pretrain longer, use a larger network, or look at effective_rank: few directions separate few classes",
    6: "pretrain longer or on more videos; where the interval is wide, run more seeds",
}


@dataclass(frozen=True)
class Gate:
    """One gate of one arm.

    Attributes:
        number: 1 to 6.
        name: what it asks.
        arm: of which arm.
        status: `pass`, `fail` or `not measured`.
        value: the number that decided, None where there is none.
        threshold: what it had to be.
        finding: the number in words, or why it is not measured.
        advice: what to try where it is no pass, else empty.
    """

    number: int
    name: str
    arm: str
    status: Status
    value: float | None
    threshold: str
    finding: str
    advice: str


def gradient_gate(arm: str, runs: Sequence[Metrics]) -> Gate:
    """Gate 1: the gradient of every objective alone reaches the encoder in every pretraining run."""
    threshold = "above 0 for every objective"
    if not runs:
        return _unmeasured(1, arm, threshold, "the arm has no pretraining in this study")
    objectives = sorted({_ending(name, "loss_") for run in runs for name in run} - {""})
    means = {
        objective: min(fmean(run.get(f"gradient_{objective}") or [math.nan]) for run in runs)
        for objective in objectives
        if all(run.get(f"gradient_{objective}") for run in runs)
    }
    missing = [objective for objective in objectives if objective not in means]
    if not means:
        return _unmeasured(1, arm, threshold, "no gradient_<objective> in metrics.jsonl")
    worst = min(means, key=lambda objective: means[objective] if math.isfinite(means[objective]) else -math.inf)
    value = means[worst]
    finding = f"smallest: {worst}, {value:.3g}"
    if not (math.isfinite(value) and value > 0):
        return _judged(1, arm, False, value, threshold, finding)
    if missing:
        return _unmeasured(1, arm, threshold, f"not measured for {', '.join(missing)}; {finding}")
    return _judged(1, arm, True, value, threshold, finding)


def control_gate(arm: str, controls: Sequence[Mapping[str, float | None]]) -> Gate:
    """Gate 2: speed is told on real clips, not on frozen ones, and as well after another codec."""
    chance = next((float(c["chance"]) for c in controls if c.get("chance") is not None), CHANCE)  # type: ignore[arg-type]
    threshold = (
        f"real at least {_percent(chance + ABOVE_CHANCE)}, frozen {_percent(chance)} ± 5 points, "
        f"re-encoded within 5 points of real"
    )
    means = {name: _mean(controls, name) for name in ("real", "frozen", "reencoded")}
    real, frozen, reencoded = means.values()
    if real is None:
        return _unmeasured(2, arm, threshold, "no speed head, or the controls were not run")
    finding = ", ".join(f"{name} {_percent(value)}" for name, value in means.items() if value is not None)
    finding = finding.replace("reencoded", "re-encoded")
    checks = [real >= chance + ABOVE_CHANCE - _ROUNDING]
    checks += [] if frozen is None else [abs(frozen - chance) <= CONTROL_TOLERANCE + _ROUNDING]
    checks += [] if reencoded is None else [abs(reencoded - real) <= CONTROL_TOLERANCE + _ROUNDING]
    if all(checks) and len(checks) < len(means):
        return _unmeasured(2, arm, threshold, f"{finding}; the other controls were not run")
    return _judged(2, arm, all(checks), real, threshold, finding)


def guess_gate(arm: str, runs: Sequence[Metrics]) -> Gate:
    """Gate 3: at the end of every pretraining run the loss is at most 0.8 of that of guessing."""
    threshold = f"loss at most {SHARE_OF_GUESSING} of guessing"
    if not runs:
        return _unmeasured(3, arm, threshold, "the arm has no pretraining in this study")
    for objective in GUESSED_OBJECTIVES:
        pairs = [(run.get(f"loss_{objective}"), run.get(f"guess_{objective}")) for run in runs]
        found = [(loss[-1], guess[-1]) for loss, guess in pairs if loss and guess and guess[-1] > 0]
        if len(found) == len(runs):
            loss, guess = max(found, key=lambda pair: pair[0] / pair[1] if math.isfinite(pair[0]) else math.inf)
            share = loss / guess
            passed = math.isfinite(share) and share <= SHARE_OF_GUESSING + _ROUNDING
            finding = f"{objective} loss {loss:.3g}, guessing {guess:.3g}: {share:.2f} of it"
            return _judged(3, arm, passed, share, threshold, finding)
    return _unmeasured(3, arm, threshold, "no objective of the arm has a loss of guessing")


def knn_gate(arm: str, probes: Sequence[tuple[float, float]]) -> Gate:
    """Gate 4: the nearest labelled video tells the class more often than with an untrained network of the same shape.

    Args:
        arm: name of the arm.
        probes: accuracy of the model and of the untrained network, one pair a run.
    """
    return _beats_untrained(4, arm, probes)


def linear_gate(arm: str, probes: Sequence[tuple[float, float]]) -> Gate:
    """Gate 5: the same for a linear classifier on frozen features."""
    return _beats_untrained(5, arm, probes)


def difference_gate(arm: str, difference: Mapping[str, float | int] | None, labels: str) -> Gate:
    """Gate 6: with the fewest labels the arm's gain over the baseline lies above 0 with its whole interval.

    Args:
        arm: name of the arm.
        difference: `mean`, `low`, `high` and the number of pairs `n`, as `paired_difference` gives them.
        labels: the number of labels in words.
    """
    threshold = f"95 % interval above 0 over at least {FEWEST_PAIRS} pairs"
    if difference is None:
        return _unmeasured(6, arm, threshold, "no finished pair of runs")
    pairs, mean = int(difference["n"]), float(difference["mean"])
    bounds = f" [{_points(difference['low'])} to {_points(difference['high'])}]" if "low" in difference else ""
    finding = f"{_points(mean)} points{bounds} over {pairs} {'pair' if pairs == 1 else 'pairs'}, {labels}"
    if pairs < FEWEST_PAIRS:
        return _unmeasured(6, arm, threshold, f"{finding}; too few pairs")
    return _judged(6, arm, float(difference["low"]) > 0, mean, threshold, finding)


def _beats_untrained(number: int, arm: str, probes: Sequence[tuple[float, float]]) -> Gate:
    threshold = "above the untrained network"
    if not probes:
        return _unmeasured(number, arm, threshold, "no probe of a pretrained encoder")
    model, untrained = fmean(pair[0] for pair in probes), fmean(pair[1] for pair in probes)
    ratio = f"{model / untrained:.1f} times as often" if untrained > 0 else "never right"
    finding = f"{_percent(model)}, untrained {_percent(untrained)}: {ratio}"
    return _judged(number, arm, model > untrained, model, threshold, finding)


def _judged(number: int, arm: str, passed: bool, value: float, threshold: str, finding: str) -> Gate:
    status: Status = "pass" if passed else "fail"
    shown = value if math.isfinite(value) else None
    return Gate(number, NAMES[number], arm, status, shown, threshold, finding, "" if passed else _ADVICE[number])


def _unmeasured(number: int, arm: str, threshold: str, why: str) -> Gate:
    return Gate(number, NAMES[number], arm, "not measured", None, threshold, why, "")


def _mean(controls: Sequence[Mapping[str, float | None]], name: str) -> float | None:
    values = [float(value) for control in controls if (value := control.get(name)) is not None]
    return fmean(values) if values else None


def _ending(name: str, prefix: str) -> str:
    return name.removeprefix(prefix) if name.startswith(prefix) else ""


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %".replace(".0 %", " %")


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.1f}"
