import socket
from pathlib import Path

import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn

from sparsedense.losses.alignment import AlignmentLoss
from sparsedense.losses.contrast import InstanceContrastLoss
from sparsedense.training.gather import gather_rows

VIDEOS, DIM = 6, 5


def loss_of(first: torch.Tensor, second: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    contrast = InstanceContrastLoss()(first, second)
    slices = torch.stack([second, -second, second.roll(1, dims=1)], dim=1)
    intervals = torch.tensor([1.0, 2.0, 3.0]).expand(len(first), 3)
    alignment = AlignmentLoss()(first[:, None], slices, positions[:, None], intervals)
    total: torch.Tensor = contrast + alignment
    return total


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, VIDEOS, DIM, generator=generator)
    return first, second, torch.rand(VIDEOS, generator=generator) * 4


def gradient_of_part(rank: int, world_size: int, port: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size)
    weight = torch.eye(DIM).requires_grad_()
    part = slice(rank * VIDEOS // world_size, (rank + 1) * VIDEOS // world_size)
    first, second, positions = (rows[part] for rows in inputs())
    loss = loss_of(*(gather_rows(rows) for rows in (first @ weight, second @ weight, positions)))
    loss.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    distributed.all_reduce(weight.grad)
    torch.save((loss.detach(), weight.grad / world_size), Path(folder) / f"{rank}.pt")  # DDP's mean
    distributed.destroy_process_group()


def test_two_processes_have_the_loss_and_the_gradient_of_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(gradient_of_part, (2, port, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    weight = torch.eye(DIM).requires_grad_()
    first, second, positions = inputs()
    expected = loss_of(first @ weight, second @ weight, positions)
    expected.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    for rank in range(2):
        loss, gradient = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.allclose(loss, expected, rtol=1e-5)
        assert torch.allclose(gradient, weight.grad, rtol=1e-4, atol=1e-6)


def test_alone_the_rows_are_what_they_were() -> None:
    rows = torch.randn(3, 2)
    assert gather_rows(rows) is rows
