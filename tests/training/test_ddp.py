import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.ddp_jobs import CASES, IN_BFLOAT16, STEPS


@pytest.fixture(scope="module")
def trained(squares_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], dict[str, Any]]:
    """Losses and weights of each case by number of processes and rank."""
    folder = tmp_path_factory.mktemp("ddp")
    command = [sys.executable, "-m", "tests.training.ddp_jobs", str(squares_path), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, check=True, timeout=900)
    return {
        (world_size, rank): torch.load(folder / f"{world_size}-{rank}.pt", weights_only=True)
        for world_size in (1, 2, 3)
        for rank in range(world_size)
    }


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("case", list(CASES))
def test_several_processes_have_the_losses_and_the_weights_of_one(
    trained: dict[tuple[int, int], dict[str, Any]], case: str, world_size: int
) -> None:
    losses, changes = trained[1, 0][case]
    assert len(losses) == STEPS
    assert losses[0] != losses[-1]
    for rank in range(world_size):
        other_losses, other_changes = trained[world_size, rank][case]
        assert other_changes.keys() == changes.keys()
        if case in IN_BFLOAT16:
            assert torch.allclose(torch.stack(other_losses), torch.stack(losses), rtol=1e-2), rank
            # Rounding shows in the gradients of six small clips; the statistics are means of more numbers.
            statistics = [name for name in changes if "running_" in name]
            assert distance(changes, other_changes, statistics) < 0.02, rank
            assert distance(changes, other_changes, [name for name in changes if "running_" not in name]) < 0.5, rank
            continue
        assert torch.allclose(torch.stack(other_losses), torch.stack(losses), rtol=1e-6), rank
        # What hardly changes, such as the bias of a score of which only differences count, has nothing but rounding.
        apart = {name: float((other_changes[name] - change).norm()) for name, change in changes.items()}
        allowed = {name: 1e-5 * float(change.norm()) + 1e-9 for name, change in changes.items()}
        assert not [name for name in changes if apart[name] > allowed[name]], rank


def distance(changes: dict[str, Tensor], others: dict[str, Tensor], names: list[str]) -> float:
    """Length of the difference of the changes of some state, as a share of the length of the change."""
    one, other = (torch.cat([change[name].flatten() for name in names]) for change in (changes, others))
    return float((one - other).norm() / one.norm())


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_tell_each_other_rows_means_and_buffers(
    trained: dict[tuple[int, int], dict[str, Any]], world_size: int
) -> None:
    for rank in range(world_size):
        told = trained[world_size, rank]["messages"]
        places = torch.arange(2 * world_size)
        assert torch.equal(told["rows"], torch.stack([places, 10 * places], dim=1).float()), "in the order of the draws"
        assert torch.equal(told["labels"].long(), places)
        assert told["learns"].tolist() == [True, False], "labels have no gradient before, and none after"
        own = (torch.arange(2) * world_size + rank).float()
        assert torch.equal(told["of_rows"], world_size * own[:, None].expand(2, 2)), "the sum over the processes"
        assert torch.equal(told["running_mean"], torch.full((2,), 5.0)), "the first process's"
        assert torch.equal(told["mean 0"], torch.full((2,), (world_size - 1) / 2))
        assert torch.equal(told["mean 1"], torch.tensor(3 * (world_size - 1) / 2))


@pytest.mark.parametrize("case", list(CASES))
def test_all_processes_end_with_equal_weights(trained: dict[tuple[int, int], dict[str, Any]], case: str) -> None:
    for world_size in (2, 3):
        _, first = trained[world_size, 0][case]
        for rank in range(1, world_size):
            _, other = trained[world_size, rank][case]
            assert not [name for name in first if not torch.equal(first[name], other[name])], (world_size, rank)
