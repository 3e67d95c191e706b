"""Queue of keys: embeddings of earlier batches, which a contrast loss uses as negatives.

Shapes: Q places, B keys of a batch, E embedding length.
"""

import torch
from torch import nn

from sparsedense.losses.unit_vectors import unit_vectors


class KeyQueue(nn.Module):
    """Ring buffer of the latest keys, normalised; a part of the training's state, so checkpoints hold it.

    He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (MoCo), CVPR 2020 (arXiv 1911.05722).

    Args:
        size: number of keys that fit; MoCo has 65,536, one device is served by about 2,000.
        dim: E, the length of a key.

    Raises:
        ValueError: a size or length below 1.
    """

    ring_QE: torch.Tensor
    num_pushed: torch.Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ValueError(f"size ({size}) and dim ({dim}) must be at least 1; make no queue to have none")
        self.register_buffer("ring_QE", torch.zeros(size, dim))
        self.register_buffer("num_pushed", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, keys_BE: torch.Tensor) -> None:
        """Put keys in, in order; the oldest make room for them, and of more than fit the last stay.

        Args:
            keys_BE: keys of any length; their directions are kept, without gradient.

        Raises:
            ValueError: the keys have another shape.
        """
        size, dim = self.ring_QE.shape
        if keys_BE.ndim != 2 or keys_BE.shape[1] != dim:
            raise ValueError(f"keys must have shape (B, {dim}), got {tuple(keys_BE.shape)}")
        num_keys = len(keys_BE)
        latest = torch.arange(max(0, num_keys - size), num_keys, device=self.ring_QE.device)
        # Places are worked out on the device: to ask it for the count would make the host wait.
        self.ring_QE[(self.num_pushed + latest) % size] = unit_vectors(keys_BE[-size:]).to(self.ring_QE)
        self.num_pushed += num_keys

    def keys(self) -> torch.Tensor:
        """The keys that are in, `(filled, E)`, in the order of their places."""
        filled = min(int(self.num_pushed), len(self.ring_QE))
        # A copy: a push between a loss and its backward pass would change what the latter needs.
        return self.ring_QE[:filled].clone()
