"""Heads on the pooled feature vector: what is done, and how fast the clip plays.

Shapes: B clips, C features.
"""

import torch
from torch import nn


class ClassifierHead(nn.Module):
    """Linear classifier of actions.

    Args:
        feature_dim: C, the length of the pooled feature vector.
        num_classes: number of actions.
        dropout: probability of dropping a feature in training; 0 in the paper.

    Raises:
        ValueError: a size below 1 or a dropout outside [0, 1).
    """

    def __init__(self, feature_dim: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        if feature_dim < 1 or num_classes < 1:
            raise ValueError(f"feature_dim ({feature_dim}) and num_classes ({num_classes}) must be at least 1")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout ({dropout}) must be in [0, 1)")
        self.num_classes = num_classes
        self.dropout = nn.Dropout(dropout)
        self.linear = _linear(feature_dim, num_classes)

    def forward(self, features_BC: torch.Tensor) -> torch.Tensor:
        """Logits `(B, num_classes)`."""
        logits: torch.Tensor = self.linear(self.dropout(features_BC))
        return logits


class SpeedHead(nn.Module):
    """Linear classifier of playback speeds: 2 in the paper, sparse (0) and dense (1).

    Args:
        feature_dim: C, the length of the pooled feature vector.
        num_speeds: number of speeds to tell apart.

    Raises:
        ValueError: fewer than 2 speeds.
    """

    def __init__(self, feature_dim: int, num_speeds: int = 2) -> None:
        super().__init__()
        if num_speeds < 2:
            raise ValueError(f"num_speeds ({num_speeds}) must be at least 2")
        self.num_speeds = num_speeds
        self.linear = _linear(feature_dim, num_speeds)

    def forward(self, features_BC: torch.Tensor) -> torch.Tensor:
        """Logits `(B, num_speeds)`."""
        logits: torch.Tensor = self.linear(features_BC)
        return logits


def _linear(in_features: int, out_features: int) -> nn.Linear:
    """A linear layer that starts near zero, as torchvision's classifiers: first predictions are near uniform."""
    layer = nn.Linear(in_features, out_features)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer
