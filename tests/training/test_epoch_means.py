import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.training.epoch_means import EpochMeans

STEPS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("abc"), st.floats(-1e6, 1e6, width=32), min_size=1), st.integers(1, 64)),
    min_size=1,
    max_size=12,
)


@given(steps=STEPS, data=st.data())
def test_an_epoch_in_two_parts_has_the_means_of_one(
    steps: list[tuple[dict[str, float], int]], data: st.DataObject
) -> None:
    whole, first, second = EpochMeans(), EpochMeans(), EpochMeans()
    cut = data.draw(st.integers(0, len(steps)))
    for number, (values, weight) in enumerate(steps):
        tensors = {name: torch.tensor(value) for name, value in values.items()}
        whole.add(tensors, weight)
        if number == cut:
            second.load_state_dict(first.state_dict())
        (first if number < cut else second).add(tensors, weight)
    if cut < len(steps):
        assert second.means() == whole.means()


def test_means_are_weighted_and_of_the_steps_that_had_the_name() -> None:
    means = EpochMeans()
    assert means.means() == {}
    means.add({"loss": torch.tensor(1.0), "norm": torch.tensor(5.0)}, 3)
    means.add({"loss": torch.tensor(5.0, requires_grad=True)}, 1)
    assert means.means() == pytest.approx({"loss": 2.0, "norm": 5.0})
    means.clear()
    assert means.means() == {}
