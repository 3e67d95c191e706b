"""Accuracy, precision, recall, F1 and the confusion matrix of a classifier, by torchmetrics.

Shapes: N samples, L classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)


@dataclass(frozen=True)
class ClassificationSummary:
    """Metrics in 0..1; precision, recall and F1 are means over the classes (macro).

    Attributes:
        accuracy: share of samples whose most probable class is right.
        accuracy_top5: share whose class is among the five most probable (all, where there are fewer classes).
        precision_per_class, recall_per_class, f1_per_class: (L,).
        confusion: counts (L, L), rows are true classes and columns predicted ones.
    """

    accuracy: float
    accuracy_top5: float
    precision: float
    recall: float
    f1: float
    precision_per_class: Tensor
    recall_per_class: Tensor
    f1_per_class: Tensor
    confusion: Tensor


class ClassificationMetrics(nn.Module):
    """Collects probabilities and labels; right under several processes too.

    Args:
        num_classes: number of classes L.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro"),
                "accuracy_top5": MulticlassAccuracy(num_classes, average="micro", top_k=min(5, num_classes)),
                "precision": MulticlassPrecision(num_classes, average="none"),
                "recall": MulticlassRecall(num_classes, average="none"),
                "f1": MulticlassF1Score(num_classes, average="none"),
                "confusion": MulticlassConfusionMatrix(num_classes),
            },
            compute_groups=False,  # top-5 and top-1 look alike to the grouping but are not
        )

    def update(self, probabilities_NL: Tensor, labels_N: Tensor) -> None:
        """Add samples."""
        self.metrics.update(probabilities_NL, labels_N)

    def compute(self) -> ClassificationSummary:
        """Metrics of all samples since the last reset.

        Macro means are over the classes that have a sample or a prediction.
        """
        values = self.metrics.compute()
        confusion = values["confusion"]
        seen = (confusion.sum(dim=0) + confusion.sum(dim=1)) > 0
        macro = {name: float(values[name][seen].mean()) for name in ("precision", "recall", "f1")}
        return ClassificationSummary(
            accuracy=float(values["accuracy"]),
            accuracy_top5=float(values["accuracy_top5"]),
            **macro,
            precision_per_class=values["precision"],
            recall_per_class=values["recall"],
            f1_per_class=values["f1"],
            confusion=confusion,
        )

    def reset(self) -> None:
        """Forget all samples."""
        self.metrics.reset()


def summarise(probabilities_NL: Tensor, labels_N: Tensor) -> ClassificationSummary:
    """Metrics of one set of samples."""
    metrics = ClassificationMetrics(probabilities_NL.shape[1])
    metrics.update(torch.as_tensor(probabilities_NL), labels_N)
    return metrics.compute()
