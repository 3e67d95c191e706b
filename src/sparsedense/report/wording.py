"""Numbers and names as the page words them."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

_ARM_NAMES = {
    "scratch": "random weights",
    "pretrained": "pretrained weights",
    "random": "PyTorch's default weights",
    "untrained": "random weights",
}


def percent(fraction: float, *, digits: int = 1) -> str:
    """0.6134 -> '61.3 %'; a number that is not finite -> 'n/a'."""
    return f"{100 * fraction:.{digits}f}\N{NO-BREAK SPACE}%" if math.isfinite(fraction) else "n/a"


def signed_points(fraction: float) -> str:
    """0.0871 -> '+8.7': a difference of two percentages, in percentage points."""
    points = round(100 * fraction, 1) + 0.0  # no minus sign before a zero
    return f"{points:+.1f}".replace("-", "\N{MINUS SIGN}")


def mean_and_spread(fractions: Sequence[float]) -> str:
    """[0.6, 0.7] -> '65.0 ± 7.1 %' (sample standard deviation); one value stands without spread."""
    if len(fractions) < 2:
        return percent(fractions[0])
    mean, spread = 100 * fmean(fractions), 100 * stdev(fractions)
    return f"{mean:.1f} ± {spread:.1f}\N{NO-BREAK SPACE}%"


def duration(seconds: float) -> str:
    """75.3 -> '1 min 15 s'; below 10 s with one decimal."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def short_number(value: float) -> str:
    """A number with at most three significant digits behind the point: 0.69315 -> '0.693', 1234.5 -> '1,234'."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def count(number: int, noun: str) -> str:
    """(1, 'seed') -> '1 seed'; (3, 'seed') -> '3 seeds'; (2, 'class') -> '2 classes'."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def labels_in_words(labels_per_class: int | None) -> str:
    """3 -> '3 labels a class'; None -> 'all labels'."""
    return "all labels" if labels_per_class is None else f"{count(labels_per_class, 'label')} a class"


def p_value(p: float) -> str:
    """0.0312 -> '0.031'; 0.00004 -> '< 0.0001'."""
    if p < 0.0001:
        return "< 0.0001"
    return f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def arm_name(arm: str) -> str:
    """'scratch' -> 'random weights'; an unknown arm keeps its name."""
    return _ARM_NAMES.get(arm, arm)


def key_name(key: str) -> str:
    """'loss_speed' -> 'loss speed'."""
    return key.replace("_", " ")
