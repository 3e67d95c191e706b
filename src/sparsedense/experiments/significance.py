"""Means with intervals, paired differences with p-values, and Holm's correction: what few runs do and do not show."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> dict[str, float | int]:
    """Mean with its confidence interval by Student's t.

    Returns:
        `mean`, `low`, `high` and the number of values `n`; without an interval where there are fewer than two values.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return {"mean": mean, "n": count}
    reach = float(stats.t.ppf((1 + confidence) / 2, df=count - 1)) * _standard_error(values)
    return {"mean": mean, "low": mean - reach, "high": mean + reach, "n": count}


def paired_difference(
    treated: Sequence[float], control: Sequence[float], confidence: float = 0.95
) -> dict[str, float | int]:
    """Mean of the paired differences with its confidence interval and p-value by the paired t-test.

    Returns:
        `mean`, `low`, `high`, the two-sided `p` and the number of pairs `n`; without an interval and a p-value where
        there are fewer than two pairs.

    Raises:
        ValueError: the arms have different numbers of seeds, or none.
    """
    if len(treated) != len(control) or not treated:
        raise ValueError(f"paired arms need the same number of seeds, got {len(treated)} and {len(control)}")
    differences: list[float] = np.subtract(treated, control).tolist()
    result = mean_interval(differences, confidence)
    if len(differences) < 2:
        return result
    error = _standard_error(differences)
    if error == 0:  # every pair differs by the same: no chance at all, or nothing
        return result | {"p": 0.0 if result["mean"] else 1.0}
    return result | {"p": float(2 * stats.t.sf(abs(result["mean"]) / error, df=len(differences) - 1))}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values corrected for asking several questions at once, so that one false alarm among all stays as rare as said.

    The smallest is multiplied by the number of questions m, the next by m - 1, ...; none gets smaller than the one
    before it, none larger than 1.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics, 1979.
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) / float(np.sqrt(len(values)))
