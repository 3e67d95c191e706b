"""What objectives say of a batch, put together from all processes in one message.

An objective first makes rows of its process's clips: embeddings and what belongs to them. The rows of all objectives
are gathered together, and each objective makes its loss of those of the whole batch.

Shapes: B videos of this process, W processes.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from sparsedense.training.gather import gather_each


class Outcome(NamedTuple):
    """What an objective says of a batch: the loss, that of guessing where one is known, and an accuracy."""

    loss: Tensor
    guess: float | None = None
    accuracy: Tensor | None = None


class Contribution(NamedTuple):
    """What a process makes of its own clips for an objective, and what becomes of it.

    Attributes:
        outcome: of the rows of all processes and then of `own`; the same in every process but for `own`, of which the
            loss must be a mean over the videos.
        rows: tensors of `(B, ...)` to be gathered, `(B * W, ...)`.
        own: tensors that stay here. They are told, not kept inside of `outcome`, because FSDP looks for an objective's
            tensors in what its forward pass returns.
    """

    outcome: Callable[..., Outcome]
    rows: tuple[Tensor, ...] = ()
    own: tuple[Tensor, ...] = ()


def outcomes_of(contributions: Mapping[str, Contribution]) -> dict[str, Outcome]:
    """The outcome of each objective, by name; every process must ask with the same names."""
    gathered = iter(gather_each(*(rows for made in contributions.values() for rows in made.rows)))
    return {name: made.outcome(*(next(gathered) for _ in made.rows), *made.own) for name, made in contributions.items()}
