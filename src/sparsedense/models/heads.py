"""Heads: what is done, how fast the clip plays, and what the losses on embeddings and on maps compare.

Shapes: B clips, C features or channels, K temporal positions of a map, H x W spatial ones.
"""

import torch
from torch import nn

from sparsedense.models.convolution import Conv3d


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

    def with_dropout(self, dropout: float) -> "ClassifierHead":
        """A classifier with the *same* weights (shared, not copied) behind another dropout.

        Raises:
            ValueError: the dropout is outside [0, 1).
        """
        head = ClassifierHead(self.linear.in_features, self.num_classes, dropout)
        head.linear = self.linear
        return head


class SpeedHead(nn.Module):
    """Linear classifier of playback speeds: 2 in the paper, sparse (0) and dense (1).

    With `num_speeds=1` its output is no logit of a class but a score, the larger the faster, for the ranking loss.

    Args:
        feature_dim: C, the length of the pooled feature vector.
        num_speeds: number of speeds to tell apart, or 1 for a score.

    Raises:
        ValueError: fewer than 1 speed.
    """

    def __init__(self, feature_dim: int, num_speeds: int = 2) -> None:
        super().__init__()
        if num_speeds < 1:
            raise ValueError(f"num_speeds ({num_speeds}) must be at least 1; 1 gives a score for ranking")
        self.num_speeds = num_speeds
        self.linear = _linear(feature_dim, num_speeds)

    def forward(self, features_BC: torch.Tensor) -> torch.Tensor:
        """Logits `(B, num_speeds)`."""
        logits: torch.Tensor = self.linear(features_BC)
        return logits


class ProjectionHead(nn.Module):
    """Two linear layers from features to the embedding that a contrast or alignment loss compares.

    Such a loss forgets what it need not know; behind a projection the features themselves keep it (SimCLR: Chen et al.,
    ICML 2020, arXiv 2002.05709). In training BatchNorm needs at least 2 vectors, over all leading dimensions.

    Args:
        in_dim: length of a feature vector.
        hidden_dim: length between the layers.
        out_dim: E, the length of an embedding.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        if min(in_dim, hidden_dim, out_dim) < 1:
            raise ValueError(f"in_dim ({in_dim}), hidden_dim ({hidden_dim}) and out_dim ({out_dim}) must be at least 1")
        self.layers = nn.Sequential(
            nn.Linear(in_dim, hidden_dim, bias=False),  # BatchNorm would take a bias away again
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_dim, out_dim),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Embeddings `(..., out_dim)`, not normalised, of features `(..., in_dim)`."""
        embeddings: torch.Tensor = self.layers(features.flatten(0, -2))
        return embeddings.view(*features.shape[:-1], -1)


class MapPredictor(nn.Module):
    """Predicts from each slice of a sparse map, and its neighbours in time and space, the dense map of its interval.

    Nothing is pooled over time: the future work that the paper names (Dave et al., 2020).

    Args:
        channels: C, of the sparse map and of the dense maps.
        hidden_channels: between the convolutions; as many as `channels` if None.
        num_positions: temporal positions of a dense map.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, channels: int, *, hidden_channels: int | None = None, num_positions: int) -> None:
        super().__init__()
        hidden = channels if hidden_channels is None else hidden_channels
        if min(channels, hidden, num_positions) < 1:
            sizes = f"channels ({channels}), hidden_channels ({hidden}) and num_positions ({num_positions})"
            raise ValueError(f"{sizes} must be at least 1")
        self.num_positions = num_positions
        self.layers = nn.Sequential(
            Conv3d(channels, hidden, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm3d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv3d(hidden, channels * num_positions, kernel_size=1),
        )

    def forward(self, sparse_map_BCKHW: torch.Tensor) -> torch.Tensor:
        """Dense maps `(B, K, C, num_positions, H, W)` of a sparse map `(B, C, K, H, W)`."""
        maps: torch.Tensor = self.layers(sparse_map_BCKHW)
        num_videos, num_channels, *size_KHW = sparse_map_BCKHW.shape
        return maps.reshape(num_videos, num_channels, self.num_positions, *size_KHW).permute(0, 3, 1, 2, 4, 5)


def _linear(in_features: int, out_features: int) -> nn.Linear:
    """A linear layer that starts near zero, as torchvision's classifiers: first predictions are near uniform."""
    layer = nn.Linear(in_features, out_features)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer
