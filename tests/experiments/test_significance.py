from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sparsedense.experiments.significance import holm, mean_interval, paired_difference

SHARES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12)
P_VALUES = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.floats(0, 1), min_size=1, max_size=8)


@given(pairs=SHARES, confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_and_the_p_value_are_those_of_the_paired_t_test(
    pairs: list[tuple[float, float]], confidence: float
) -> None:
    treated, control = zip(*pairs, strict=True)
    result = paired_difference(treated, control, confidence)
    assert result["mean"] == pytest.approx(np.mean(np.subtract(treated, control)))
    assert result["n"] == len(pairs)
    if np.ptp(np.subtract(treated, control)) < 1e-6:
        return  # scipy has no interval of equal differences
    test = stats.ttest_rel(treated, control)
    interval = test.confidence_interval(confidence)
    assert (result["low"], result["high"]) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert result["p"] == pytest.approx(test.pvalue, abs=1e-9)
    assert mean_interval(treated)["mean"] == pytest.approx(np.mean(treated))


def test_equal_differences_have_an_interval_of_no_width_and_are_sure() -> None:
    result = paired_difference([0.5, 0.75, 1.0], [0.25, 0.5, 0.75])
    assert result == pytest.approx({"mean": 0.25, "low": 0.25, "high": 0.25, "n": 3, "p": 0.0})
    assert paired_difference([0.5, 0.75], [0.5, 0.75])["p"] == 1.0


def test_exchanging_the_arms_changes_the_sign_only() -> None:
    forwards, backwards = (
        paired_difference(*arms) for arms in pairwise([[0.5, 0.9, 0.7], [0.4, 0.6, 0.8], [0.5, 0.9, 0.7]])
    )
    assert forwards["mean"] == pytest.approx(-backwards["mean"])
    assert forwards["low"] == pytest.approx(-backwards["high"])
    assert forwards["p"] == pytest.approx(backwards["p"])


def test_one_pair_has_no_interval() -> None:
    assert paired_difference([0.75], [0.5]) == {"mean": 0.25, "n": 1}
    assert mean_interval([0.75]) == {"mean": 0.75, "n": 1}


@pytest.mark.parametrize(("treated", "control"), [([], []), ([0.5], [0.5, 0.6])])
def test_arms_of_different_length_are_an_error(treated: list[float], control: list[float]) -> None:
    message = rf"the same number of seeds, got {len(treated)} and {len(control)}"
    with pytest.raises(ValueError, match=message):
        paired_difference(treated, control)


def test_no_value_has_no_mean() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([])


def test_the_example_of_holm() -> None:
    # 4 x 0.005; 3 x 0.01; 2 x 0.03; 0.04 is not smaller than the one before it.
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(found) == ["a", "b", "c", "d"]


@given(p_values=P_VALUES)
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p_values: dict[str, float]) -> None:
    corrected = holm(p_values)
    for name, p in p_values.items():
        assert p <= corrected[name] <= min(1.0, len(p_values) * p)
    ordered = sorted(p_values, key=lambda name: p_values[name])
    assert all(corrected[first] <= corrected[second] for first, second in pairwise(ordered))
