import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.config import PhaseConfig
from sparsedense.losses.schedule import curriculum_weights, learning_rate
from sparsedense.objectives_config import AlignmentConfig, ConsistencyConfig, ObjectiveConfig, SpeedConfig
from sparsedense.training.plan import NEGLIGIBLE_WEIGHT, Phase, TrainingPlan


def plan(phase: Phase, *, epochs: int, speed: float = 1.0, consistency: float = 1.0, **changes: object) -> TrainingPlan:
    config = PhaseConfig(epochs=epochs, **changes)  # type: ignore[arg-type]
    objective = ObjectiveConfig(speed=SpeedConfig(weight=speed), consistency=ConsistencyConfig(weight=consistency))
    return TrainingPlan(phase, config, objective)


def weights_of(made: TrainingPlan, epoch: int) -> tuple[float, float, float]:
    weights = made.weights(epoch)
    return weights["speed"], weights["consistency"], weights["classification"]


@pytest.mark.parametrize(
    ("epoch", "speed", "consistency", "classification"),
    [
        (0, 1.0, 0.0, 0.0),
        (17, 1.0, math.exp(-25 * (1 - 17 / 25) ** 2), 0.0),
        (24, math.exp(-20 * 0.3**2), math.exp(-25 * 0.04**2), 0.0),
        (49, 0.0, 1.0, 0.0),  # exp(-20 * 0.65 ** 2) = 0.0002 is negligible
        (50, 0.0, 1.0, 0.0),
        (51, 0.0, math.exp(-90 * (1 / 51) ** 2), 1.0),
        (100, 0.0, 0.0, 1.0),
        (149, 0.0, 0.0, 1.0),
    ],
)
def test_the_papers_curriculum(epoch: int, speed: float, consistency: float, classification: float) -> None:
    weights = weights_of(plan(Phase.TRAIN, epochs=150), epoch)
    assert weights == pytest.approx((speed, consistency, classification), abs=1e-12)


@pytest.mark.parametrize("epochs", [6, 36, 150])
def test_weights_are_the_schedules_above_the_negligible(epochs: int) -> None:
    for epoch in range(epochs):
        weights = weights_of(plan(Phase.TRAIN, epochs=epochs), epoch)
        for weight, scheduled in zip(weights, curriculum_weights(epoch, epochs), strict=True):
            assert weight == (scheduled if scheduled >= NEGLIGIBLE_WEIGHT else 0.0)


def test_pretraining_is_the_first_third_and_finetuning_the_rest() -> None:
    whole, first = plan(Phase.TRAIN, epochs=150), plan(Phase.PRETRAIN, epochs=50)
    rest = plan(Phase.FINETUNE, epochs=100)
    for epoch in range(50):
        assert first.weights(epoch) == whole.weights(epoch)
        assert first.rate(epoch) == whole.rate(epoch)
    for epoch in range(100):
        assert weights_of(rest, epoch) == (0.0, 0.0, 1.0)
        assert rest.rate(epoch) == whole.rate(50 + epoch)


def test_constant_weights_are_for_pretraining() -> None:
    pretraining = plan(Phase.PRETRAIN, epochs=9, weight_schedule="constant", speed=0.5)
    assert {weights_of(pretraining, epoch) for epoch in range(9)} == {(0.5, 1.0, 0.0)}
    whole = plan(Phase.TRAIN, epochs=9, weight_schedule="constant")
    assert [whole.weights(epoch)["classification"] for epoch in range(9)] == [0.0] * 4 + [1.0] * 5


def test_the_objectives_factors_multiply_the_weights() -> None:
    halved, full = plan(Phase.TRAIN, epochs=150, speed=0.5, consistency=2.0), plan(Phase.TRAIN, epochs=150)
    for epoch in (0, 20, 24, 49, 60):
        assert halved.weights(epoch)["speed"] == pytest.approx(0.5 * full.weights(epoch)["speed"])
        assert halved.weights(epoch)["consistency"] == pytest.approx(2 * full.weights(epoch)["consistency"])
        assert halved.weights(epoch)["classification"] == full.weights(epoch)["classification"]


