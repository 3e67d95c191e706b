"""Means over the steps of an epoch that a checkpoint can hold, so that an epoch in two parts has the means of one."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed


class EpochMeans:
    """Weighted means of named values, in float32 and on the device of the values: adding never waits for it."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def add(self, values: Mapping[str, Tensor], weight: float) -> None:
        """Take in a step's values.

        Args:
            values: scalars by name; not every step need have every name.
            weight: of each of them, as a rule the number of videos.
        """
        for name, value in values.items():
            addend = value.detach().float() * weight
            self._sums[name] = self._sums[name].to(addend.device) + addend if name in self._sums else addend
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def clear(self) -> None:
        """Begin a new epoch."""
        self._sums.clear()
        self._weights.clear()

    def means(self) -> dict[str, float]:
        """The mean of each name, over all processes; every process must ask."""
        state = self.state_dict()
        return {name: float(total) / weight for name, (total, weight) in state.items()}

    def state_dict(self) -> dict[str, tuple[float, float]]:
        """Sum and weight of each name, divided by the number of processes; every process must ask.

        Loaded in every process, of however many, it counts once.
        """
        names = list(self._sums)
        if not names:
            return {}
        sums = torch.stack([self._sums[name] for name in names]).double()
        weights = torch.tensor([self._weights[name] for name in names], dtype=torch.float64, device=sums.device)
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            both = torch.stack([sums, weights])
            distributed.all_reduce(both)
            sums, weights = both / distributed.get_world_size()
        pairs = zip(sums.tolist(), weights.tolist(), strict=True)
        return dict(zip(names, pairs, strict=True))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.clear()
        for name, (total, weight) in state.items():
            # Exact: a double holds every float32.
            self._sums[name] = torch.tensor(total, dtype=torch.float32)
            self._weights[name] = weight
