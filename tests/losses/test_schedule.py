import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.losses.schedule import (
    CurriculumWeights,
    curriculum_weights,
    draws_unlabelled,
    learning_rate,
    self_supervised_weight,
    semi_supervised_weight,
    supervised_weight,
)

EPOCHS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n)))

LAW = settings(deadline=None, max_examples=50)  # the first call of an operator may take a second


def test_all_150_epochs_follow_the_papers_formulas() -> None:
    a, b, c = 25.0, 50.0, 17.5  # E / 6, E / 3, 0.7 a
    for e in range(150):
        w_self = 1.0 if e < c else math.e ** (-20 * (1 - c / (e + 1)) ** 2)
        if e <= a:
            w_semi = math.e ** (-25 * (1 - e / a) ** 2)
        elif e < b:
            w_semi = 1.0
        else:
            w_semi = math.e ** (-90 * (1 - b / e) ** 2)
        w_sup = 0.0 if e <= b else 1.0
        assert curriculum_weights(e, 150) == pytest.approx((w_self, w_semi, w_sup), abs=1e-12), e
        if e < 50:
            rate = 1e-3 + (1e-4 - 1e-3) * e / 49
        elif e < 75:
            rate = 1e-3
        else:
            rate = 1e-3 + (1e-4 - 1e-3) * (e - 75) / 74
        assert learning_rate(e, 150) == pytest.approx(rate, abs=1e-15), e
        assert draws_unlabelled(e, 150) == (e < 50)


@pytest.mark.parametrize(
    ("epoch", "speed", "consistency", "classification"),  # worked out by hand
    [
        (0, 1.0, 1.39e-11, 0.0),
        (12, 1.0, 0.00116, 0.0),
        (17, 1.0, 0.0773, 0.0),
        (20, 0.5738, 0.3679, 0.0),
        (25, 0.1181, 1.0, 0.0),
        (34, 0.00674, 1.0, 0.0),
        (49, 0.000214, 1.0, 0.0),
        (50, 0.000178, 1.0, 0.0),
        (51, 0.000149, 0.966, 1.0),
        (60, 3.0e-5, 0.0821, 1.0),
        (68, 1.46e-5, 0.00183, 1.0),
        (149, 0.0, 0.0, 1.0),
    ],
)
def test_values_read_off_figure_5(epoch: int, speed: float, consistency: float, classification: float) -> None:
    expected = CurriculumWeights(speed, consistency, classification)
    assert curriculum_weights(epoch, 150) == pytest.approx(expected, rel=0.02, abs=1e-5)


@pytest.mark.parametrize(("epoch", "rate"), [(0, 1e-3), (49, 1e-4), (50, 1e-3), (74, 1e-3), (75, 1e-3), (149, 1e-4)])
def test_learning_rate_at_the_ends_of_its_phases(epoch: int, rate: float) -> None:
    assert learning_rate(epoch, 150) == pytest.approx(rate, rel=1e-12)


@LAW
@given(EPOCHS)
def test_weights_are_shares_whatever_the_number_of_epochs(epochs: tuple[int, int]) -> None:
    assert all(0.0 <= weight <= 1.0 for weight in curriculum_weights(*epochs))
    assert 1e-4 * (1 - 1e-12) <= learning_rate(*epochs) <= 1e-3 * (1 + 1e-12)


@LAW
@given(EPOCHS)
def test_speed_never_rises_and_classification_never_falls(epochs: tuple[int, int]) -> None:
    epoch, num_epochs = epochs
    if epoch > 0:
        assert self_supervised_weight(epoch, num_epochs) <= self_supervised_weight(epoch - 1, num_epochs)
        assert supervised_weight(epoch, num_epochs) >= supervised_weight(epoch - 1, num_epochs)
        rising = epoch <= num_epochs / 6
        before, now = (semi_supervised_weight(e, num_epochs) for e in (epoch - 1, epoch))
        assert now >= before if rising else now <= before or epoch - 1 < num_epochs / 6


@LAW
@given(st.integers(0, 149), st.integers(1, 5))
def test_weights_depend_on_the_share_of_the_curriculum(epoch: int, factor: int) -> None:
    scaled = semi_supervised_weight(epoch * factor, 150 * factor)
    assert scaled == pytest.approx(semi_supervised_weight(epoch, 150), abs=1e-9)
    assert supervised_weight(epoch * factor, 150 * factor) == supervised_weight(epoch, 150)
    assert draws_unlabelled(epoch * factor, 150 * factor) == draws_unlabelled(epoch, 150)


@LAW
@given(st.integers(3, 400))
def test_learning_rate_falls_twice(num_epochs: int) -> None:
    rates = [learning_rate(epoch, num_epochs, 0.1, 0.02) for epoch in range(num_epochs)]
    rises = [epoch for epoch in range(1, num_epochs) if rates[epoch] > rates[epoch - 1] + 1e-12]
    assert rates[0] == pytest.approx(0.1)
    assert all(epoch in (math.ceil(num_epochs / 3), math.ceil(num_epochs / 2)) for epoch in rises)
    assert num_epochs < 4 or rates[-1] == pytest.approx(0.02)


@pytest.mark.parametrize(("epoch", "num_epochs"), [(-1, 10), (10, 10), (0, 0)])
def test_epochs_outside_are_named(epoch: int, num_epochs: int) -> None:
    for function in (curriculum_weights, learning_rate, draws_unlabelled):
        with pytest.raises(ValueError, match=rf"epoch \({epoch}\) .* num_epochs \({num_epochs}\)"):
            function(epoch, num_epochs)


def test_a_floor_above_the_base_is_named() -> None:
    with pytest.raises(ValueError, match=r"floor \(0.2\) must be at least 0 and at most base \(0.1\)"):
        learning_rate(0, 10, 0.1, 0.2)