@given(
    epochs=st.integers(1, 200),
    phase=st.sampled_from(list(Phase)),
    factors=st.sampled_from([(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)]),
    weight_schedule=st.sampled_from(["paper", "constant"]),
)
def test_every_epoch_has_something_to_minimise(
    epochs: int, phase: Phase, factors: tuple[float, float], weight_schedule: str
) -> None:
    speed, consistency = factors
    made = plan(phase, epochs=epochs, speed=speed, consistency=consistency, weight_schedule=weight_schedule)
    for epoch in range(epochs):
        weights = made.weights(epoch)
        assert max(weights.values()) >= 0.2
        assert all(weight <= 1 for weight in weights.values())
        assert speed > 0 or weights["speed"] == 0
        assert consistency > 0 or weights["consistency"] == 0


def test_pretraining_for_nothing_is_an_error() -> None:
    for phase in (Phase.PRETRAIN, Phase.TRAIN):
        with pytest.raises(ValueError, match=r"objective\.\*\.weight is 0 for all of speed, consistency"):
            plan(phase, epochs=6, speed=0, consistency=0)
    plan(Phase.FINETUNE, epochs=6, speed=0, consistency=0)


@given(epochs=st.integers(1, 400))
def test_unlabelled_videos_are_drawn_in_the_first_third_only(epochs: int) -> None:
    whole = plan(Phase.TRAIN, epochs=epochs)
    assert [whole.draws_labelled_only(epoch) for epoch in range(epochs)] == [
        epoch >= epochs / 3 for epoch in range(epochs)
    ]
    assert not any(plan(Phase.PRETRAIN, epochs=epochs).draws_labelled_only(epoch) for epoch in range(epochs))
    assert all(plan(Phase.FINETUNE, epochs=epochs).draws_labelled_only(epoch) for epoch in range(epochs))


@given(epochs=st.integers(1, 300), phase=st.sampled_from(list(Phase)))
def test_rates_stay_between_floor_and_base(epochs: int, phase: Phase) -> None:
    for schedule in ("paper", "cosine", "constant"):
        made = plan(phase, epochs=epochs, rate_schedule=schedule, learning_rate=0.01, learning_rate_floor=0.002)
        rates = [made.rate(epoch) for epoch in range(epochs)]
        assert min(rates) >= 0.002 - 1e-12
        assert max(rates) <= 0.01 + 1e-12
        if schedule == "constant":
            assert set(rates) == {0.01}


def test_rates_of_the_schedules() -> None:
    paper = plan(Phase.TRAIN, epochs=150)
    assert [paper.rate(epoch) for epoch in range(150)] == [learning_rate(epoch, 150) for epoch in range(150)]
    cosine = plan(Phase.PRETRAIN, epochs=5, rate_schedule="cosine", learning_rate=1.0, learning_rate_floor=0.0)
    by_hand = [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]
    assert [cosine.rate(epoch) for epoch in range(5)] == pytest.approx(by_hand, abs=1e-12)
    assert plan(Phase.PRETRAIN, epochs=1, rate_schedule="cosine", learning_rate=0.5).rate(0) == 0.5


def test_a_small_factor_is_not_dropped() -> None:
    assert plan(Phase.PRETRAIN, epochs=3, speed=1e-4, weight_schedule="constant").weights(0)["speed"] == 1e-4


def test_both_views_are_needed_until_only_classes_are_learnt() -> None:
    curriculum = plan(Phase.TRAIN, epochs=150)
    assert [curriculum.needs_pair(epoch) for epoch in (0, 50, 149)] == [True, True, False]
    assert not plan(Phase.FINETUNE, epochs=3).needs_pair(0)


def test_other_objectives_share_the_weight_of_consistency() -> None:
    objective = ObjectiveConfig(alignment=AlignmentConfig(weight=0.5))
    made = TrainingPlan(Phase.TRAIN, PhaseConfig(epochs=150), objective)
    for epoch in (0, 10, 20, 40, 60, 149):
        weights = made.weights(epoch)
        assert weights["alignment"] == 0.5 * weights["consistency"]
        assert weights["contrast"] == weights["generator"] == 0


def test_alignment_alone_does_not_wait_for_speed() -> None:
    objective = ObjectiveConfig(SpeedConfig(weight=0), ConsistencyConfig(weight=0), AlignmentConfig(weight=2.0))
    made = TrainingPlan(Phase.PRETRAIN, PhaseConfig(epochs=9), objective)
    assert {made.weights(epoch)["alignment"] for epoch in range(9)} == {2.0}


def test_a_negative_weight_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        plan(Phase.PRETRAIN, epochs=2, speed=-1.0)
