import pytest
import torch

from sparsedense.models.heads import ClassifierHead, SpeedHead


def test_logits_are_linear_in_the_features() -> None:
    for head, num_outputs in ((ClassifierHead(16, 5), 5), (SpeedHead(16), 2), (SpeedHead(16, 4), 4)):
        a, b = torch.randn(3, 16), torch.randn(3, 16)
        assert head(a).shape == (3, num_outputs)
        torch.testing.assert_close(head(a + b), head(a) + head(b))  # the bias starts at 0


def test_first_predictions_are_near_uniform() -> None:
    torch.manual_seed(0)
    probabilities = ClassifierHead(512, 10)(torch.rand(64, 512)).softmax(dim=1)
    assert probabilities.max() < 0.25


def test_dropout_acts_in_training_only() -> None:
    head = ClassifierHead(64, 3, dropout=0.5)
    features = torch.rand(2, 64)
    assert not torch.equal(head(features), head(features))
    head.eval()
    assert torch.equal(head(features), head(features))


@pytest.mark.parametrize(
    ("num_classes", "dropout", "message"), [(0, 0.0, r"num_classes \(0\)"), (2, 1.0, r"dropout \(1.0\)")]
)
def test_wrong_arguments_are_named(num_classes: int, dropout: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassifierHead(8, num_classes, dropout)


def test_one_speed_is_no_choice() -> None:
    with pytest.raises(ValueError, match=r"num_speeds \(1\) must be at least 2"):
        SpeedHead(8, 1)
