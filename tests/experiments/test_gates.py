"""A gate says pass only where its number was measured and does."""

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.experiments.gates import (
    Gate,
    control_gate,
    difference_gate,
    gradient_gate,
    guess_gate,
    knn_gate,
    linear_gate,
)

LOG = {"loss_alignment": [1.4, 1.0], "gradient_alignment": [0.2, 0.1], "guess_alignment": [1.386, 1.386]}


def status(gate: Gate) -> tuple[str, float | None]:
    assert (gate.advice != "") == (gate.status == "fail")
    assert (gate.value is None) or gate.status != "not measured"
    return gate.status, gate.value


def test_nothing_measured_is_never_a_pass() -> None:
    gates = [
        gradient_gate("a", []), gradient_gate("a", [{}]), gradient_gate("a", [{"loss_speed": [0.7]}]),
        control_gate("a", []), control_gate("a", [{}]), guess_gate("a", []), guess_gate("a", [{"loss_speed": [0.7]}]),
        knn_gate("a", []), linear_gate("a", []), difference_gate("a", None, "3 labels a class"),
    ]  # fmt: skip
    assert {gate.status for gate in gates} == {"not measured"}
    assert all(gate.value is None and gate.finding for gate in gates)


def test_every_objective_needs_a_gradient_in_every_run() -> None:
    speed = {"loss_speed": [0.7, 0.6], "gradient_speed": [0.0, 0.0]}
    assert status(gradient_gate("a", [LOG]))[0] == "pass"
    assert gradient_gate("a", [LOG]).value == pytest.approx(0.15)
    gate = gradient_gate("a", [LOG, LOG | speed])
    assert gate.status == "not measured", "speed has a loss but no gradient in the first run"
    assert "speed" in gate.finding
    gate = gradient_gate("a", [LOG | speed, LOG | speed])
    assert status(gate) == ("fail", 0.0)
    assert "speed" in gate.finding
    assert gradient_gate("a", [LOG | {"gradient_alignment": [0.1, math.nan]}]).status == "fail"


def test_a_dead_gradient_fails_although_another_is_not_measured() -> None:
    dead = LOG | {"gradient_alignment": [0.0], "loss_contrast": [2.0]}
    assert gradient_gate("a", [dead]).status == "fail"


@pytest.mark.parametrize(
    ("controls", "expected"),
    [
        ({"real": 0.70, "frozen": 0.55, "reencoded": 0.65}, "pass"),
        ({"real": 0.69, "frozen": 0.50, "reencoded": 0.69}, "fail"),
        ({"real": 0.90, "frozen": 0.56, "reencoded": 0.90}, "fail"),
        ({"real": 0.90, "frozen": 0.44, "reencoded": 0.90}, "fail"),
        ({"real": 0.90, "frozen": 0.50, "reencoded": 0.84}, "fail"),
        ({"real": 0.90, "frozen": 0.50}, "not measured"),
        ({"real": 0.90, "frozen": 0.60}, "fail"),
        ({"real": 0.46, "frozen": 0.26, "reencoded": 0.45, "chance": 0.25}, "pass"),
    ],
)
def test_controls_at_their_thresholds(controls: Mapping[str, float], expected: str) -> None:
    assert control_gate("a", [controls]).status == expected


def test_controls_are_judged_by_their_mean() -> None:
    runs = [{"real": 0.6, "frozen": 0.4, "reencoded": 0.6}, {"real": 0.9, "frozen": 0.6, "reencoded": 0.9}]
    gate = control_gate("a", runs)
    assert status(gate) == ("pass", 0.75)
    assert gate.finding == "real 75 %, frozen 50 %, re-encoded 75 %"


@pytest.mark.parametrize(("loss", "expected"), [(0.8, "pass"), (0.801, "fail"), (math.nan, "fail"), (0.1, "pass")])
def test_the_loss_is_held_against_guessing(loss: float, expected: str) -> None:
    gate = guess_gate("a", [{"loss_alignment": [9.0, loss], "guess_alignment": [1.0, 1.0]}])
    assert gate.status == expected


def test_the_worst_run_decides_and_alignment_goes_first() -> None:
    good = {"loss_alignment": [0.2], "guess_alignment": [1.0], "loss_contrast": [2.0], "guess_contrast": [2.0]}
    assert status(guess_gate("a", [good, good | {"loss_alignment": [0.9]}])) == ("fail", 0.9)
    assert status(guess_gate("a", [good])) == ("pass", 0.2)
    without = {name: values for name, values in good.items() if "alignment" not in name}
    assert status(guess_gate("a", [without])) == ("fail", 1.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
def test_the_mean_must_be_above_the_untrained_network(probes: Sequence[tuple[float, float]]) -> None:
    model, untrained = (sum(values) / len(probes) for values in zip(*probes, strict=True))
    for gate in (knn_gate("a", probes), linear_gate("a", probes)):
        if abs(model - untrained) > 1e-9:
            assert gate.status == ("pass" if model > untrained else "fail")
    assert knn_gate("a", [(0.2, 0.2)]).status == "fail"
    assert knn_gate("a", [(0.6, 0.2)]).finding == "60 %, untrained 20 %: 3.0 times as often"


def test_the_gain_needs_five_pairs_and_an_interval_above_zero() -> None:
    sure: dict[str, float | int] = {"mean": 0.2, "low": 0.05, "high": 0.35, "n": 5}
    assert status(difference_gate("a", sure, "3 labels a class")) == ("pass", 0.2)
    assert difference_gate("a", sure | {"low": -0.01}, "").status == "fail"
    assert difference_gate("a", sure | {"n": 4}, "").status == "not measured"
    assert difference_gate("a", {"mean": 0.2, "n": 1}, "").status == "not measured"
    assert difference_gate("a", sure, "3 labels a class").finding == (
        "+20.0 points [+5.0 to +35.0] over 5 pairs, 3 labels a class"
    )
