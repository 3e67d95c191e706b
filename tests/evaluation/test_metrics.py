import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsedense.evaluation.metrics import ClassificationMetrics, summarise

Probabilities = NDArray[np.float32]
Labels = NDArray[np.int64]


def random_samples(seed: int, *, samples: int, classes: int) -> tuple[Probabilities, Labels]:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), samples).astype(np.float32)
    labels = rng.integers(0, classes, samples)
    guessed = rng.random(samples) < 0.4  # so that some are right
    probabilities[guessed, labels[guessed]] += 1
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def by_hand(probabilities: Probabilities, labels: Labels) -> dict[str, float]:
    """Loops over samples and classes, as the definitions say."""
    classes = probabilities.shape[1]
    ranked = [sorted(range(classes), key=lambda c, row=row: -row[c]) for row in probabilities]  # type: ignore[misc]
    predicted = [order[0] for order in ranked]
    precisions, recalls, f1s = [], [], []
    for c in range(classes):
        hit = sum(p == c and t == c for p, t in zip(predicted, labels, strict=True))
        said, true = predicted.count(c), int((labels == c).sum())
        if not said and not true:
            continue
        precisions.append(hit / said if said else 0.0)
        recalls.append(hit / true if true else 0.0)
        f1s.append(2 * hit / (said + true))
    samples = len(labels)
    return {
        "accuracy": sum(p == t for p, t in zip(predicted, labels, strict=True)) / samples,
        "accuracy_top5": sum(t in order[:5] for order, t in zip(ranked, labels, strict=True)) / samples,
        "precision": float(np.mean(precisions)),
        "recall": float(np.mean(recalls)),
        "f1": float(np.mean(f1s)),
    }


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), samples=st.integers(1, 40), classes=st.integers(2, 12))
def test_the_metrics_are_those_of_the_definitions(seed: int, samples: int, classes: int) -> None:
    probabilities, labels = random_samples(seed, samples=samples, classes=classes)
    summary = summarise(torch.from_numpy(probabilities), torch.from_numpy(labels))
    for name, value in by_hand(probabilities, labels).items():
        assert getattr(summary, name) == pytest.approx(value, abs=1e-6), name
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    assert summary.confusion.tolist() == confusion.tolist()


def test_rows_of_the_confusion_are_true_classes() -> None:
    probabilities = torch.tensor([[0.1, 0.9, 0.0], [0.2, 0.8, 0.0], [0.7, 0.2, 0.1]])
    summary = summarise(probabilities, torch.tensor([0, 0, 2]))
    assert summary.confusion.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]
    assert summary.accuracy == 0
    assert summary.accuracy_top5 == 1, "all classes, where there are fewer than five"


def test_a_class_that_never_occurs_does_not_lower_the_means() -> None:
    probabilities = torch.eye(4)[[0, 1, 1]]
    summary = summarise(probabilities, torch.tensor([0, 1, 0]))
    assert summary.precision == pytest.approx((1 + 0.5) / 2)
    assert summary.recall == pytest.approx((0.5 + 1) / 2)
    assert summary.f1 == pytest.approx(2 / 3)


def test_updates_add_up_and_reset_forgets() -> None:
    probabilities, labels = (torch.from_numpy(part) for part in random_samples(0, samples=30, classes=7))
    metrics = ClassificationMetrics(7)
    metrics.update(probabilities[:3], labels[:3])
    metrics.reset()
    for part in range(0, 30, 8):
        metrics.update(probabilities[part : part + 8], labels[part : part + 8])
    summary, whole = metrics.compute(), summarise(probabilities, labels)
    assert summary.accuracy == whole.accuracy
    assert summary.f1 == pytest.approx(whole.f1)
    assert torch.equal(summary.confusion, whole.confusion)
