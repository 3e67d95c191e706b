import pytest
import torch

from sparsedense.models.heads import ClassifierHead, MapPredictor, ProjectionHead, SpeedHead


def test_logits_are_linear_in_the_features() -> None:
    for head, num_outputs in (
        (ClassifierHead(16, 5), 5),
        (SpeedHead(16), 2),
        (SpeedHead(16, 4), 4),
        (SpeedHead(16, 1), 1),
    ):
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


def test_another_dropout_keeps_the_weights() -> None:
    head = ClassifierHead(64, 3, dropout=0.5)
    other = head.with_dropout(0.0)
    features = torch.rand(2, 64)
    assert (head.dropout.p, other.dropout.p) == (0.5, 0.0)
    assert torch.equal(other(features), head.eval()(features))
    with pytest.raises(ValueError, match=r"dropout \(1\.0\)"):
        head.with_dropout(1.0)


@pytest.mark.parametrize(
    ("num_classes", "dropout", "message"), [(0, 0.0, r"num_classes \(0\)"), (2, 1.0, r"dropout \(1.0\)")]
)
def test_wrong_arguments_are_named(num_classes: int, dropout: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassifierHead(8, num_classes, dropout)


def test_no_speed_is_named() -> None:
    with pytest.raises(ValueError, match=r"num_speeds \(0\) must be at least 1"):
        SpeedHead(8, 0)


@pytest.mark.parametrize("leading", [(6,), (3, 2), (1, 3, 2)])
def test_projection_treats_leading_dimensions_as_one_batch(leading: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head = ProjectionHead(5, 8, 3)
    features = torch.randn(6, 5)
    expected = head(features)
    embeddings = head(features.view(*leading, 5))
    assert embeddings.shape == (*leading, 3)
    assert torch.equal(embeddings.view(6, 3), expected)


def test_projection_is_two_layers_with_batch_statistics_between() -> None:
    torch.manual_seed(0)
    head = ProjectionHead(5, 8, 3)
    features = torch.randn(7, 5)
    weights = dict(head.named_parameters())
    hidden = features @ weights["layers.0.weight"].T
    hidden = (hidden - hidden.mean(dim=0)) / (hidden.var(dim=0, correction=0) + 1e-5).sqrt()
    expected = hidden.relu() @ weights["layers.3.weight"].T + weights["layers.3.bias"]
    torch.testing.assert_close(head(features), expected)


def test_projection_takes_maps_in_any_memory_order() -> None:
    head = ProjectionHead(5, 8, 3).eval()
    slices = torch.randn(2, 5, 4).transpose(1, 2)  # as the slices of a map pooled over space
    torch.testing.assert_close(head(slices), head(slices.contiguous()))


@pytest.mark.parametrize("num_positions", [1, 4])
@pytest.mark.parametrize("hidden", [None, 3])
def test_predictor_gives_a_dense_map_for_each_slice(num_positions: int, hidden: int | None) -> None:
    predictor = MapPredictor(6, hidden_channels=hidden, num_positions=num_positions)
    sparse_map = torch.randn(2, 6, 5, 3, 2)
    assert predictor(sparse_map).shape == (2, 5, 6, num_positions, 3, 2)
    sparse_map = sparse_map.to(memory_format=torch.channels_last_3d)
    assert predictor(sparse_map).shape == (2, 5, 6, num_positions, 3, 2)


def test_each_prediction_sees_its_slice_and_the_neighbours_only() -> None:
    torch.manual_seed(0)
    predictor = MapPredictor(6, num_positions=4).eval()
    sparse_map = torch.randn(2, 6, 5, 3, 2)
    changed = sparse_map.clone()
    changed[1, :, 3] += 1.0
    moved = (predictor(changed) - predictor(sparse_map)).abs().amax(dim=(2, 4, 5)) > 1e-6  # (B, K, positions)
    assert moved[1].tolist() == [[k in (2, 3, 4)] * 4 for k in range(5)]
    assert not moved[0].any()


def test_every_parameter_of_the_new_heads_gets_a_gradient() -> None:
    torch.manual_seed(0)
    for head, shape in ((ProjectionHead(6, 8, 3), (7, 6)), (MapPredictor(6, num_positions=2), (2, 6, 4, 3, 3))):
        inputs = torch.randn(shape, requires_grad=True)
        torch.autograd.backward(head(inputs).square().mean())
        assert inputs.grad is not None
        assert inputs.grad.abs().sum() > 0
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_sizes_below_one_are_named() -> None:
    with pytest.raises(ValueError, match=r"in_dim \(8\), hidden_dim \(0\) and out_dim \(4\) must be at least 1"):
        ProjectionHead(8, 0, 4)
    with pytest.raises(ValueError, match=r"hidden_channels \(8\) and num_positions \(0\) must be at least 1"):
        MapPredictor(8, num_positions=0)
