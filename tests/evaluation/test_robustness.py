from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sparsedense.data.store import FrameStore
from sparsedense.evaluation import robustness as robustness_module
from sparsedense.evaluation.corruptions import CORRUPTIONS
from sparsedense.evaluation.inference import clip_settings, video_features
from sparsedense.evaluation.robustness import (
    PASSES_PER_CLIP,
    RATE_FACTORS,
    Gallery,
    Robustness,
    change_rate,
    robustness,
)
from sparsedense.models.recogniser import Recogniser
from tests.conftest import tiny_experiment
from tests.evaluation.colour_model import colour_recogniser

CLIPS = 2


def gallery_of(networks: dict[str, Recogniser], store: FrameStore) -> Gallery:
    videos = store.videos(split="train", labelled=True)
    features = {name: video_features(net, store, videos, num_clips=1, num_workers=0) for name, net in networks.items()}
    return Gallery(features, torch.from_numpy(store.label_ids[videos]))


def measured(store: FrameStore, networks: dict[str, Recogniser], **options: int) -> Robustness:
    queries = store.videos(split="test", labelled=True)
    gallery = gallery_of(networks, store)
    return robustness(networks, store, queries, gallery, num_clips=CLIPS, num_workers=0, **options)  # type: ignore[arg-type]


def two_networks() -> dict[str, Recogniser]:
    return {"model": colour_recogniser().eval(), "random": colour_recogniser().eval()}


def test_every_corruption_has_five_severities_for_each_network(squares: FrameStore) -> None:
    result = measured(squares, two_networks())
    assert result.clean == {"model": 1.0, "random": 1.0}
    assert list(result.corrupted) == [*CORRUPTIONS, "frame_rate"]
    for of_network in result.corrupted.values():
        assert list(of_network) == ["model", "random"]
        assert all(len(values) == 5 and all(0 <= value <= 1 for value in values) for values in of_network.values())
        assert of_network["model"] == of_network["random"], "equal networks see the same pixels, noise included"
    assert result.corrupted["frame_rate"]["model"] == [1.0] * 5, "the colour does not depend on the stride"


def test_figures_stand_at_the_severity_that_they_are_of(squares: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def darken(clips: Tensor, kind: str, severity: int, generator: torch.Generator) -> Tensor:
        return torch.zeros_like(clips) if kind == "blur" and severity >= 4 else clips

    monkeypatch.setattr(robustness_module, "corrupt", darken)
    corrupted = measured(squares, two_networks()).corrupted
    assert corrupted["blur"]["model"][:3] == [1.0, 1.0, 1.0]
    assert max(corrupted["blur"]["model"][3:]) < 0.5, "of black clips nothing is known"
    assert all(corrupted[kind]["model"] == [1.0] * 5 for kind in corrupted if kind != "blur")


def test_the_noise_is_seeded(squares: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def spy(clips: Tensor, kind: str, severity: int, generator: torch.Generator) -> Tensor:
        if (kind, severity) == ("gaussian_noise", 3):
            seen.append(torch.randn(3, generator=generator))
        return clips

    monkeypatch.setattr(robustness_module, "corrupt", spy)
    for seed in (0, 0, 1):
        measured(squares, two_networks(), seed=seed)
    once, again, other = (seen[start] for start in range(0, len(seen), len(seen) // 3))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_clips_are_read_once_for_all_corruptions(squares: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    networks, videos = two_networks(), squares.videos(split="test", labelled=True)
    gallery, reads, steps = gallery_of(networks, squares), [], []
    real_read = FrameStore.read_clips

    def spy(self: FrameStore, video_id: int, *rest: Any) -> None:
        reads.append(video_id)
        real_read(self, video_id, *rest)

    monkeypatch.setattr(FrameStore, "read_clips", spy)
    robustness(
        networks, squares, videos, gallery, num_clips=CLIPS, num_workers=0,
        progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert len(reads) == len(videos) * CLIPS * (1 + 2 * len(RATE_FACTORS))
    assert steps == sorted(steps)
    assert steps[-1] == (len(videos) * CLIPS * PASSES_PER_CLIP,) * 2
    assert PASSES_PER_CLIP == 31


def test_frames_are_corrupted_as_they_are_stored(squares: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, networks = set(), two_networks()
    assert clip_settings(networks["model"]).size != squares.short_side

    def spy(clips: Tensor, kind: str, severity: int, generator: torch.Generator) -> Tensor:
        sizes.add(clips.shape[-2:])
        return clips

    monkeypatch.setattr(robustness_module, "corrupt", spy)
    measured(squares, networks)
    assert sizes == {(squares.short_side, squares.short_side)}


@pytest.mark.parametrize("stride_frames", [None, 2.0])
@pytest.mark.parametrize("factor", [0.5, 1.5, 3.0])
def test_the_stride_is_multiplied(stride_frames: float | None, factor: float) -> None:
    clips = replace(tiny_experiment().clips, evaluation_stride_frames=stride_frames)
    span, changed = (
        np.diff(config.evaluation_indices(1024, 1)[0], axis=-1).mean() for config in (clips, change_rate(clips, factor))
    )
    usual = stride_frames or 1024 / (clips.length * clips.skip_ratio)
    assert span == pytest.approx(usual, abs=0.2)
    # Where it fits: a clip never leaves its video.
    assert changed == pytest.approx(min(factor * usual, 1023 / (clips.length - 1)), abs=0.2)


def test_the_frame_rate_counts_both_ways(squares: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Black clips where the stride is longer than usual: half of the answers are lost."""
    asked: list[float] = []

    def spy(clips: object, factor: float) -> object:
        asked.append(factor)
        return clips

    monkeypatch.setattr(robustness_module, "change_rate", spy)
    black = {"on": False}

    class Blackout(torch.nn.Module):
        def forward(self, clips_BCTHW: Tensor) -> Tensor:
            colours = clips_BCTHW.mean(dim=(2, 3, 4), keepdim=True)
            dark = len(asked) > 0 and asked[-1] > 1
            black["on"] |= dark
            return (colours - colours.mean(dim=1, keepdim=True)) * (0.0 if dark else 1.0)

    networks = two_networks()
    networks["model"].register_module("encoder", Blackout())
    result = measured(squares, networks).corrupted["frame_rate"]
    assert black["on"]
    assert asked == [ratio for factor in RATE_FACTORS for ratio in (factor, 1 / factor)]
    blind = measured_blind_share(squares)
    assert result["model"] == pytest.approx([(1 + blind) / 2] * 5)
    assert result["random"] == [1.0] * 5


def measured_blind_share(store: FrameStore) -> float:
    """How many queries are right where all features are zero: those of the class of the gallery's nearest video."""
    gallery = gallery_of(two_networks(), store)
    features = gallery.features["model"] - gallery.features["model"].mean(dim=0)
    cosines = -features.mean(dim=0) - gallery.features["model"].mean(dim=0)
    nearest = torch.nn.functional.cosine_similarity(features, cosines[None], dim=1).argmax()
    labels = store.label_ids[store.videos(split="test", labelled=True)]
    return float((labels == int(gallery.labels_G[nearest])).mean())


def test_the_clip_settings_are_those_of_the_first_network(squares: FrameStore) -> None:
    networks = two_networks()
    assert clip_settings(networks["model"]).size == 16
    sizes = []

    def spy(_module: object, inputs: tuple[Tensor, ...]) -> None:
        sizes.append(inputs[0].shape[2:])

    for network in networks.values():
        network.encoder.register_forward_pre_hook(spy)
    measured(squares, networks)
    assert set(sizes) == {(8, 16, 16)}
