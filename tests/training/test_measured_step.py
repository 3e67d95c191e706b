from typing import Any

import pytest
import torch

from sparsedense.config import Experiment
from sparsedense.training.looped_losses import looped_losses
from sparsedense.training.measured_step import VARIANTS, MeasuredStep, Variant, is_loss_part, synthetic_batch
from sparsedense.training.objectives import Maps
from sparsedense.training.outcomes import outcomes_of
from tests.conftest import tiny_experiment

OBJECTIVES: dict[str, dict[str, Any]] = {
    "paper": {"speed": {"weight": 1.0, "kind": "binary"}, "consistency": {"weight": 1.0, "kind": "jsd"}},
    "cosine": {"speed": {"weight": 0.0}, "consistency": {"weight": 1.0, "kind": "cosine"}},
    "ours": {
        "speed": {"weight": 0.1, "kind": "ranking"},
        "consistency": {"weight": 0.0},
        "alignment": {"weight": 1.0},
        "contrast": {"weight": 1.0},
    },
}


def experiment(kind: str = "ours", **changes: Any) -> Experiment:
    return tiny_experiment(objective=OBJECTIVES[kind], **changes)


@pytest.mark.parametrize("kind", list(OBJECTIVES))
def test_looped_losses_have_the_values_and_gradients_of_the_batched_ones(kind: str) -> None:
    made = experiment(kind)
    module = MeasuredStep(made).module
    batch = synthetic_batch(made.clips, 5)
    results = []
    for looped in (False, True):
        torch.manual_seed(1)
        dense, sparse = (torch.randn(5, module.model.encoder.feature_dim, 2, 2, 2, requires_grad=True) for _ in "ds")
        maps = Maps(dense, sparse, batch, module.model.speed_head)
        if looped:
            losses = looped_losses(maps, made.objective, module.objectives)
        else:
            outcomes = outcomes_of({name: objective(maps) for name, objective in module.objectives.items()})
            losses = {name: outcome.loss for name, outcome in outcomes.items()}
        gradients = [torch.autograd.grad(loss, (dense, sparse), retain_graph=True) for loss in losses.values()]
        results.append((losses, gradients))
    (ours, our_gradients), (theirs, their_gradients) = results
    assert ours.keys() == theirs.keys()
    for name, loss in ours.items():
        torch.testing.assert_close(theirs[name], loss, rtol=1e-4, atol=1e-5)
        assert loss.item() > 1e-4, f"{name} would agree with nothing"
    for one, other in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_loops_refuse_what_they_do_not_know() -> None:
    made = experiment("ours")
    module, batch = MeasuredStep(made).module, synthetic_batch(made.clips, 2)
    maps = Maps(torch.randn(4, 32, 2, 1, 1), torch.randn(2, 32, 2, 1, 1), batch, module.model.speed_head)
    with pytest.raises(ValueError, match="one dense clip a video"):
        looped_losses(maps, made.objective, module.objectives)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_trains_and_all_its_time_has_a_name(variant: Variant) -> None:
    step = MeasuredStep(experiment(), variant)
    encoder = step.module.model.encoder
    before = {name: parameter.detach().clone() for name, parameter in encoder.named_parameters()}
    parts = step.run()
    always = {"data wait", "transfer", "augmentation", "forward", "losses, backward", "backward", "optimiser"}
    assert always <= set(parts)
    assert all(seconds >= 0 for seconds in parts.values())
    losses = {name for name in parts if is_loss_part(name) and not name.endswith("backward")}
    batched = {"loss speed", "loss alignment", "loss contrast"}
    assert losses == ({"losses, forward"} if variant == "reference" else batched)
    assert not [name for name, parameter in encoder.named_parameters() if torch.equal(parameter, before[name])]


@pytest.mark.parametrize("variant", ["ours", "plain"])
def test_losses_that_a_schedule_begins_without_are_measured(variant: Variant) -> None:
    """The paper's begins without the consistency loss, which the reference's loops compute."""
    step = MeasuredStep(experiment("paper", pretrain={"weight_schedule": "paper"}), variant)
    assert {name for name in step.run() if name.startswith("loss ")} == {"loss speed", "loss consistency"}


def test_ours_and_plain_compute_the_same_weights() -> None:
    weights = []
    for variant in ("ours", "plain"):
        step = MeasuredStep(experiment(), variant)
        step.run()
        weights.append({name: value.contiguous() for name, value in step.module.state_dict().items()})
    for name, value in weights[0].items():
        # Adam's first step has the gradient's sign alone, so rounding shows only where the gradient is near 0.
        close = torch.isclose(value.double(), weights[1][name].double(), rtol=1e-3, atol=1e-4)
        assert close.double().mean() > 0.98, name


def test_operations_of_a_step_are_counted() -> None:
    small, large = (MeasuredStep(experiment(pretrain={"batch_size": size})).flop() for size in (2, 4))
    assert small > 1e6
    assert large == pytest.approx(2 * small, rel=0.05)


def test_ceiling_and_memory_are_positive() -> None:
    step = MeasuredStep(experiment())
    assert step.ceiling() > 1e8
    assert step.peak_memory_bytes() > 1e7
    assert step.clips_per_step == 12
