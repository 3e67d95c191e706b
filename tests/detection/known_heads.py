"""Small detection heads with fixed random weights, for tests."""

import torch

from sparsedense.detection.head import DetectionHead, HeadConfig
from sparsedense.detection.head_calibration import HeadCalibration
from sparsedense.detection.trained_head import TrainedHead

LABELS = ("open", "close")


def small_head(*, num_levels: int = 3, feature_dim: int = 4, num_scales: int = 2, seed: int = 0) -> DetectionHead:
    """Random weights, large enough that the features matter to what it says."""
    torch.manual_seed(seed)
    head = DetectionHead(HeadConfig(LABELS, feature_dim, num_scales, channels=8, num_levels=num_levels))
    with torch.no_grad():
        head.class_tower.out.weight.mul_(5)
        head.distance_tower.out.weight.mul_(5)
        assert head.class_tower.out.bias is not None
        head.class_tower.out.bias.zero_()
    return head.eval()


def trained_head(**sizes: int) -> TrainedHead:
    """The same, as a model file holds it."""
    return TrainedHead(small_head(**sizes), 2.0, HeadCalibration(factor=1.5, shift=-0.5, min_score=0.2))
