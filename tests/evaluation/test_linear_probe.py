from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sparsedense.evaluation import linear_probe
from sparsedense.evaluation.linear_probe import (
    FIXED_STRENGTH,
    STRENGTHS,
    LinearProbe,
    choose_strength,
    fit_linear_probe,
    group_folds,
)

CLASSES, CLIPS, DIM = 3, 4, 10


def separable(videos: int, seed: int = 0, spread: float = 0.3) -> tuple[Tensor, Tensor]:
    """Features (N, M, D) whose first L dimensions point at the class, and labels (N,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(videos) % CLASSES
    features = spread * torch.randn(videos, CLIPS, DIM, generator=generator)
    features[..., :CLASSES] += F.one_hot(labels, CLASSES)[:, None]
    return features, labels


def subjects(videos: int, number: int = 5) -> list[str]:
    return [f"subject{video // CLASSES % number}" for video in range(videos)]


def test_separable_features_are_told_apart() -> None:
    features, labels = separable(45)
    probe = fit_linear_probe(features, labels, subjects(45), num_classes=CLASSES)
    assert probe.share_right(*separable(90, seed=1)) == 1
    assert probe.strength in STRENGTHS


def test_shuffled_labels_teach_nothing() -> None:
    features, labels = separable(120)
    shuffled = labels[torch.randperm(120, generator=torch.Generator().manual_seed(0))]
    probe = fit_linear_probe(features, shuffled, subjects(120), num_classes=CLASSES)
    assert probe.share_right(*separable(300, seed=1)) < 0.55


@pytest.mark.parametrize("strength", [1.0, 0.01])
def test_the_weights_are_where_the_objective_is_flat(strength: float) -> None:
    """The objective is convex: a zero gradient is its minimum."""
    features, labels = separable(30, spread=1.0)
    probe = fit_linear_probe(features, labels, ["one"] * 30, num_classes=CLASSES, strengths=[strength])
    weight, bias = probe.weight_DL.clone().requires_grad_(), probe.bias_L.clone().requires_grad_()
    samples = (features.flatten(0, 1) - probe.mean_D) / probe.std_D
    assert torch.allclose(samples.mean(dim=0), torch.zeros(DIM), atol=1e-5)
    assert torch.allclose(samples.square().mean(dim=0), torch.ones(DIM), atol=1e-4)
    loss = F.cross_entropy(samples @ weight + bias, labels.repeat_interleave(CLIPS))
    (loss + probe.strength / 2 * weight.square().sum()).backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert bias.grad is not None
    assert float(weight.grad.abs().max()) < 2e-3
    assert float(bias.grad.abs().max()) < 2e-3


def test_scale_and_place_of_the_features_do_not_matter() -> None:
    features, labels = separable(30, spread=1.0)
    scale, place = torch.linspace(0.1, 30, DIM), torch.linspace(-5, 5, DIM)
    probes = [
        fit_linear_probe(given, labels, subjects(30), num_classes=CLASSES)
        for given in (features, features * scale + place)
    ]
    assert torch.allclose(
        probes[0].probabilities(features), probes[1].probabilities(features * scale + place), atol=5e-3
    )


def test_a_feature_that_never_changes_does_no_harm() -> None:
    features, labels = separable(30)
    features[..., -1] = 7.0
    probe = fit_linear_probe(features, labels, subjects(30), num_classes=CLASSES)
    assert probe.share_right(features, labels) == 1
    assert torch.isfinite(probe.weight_DL).all()


def test_a_video_is_judged_by_the_mean_softmax_of_its_clips() -> None:
    """The mean of the logits, and most of the clips, say 0; the mean softmax says 1."""
    probe = LinearProbe(torch.zeros(2), torch.ones(2), torch.eye(2), torch.zeros(2), 1.0)
    clips = torch.tensor([[[9.0, 0.0], [0.0, 1.5], [0.0, 1.5], [0.0, 1.5]]])
    expected = clips[0].softmax(dim=1).mean(dim=0)
    assert torch.allclose(probe.probabilities(clips)[0], expected)
    assert clips.mean(dim=1).argmax() == 0
    assert probe.share_right(clips, torch.tensor([1])) == 1


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), videos=st.integers(1, 60), num_groups=st.integers(1, 12), classes=st.integers(1, 5))
def test_no_group_is_in_two_folds(seed: int, videos: int, num_groups: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [f"g{number}" for number in rng.integers(0, num_groups, videos)]
    folds = group_folds(groups, rng.integers(0, classes, videos), num_folds=3)
    for group in set(groups):
        assert len({fold for fold, name in zip(folds, groups, strict=True) if name == group}) == 1
    assert set(folds.tolist()) <= {0, 1, 2}
    assert len(set(folds.tolist())) == min(3, len(set(groups)))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), videos=st.integers(3, 60), classes=st.integers(1, 5))
def test_classes_are_spread_evenly_where_groups_allow(seed: int, videos: int, classes: int) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, videos)
    folds = group_folds([f"own{video}" for video in range(videos)], labels, num_folds=3)
    for label in range(classes):
        counts = np.bincount(folds[labels == label], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_the_strength_is_chosen_without_cutting_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = separable(45)
    groups = [f"g{video // 4}" for video in range(45)]
    features[..., -1] = torch.tensor([float(group[1:]) for group in groups])[:, None]
    fitted: list[Tensor] = []
    real_fit = linear_probe._fit_path

    def spy(features_NMD: Tensor, labels_N: Tensor, num_classes: int, strengths: Sequence[float]) -> list[LinearProbe]:
        fitted.append(features_NMD[:, 0, -1])
        return real_fit(features_NMD, labels_N, num_classes, strengths)

    monkeypatch.setattr(linear_probe, "_fit_path", spy)
    choose_strength(features, labels, groups, num_classes=CLASSES, strengths=STRENGTHS)
    assert len(fitted) == 3
    sizes = {name: groups.count(name) for name in groups}
    held_out = []
    for numbers in fitted:
        trained = {f"g{int(number)}" for number in numbers}
        assert len(numbers) == sum(sizes[name] for name in trained), "all videos of a group, or none"
        held_out += sorted(set(sizes) - trained)
    assert sorted(held_out) == sorted(sizes), "each group is held out once"


def test_the_strength_with_the_most_held_out_videos_right_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fits(_features: Tensor, _labels: Tensor, _classes: int, strengths: Sequence[float]) -> list[LinearProbe]:
        """Probes that know nothing, but for the one of 0.1."""
        points_at_the_class = torch.eye(DIM, CLASSES)
        return [
            LinearProbe(torch.zeros(DIM), torch.ones(DIM), points_at_the_class * (value == 0.1), torch.zeros(3), value)
            for value in strengths
        ]

    monkeypatch.setattr(linear_probe, "_fit_path", fits)
    features, labels = separable(45)
    chosen = choose_strength(features, labels, subjects(45), num_classes=CLASSES, strengths=(10.0, 0.1, 0.01))
    assert chosen == 0.1


@pytest.mark.parametrize("groups", [["one"] * 30, [f"class{video % CLASSES}" for video in range(30)]])
def test_too_few_groups_take_the_documented_strength(groups: list[str]) -> None:
    """With one group nothing can be held out; with a group a class, what is held out is unknown to the rest."""
    features, labels = separable(30)
    assert choose_strength(features, labels, groups, num_classes=CLASSES, strengths=(1.0, 5.0)) == FIXED_STRENGTH
    assert fit_linear_probe(features, labels, groups, num_classes=CLASSES).strength == FIXED_STRENGTH


def test_of_equally_good_strengths_the_strongest_is_taken() -> None:
    features, labels = separable(45, spread=0.05)
    chosen = choose_strength(features, labels, subjects(45), num_classes=CLASSES, strengths=(0.001, 0.1, 0.01))
    assert chosen == 0.1


def test_the_same_data_give_the_same_probe() -> None:
    features, labels = separable(45, spread=1.0)
    probes = [fit_linear_probe(features, labels, subjects(45), num_classes=CLASSES) for _ in range(2)]
    assert torch.equal(probes[0].weight_DL, probes[1].weight_DL)


def test_features_from_inference_mode_can_be_fitted() -> None:
    with torch.inference_mode():
        features, labels = separable(30)
    assert fit_linear_probe(features, labels, subjects(30), num_classes=CLASSES).share_right(features, labels) == 1


def test_what_does_not_fit_is_an_error() -> None:
    features, labels = separable(6)
    with pytest.raises(ValueError, match=r"got \(6, 4, 10\), 6 labels and 5 groups"):
        fit_linear_probe(features, labels, ["a"] * 5, num_classes=CLASSES)
    with pytest.raises(ValueError, match="at least one L2 strength"):
        fit_linear_probe(features, labels, ["a"] * 6, num_classes=CLASSES, strengths=())
