"""Vectors of length 1: what the losses that compare directions are fed."""

import torch

LENGTH_FLOOR = 1e-6  # a vector that is shorter has no direction: a dead feature map


def unit_vectors(vectors: torch.Tensor, *, dim: int = -1) -> torch.Tensor:
    """Vectors scaled to length 1, in float32; those without a direction become 0 and get no gradient.

    `torch.nn.functional.normalize` gives a zero vector a gradient of 1e12 instead, and one such step ruins a network.

    Args:
        vectors: of any shape and floating type.
        dim: along which a vector lies.
    """
    vectors = vectors.float()
    length: torch.Tensor = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    defined = length > LENGTH_FLOOR
    # Both branches of a `where` are differentiated, so the divisor must be harmless in the branch not taken as well.
    return (vectors / length.where(defined, torch.ones_like(length))).where(defined, torch.zeros_like(vectors))
