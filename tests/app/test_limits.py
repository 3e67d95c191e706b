import pytest

from sparsedense.app.limits import Limits, duration_text, size_text


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(512, "512 bytes"), (3_400_000, "3.4 MB"), (2e9, "2 GB"), (12_000, "12 kB")]
)
def test_sizes_in_words(num_bytes: float, text: str) -> None:
    assert size_text(num_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (180, "3 min"), (7200, "2 h"), (9000, "2 h 30 min"), (59.9, "59.9 s")]
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_limits_are_positive() -> None:
    with pytest.raises(ValueError, match=r"kept \(0\) must be above 0"):
        Limits(kept=0)
    assert Limits(duration_seconds=10).frames == 2400
