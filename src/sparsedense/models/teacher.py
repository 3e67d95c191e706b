"""Teacher: a slow copy of a network, whose outputs are steadier targets than those of the network itself."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class Teacher(nn.Module):
    """A copy of a module that is never trained: its parameters are a moving average of the student's.

    He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (MoCo), CVPR 2020 (arXiv 1911.05722);
    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017 (arXiv 1703.01780).

    Args:
        student: any module; it is copied as it is now and not kept.
        momentum: share of the teacher that stays at an update, in [0, 1]; 0.999 in both papers, for trainings of over
            100,000 steps. Short trainings need less: the average spans about 1 / (1 - momentum) steps.

    Raises:
        ValueError: a momentum outside [0, 1].
    """

    def __init__(self, student: nn.Module, *, momentum: float = 0.99) -> None:
        super().__init__()
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"momentum ({momentum}) must be in [0, 1]")
        self.momentum = momentum
        # In training mode although a student that was read from a file is not; the reason stands in `forward`.
        self.module = copy.deepcopy(student).requires_grad_(False).train()

    @torch.no_grad()
    def forward(self, *inputs: torch.Tensor) -> Any:  # noqa: ANN401 (whatever the module returns)
        """What the copy returns, without gradient."""
        # The copy is in training mode whenever this module is, so its BatchNorm uses the statistics of the batch, like
        # the student's. The running ones are averages over earlier weights (and 0 and 1 at first): with them the same
        # clip would look different to teacher and student, and the loss would chase that difference.
        return self.module(*inputs)

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Move the parameters towards the student's and copy its buffers; call it after each optimiser step.

        Buffers are copied, not averaged: BatchNorm's running statistics are averages already, and its counter of
        batches is an integer. The copy's own forward passes write into them as well; that is overwritten here.

        Args:
            student: a module with the same parameters and buffers as the one that was copied.

        Raises:
            ValueError: names or shapes differ.
        """
        parameters, new_parameters = _matched(dict(self.module.named_parameters()), dict(student.named_parameters()))
        buffers, new_buffers = _matched(dict(self.module.named_buffers()), dict(student.named_buffers()))
        if parameters:
            torch._foreach_lerp_(parameters, new_parameters, 1 - self.momentum)
        if buffers:
            torch._foreach_copy_(buffers, new_buffers)


def _matched(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Tensors of the teacher and of the student in one order."""
    different = {name for name in ours.keys() & theirs.keys() if ours[name].shape != theirs[name].shape}
    different |= ours.keys() ^ theirs.keys()
    if different:
        names = ", ".join(sorted(different))
        raise ValueError(f"the student is not the module that was copied: they differ in {names}; make a new Teacher")
    return list(ours.values()), [theirs[name] for name in ours]
