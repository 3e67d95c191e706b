"""The verdict says no more than the numbers do."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sparsedense.report.read_comparison import Arm, Comparison, Difference
from sparsedense.report.verdict import Verdict, verdict


def judge(scratch: list[float], pretrained: list[float], interval: Difference | None = None) -> Verdict | None:
    arms = [Arm("scratch", {"accuracy": scratch}, []), Arm("pretrained", {"accuracy": pretrained}, [])]
    differences = {} if interval is None else {"accuracy": interval}
    return verdict(
        Comparison(
            folder=Path("demo"), arms=arms, seeds=[], differences=differences, knn={}, seconds={}, controls={},
            labels_per_class=None, test_videos=None, command="", environment={}, pretrain=None, views_picture=None,
            contact_sheet_picture=None,
        )
    )  # fmt: skip


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_better_only_above_and_worse_only_below_zero(first: float, second: float) -> None:
    low, high = sorted((first, second))
    found = judge([0.4, 0.4], [0.5, 0.5], Difference(mean=(low + high) / 2, low=low, high=high))
    assert found is not None
    assert found.tone == ("better" if low > 0 else "worse" if high < 0 else "open")
    assert ("helps" in found.headline) == (low > 0)
    assert ("hurts" in found.headline) == (high < 0)


def test_an_interval_is_quoted() -> None:
    found = judge([0.40, 0.42, 0.41], [0.50, 0.51, 0.52], Difference(0.1, 0.0711, 0.1289))
    assert found is not None
    assert "+10.0 points of accuracy [95 % CI +7.1 to +12.9] over 3 paired seeds" in found.headline
    assert found.details == ["at the end: +10.0 points [+7.1 to +12.9], pretrained ahead in 3 of 3 seeds"]


def test_nothing_is_claimed_without_an_interval() -> None:
    found = judge([0.4, 0.4, 0.6], [0.9, 0.8, 0.5])
    assert found is not None
    assert found.tone == "open"
    assert "+26.7 points" in found.headline
    assert "no confidence interval" in found.headline
    assert "ahead in 2 of 3 seeds" in found.details[0]


def test_one_seed_is_too_few_even_with_an_interval() -> None:
    found = judge([0.1], [0.9], Difference(0.8, 0.7, 0.9))
    assert found is not None
    assert found.tone == "open"
    assert found.headline.startswith("Too few seeds to tell: +80.0 points")


def test_no_verdict_without_both_arms() -> None:
    assert judge([], []) is None
