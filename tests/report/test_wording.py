"""Numbers as the page words them."""

import pytest

from sparsedense.report.wording import count, duration, mean_and_spread, percent, short_number, signed_points


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.6, "1 min 0 s"), (75.3, "1 min 15 s"), (7290, "2 h 1 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_percentages() -> None:
    assert percent(0.6134) == "61.3\N{NO-BREAK SPACE}%"
    assert percent(float("nan")) == "n/a"
    assert signed_points(0.0871) == "+8.7"
    assert signed_points(-0.05) == "\N{MINUS SIGN}5.0"
    assert mean_and_spread([0.6, 0.7]) == "65.0 ± 7.1\N{NO-BREAK SPACE}%"
    assert mean_and_spread([0.6]) == percent(0.6)


def test_counts_and_short_numbers() -> None:
    assert [count(1, "seed"), count(3, "seed"), count(2, "class"), count(1200, "video")] == [
        "1 seed", "3 seeds", "2 classes", "1,200 videos",
    ]  # fmt: skip
    assert [short_number(v) for v in (0.69315, 1234.5, float("nan"))] == ["0.693", "1,234", "nan"]
