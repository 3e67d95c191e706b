import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.store import FrameStore
from sparsedense.evaluation import linear_probe
from sparsedense.evaluation.inference import clip_outputs
from sparsedense.evaluation.knn import knn_accuracy
from sparsedense.evaluation.probe import Probe, probe
from sparsedense.evaluation.probe_samples import NUM_RANDOM, random_network
from sparsedense.models.encoder import Encoder
from sparsedense.models.model_file import save_model
from sparsedense.models.recogniser import Recogniser
from tests.conftest import TEST_PER_CLASS, TRAIN_PER_CLASS
from tests.evaluation.colour_model import tiny_recogniser

FIGURES = {"knn", "linear", "retrieval", "effective_rank", "feature_std", "uniformity", "alignment"}
SETTINGS = {
    "split", "labels_per_class", "clips_per_video", "robustness_clips", "gallery_videos", "query_videos",
    "feature_dim", "seed",
}  # fmt: skip
QUICK: dict[str, Any] = {"robustness": False, "controls": False, "labels_per_class": None, "num_workers": 0}
TEST_VIDEOS = 3 * TEST_PER_CLASS + 1  # `right` has a short one more


class ColourEncoder(Encoder):
    """Tells the class of the squares and nothing else: the mean colour in the first three of its channels."""

    def forward(self, clips_BCTHW: Tensor) -> Tensor:
        colours = clips_BCTHW.mean(dim=(2, 3, 4), keepdim=True)
        colours = colours - colours.mean(dim=1, keepdim=True)
        return torch.nn.functional.pad(colours, (0, 0, 0, 0, 0, 0, 0, self.feature_dim - 3))


def colour_model() -> Recogniser:
    model = tiny_recogniser()
    model.encoder = ColourEncoder(model.encoder.config)
    return model


@pytest.fixture(scope="module", autouse=True)
def _short_fits() -> Iterator[None]:
    """A linear probe is not at its optimum after ten steps; how good it is has its own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_probe, "_MOST_ITERATIONS", 10)
        yield


@pytest.fixture(scope="module")
def whole(squares: FrameStore) -> Probe:
    """All that a probe measures, of a model that is the untrained network itself."""
    model = random_network(tiny_recogniser(), seed=0)
    model.speed_head = tiny_recogniser().speed_head
    return probe(
        model, squares, labels_per_class=2, clips_per_video=3, robustness_clips=1, control_videos=3, num_workers=0
    )


def test_the_json_has_the_documented_keys(whole: Probe) -> None:
    written = json.loads(json.dumps(asdict(whole), allow_nan=False))
    assert set(written) == FIGURES | SETTINGS | {"controls", "robustness"}
    for name in FIGURES:
        assert set(written[name]) == {"model", "random", "untrained"}
    assert set(written["retrieval"]["model"]) == {"r1", "r5"}, "of 6 gallery videos"
    assert set(written["controls"]) == {"real", "frozen", "shuffled", "reencoded"}
    assert set(written["robustness"]) == {"clean", "gaussian_noise", "blur", "jpeg", "brightness", "frame_rate"}
    assert set(written["robustness"]["clean"]) == {"model", "untrained"}
    assert all(len(written["robustness"]["blur"][name]) == 5 for name in ("model", "untrained"))
    assert {name: written[name] for name in SETTINGS} == {
        "split": "test", "labels_per_class": 2, "clips_per_video": 3, "robustness_clips": 1, "gallery_videos": 6,
        "query_videos": TEST_VIDEOS, "feature_dim": 32, "seed": 0,
    }  # fmt: skip


def test_the_untrained_network_is_as_good_as_itself(whole: Probe) -> None:
    """Both read the same clips, with the same noise, and are judged alike."""
    for name, figures in asdict(whole).items():
        if name in FIGURES | {"robustness"}:
            pairs = figures.values() if name == "robustness" else [figures]
            assert all(pair["model"] == pair["untrained"] for pair in pairs), name
    assert whole.knn["model"] == whole.retrieval["model"]["r1"]


def test_alignment_is_of_different_clips_of_a_video(squares: FrameStore) -> None:
    model = tiny_recogniser()
    result = probe(model, squares, split="val", clips_per_video=4, **QUICK)
    clips = clip_outputs(model, squares, squares.videos(split="val"), model.features, num_clips=4, num_workers=0)
    clips = torch.nn.functional.normalize(clips, dim=2)
    expected = float((clips[:, [0, 1]] - clips[:, [2, 3]]).square().sum(dim=2).mean())
    assert result.alignment is not None
    assert result.alignment["model"] == pytest.approx(expected, rel=1e-3)
    assert expected > 1e-5


def test_features_that_tell_the_class_are_found_out(squares: FrameStore) -> None:
    result = probe(colour_model(), squares, clips_per_video=2, **QUICK)
    assert result.knn["model"] == result.linear["model"] == 1
    assert all(share == 1 for share in result.retrieval["model"].values())
    assert 1 < result.effective_rank["model"] < 2.01, "colours about their grey lie in a plane"
    assert result.alignment is not None
    assert result.alignment["model"] < 0.01, "the colour of a video stays"
    assert result.uniformity["model"] < -1, "three places far from each other"
    assert (result.gallery_videos, result.query_videos) == (3 * TRAIN_PER_CLASS, TEST_VIDEOS)


def test_the_nearest_neighbour_is_that_of_knn_accuracy(squares: FrameStore) -> None:
    model = tiny_recogniser()
    result = probe(model, squares, split="val", clips_per_video=3, **QUICK)
    expected = knn_accuracy(model, squares, query_split="val", num_clips=3)
    assert result.knn["model"] == pytest.approx(expected)


def test_a_collapsed_encoder_shows(squares: FrameStore) -> None:
    class Collapsed(Encoder):
        def forward(self, clips_BCTHW: Tensor) -> Tensor:
            return torch.ones(len(clips_BCTHW), self.feature_dim, 1, 1, 1)

    model = tiny_recogniser()
    model.encoder = Collapsed(model.encoder.config)
    result = probe(model, squares, clips_per_video=2, **QUICK)
    assert result.effective_rank["model"] == pytest.approx(1, abs=1e-3)
    assert result.feature_std["model"] == pytest.approx(0, abs=1e-6)
    assert result.uniformity["model"] == pytest.approx(0, abs=1e-5)
    assert result.effective_rank["random"] > 1.05


def test_each_clip_is_read_and_computed_once(squares: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    model, reads, seen = tiny_recogniser(), [], []
    real_read = FrameStore.read_clips

    def spy(self: FrameStore, video_id: int, *rest: Any) -> None:
        reads.append(video_id)
        real_read(self, video_id, *rest)

    monkeypatch.setattr(FrameStore, "read_clips", spy)
    real_input = model.encoder.network_input

    def seen_input(clips: Tensor) -> Tensor:
        seen.append(len(clips))
        return real_input(clips)

    monkeypatch.setattr(model.encoder, "network_input", seen_input)
    steps: list[tuple[int, int]] = []
    probe(model, squares, clips_per_video=4, progress=lambda done, total: steps.append((done, total)), **QUICK)
    clips = 4 * (3 * TRAIN_PER_CLASS + TEST_VIDEOS)
    assert len(reads) == sum(seen) == clips
    assert steps[-1] == (clips, clips)


def test_nothing_of_the_caller_is_changed(squares: FrameStore) -> None:
    model = tiny_recogniser().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options = {**QUICK, "controls": True, "control_videos": 2, "robustness": True, "robustness_clips": 1}
    probe(model, squares, split="val", clips_per_video=1, **options)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), "BatchNorm included"


def test_random_is_the_mean_over_networks_with_default_weights(squares: FrameStore) -> None:
    model = tiny_recogniser()
    result = probe(model, squares, split="val", clips_per_video=2, **QUICK)
    alone = [
        probe(random_network(model, seed=seed, default_weights=True), squares, split="val", clips_per_video=2, **QUICK)
        for seed in range(NUM_RANDOM)
    ]
    for name in ("knn", "linear", "feature_std", "effective_rank", "uniformity"):
        values = [getattr(found, name)["model"] for found in alone]
        assert getattr(result, name)["random"] == pytest.approx(sum(values) / NUM_RANDOM), name
    assert len({found.feature_std["model"] for found in alone}) == NUM_RANDOM
    r1 = [found.retrieval["model"]["r1"] for found in alone]
    assert result.retrieval["random"]["r1"] == pytest.approx(sum(r1) / NUM_RANDOM)


def test_default_weights_are_those_of_pytorch() -> None:
    """PyTorch draws uniformly within 1 / sqrt(fan in); training starts from normal weights of a variance of its own."""
    model = tiny_recogniser()
    for default_weights in (True, False):
        network = random_network(model, seed=0, default_weights=default_weights)
        within = [
            float(layer.weight.detach().abs().max()) <= layer.weight[0].numel() ** -0.5
            for layer in network.modules()
            if isinstance(layer, torch.nn.Conv3d)
        ]
        assert all(within) if default_weights else not any(within)


def test_the_random_network_leaves_the_callers_random_numbers_alone() -> None:
    model = tiny_recogniser()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    network = random_network(model, seed=0)
    assert torch.equal(torch.rand(3), expected)
    assert not network.training


def test_the_seed_draws_the_random_network_and_the_labels(squares: FrameStore) -> None:
    model = tiny_recogniser()
    options = {**QUICK, "labels_per_class": 1, "clips_per_video": 2}
    once, again, other = (probe(model, squares, seed=seed, **options) for seed in (0, 0, 1))
    assert once == again
    assert once.feature_std["random"] != other.feature_std["random"]
    assert once.feature_std["untrained"] != other.feature_std["untrained"]
    assert once.feature_std["model"] == other.feature_std["model"]


def test_progress_rises_to_the_end(squares: FrameStore) -> None:
    steps: list[tuple[int, int]] = []
    probe(
        colour_model(), squares, clips_per_video=1, labels_per_class=1, robustness_clips=1, control_videos=2,
        num_workers=0, progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    assert len({total for _, total in steps}) == 1


def test_files_will_do(squares: FrameStore, tmp_path: Any) -> None:
    model = tiny_recogniser()
    save_model(tmp_path / "model.safetensors", model, provenance={})
    options = {**QUICK, "clips_per_video": 1, "labels_per_class": 1, "split": "val"}
    from_files = probe(tmp_path / "model.safetensors", squares.path, **options)
    assert from_files == probe(model, squares, **options)


def test_what_cannot_be_measured_is_left_out(squares: FrameStore) -> None:
    model = tiny_recogniser()
    options = {**QUICK, "controls": True, "control_videos": 1, "clips_per_video": 1, "split": "val"}
    result = probe(model, squares, **options)
    assert result.controls is not None
    assert result.alignment is None, "one clip a video has no other to agree with"
    assert result.robustness is None
    long_clips = tiny_recogniser()
    long_clips.clips["min_dense_stride_frames"] = 10.0
    assert probe(long_clips, squares, **options).controls is None, "no video is long enough"
    model.speed_head = None
    assert probe(model, squares, **options).controls is None


def test_control_videos_come_from_all_classes(squares: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[NDArray[np.int64]] = []

    def spy(_model: object, _store: object, video_ids: NDArray[np.int64], **_options: object) -> None:
        chosen.append(video_ids)
        raise InterruptedError

    monkeypatch.setattr("sparsedense.evaluation.probe.speed_controls", spy)
    with pytest.raises(InterruptedError):
        probe(tiny_recogniser(), squares, control_videos=3, **{**QUICK, "controls": True, "clips_per_video": 1})
    assert sorted(squares.label_ids[chosen[0]].tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "train"}, "split must not be 'train'"),
        ({"split": "unlabelled"}, r"at least two labelled videos in the splits train \(12\) and unlabelled \(0\)"),
        ({"split": "tset"}, "split 'tset' is not known"),
        ({"labels_per_class": 5}, r"labels_per_class is 5, .* diagonal \(4\)"),
        ({"clips_per_video": 0}, r"clips_per_video \(0\) must be at least 1"),
        ({"robustness_clips": 0}, r"robustness_clips \(0\) must be at least 1"),
        ({"control_videos": 0}, r"control_videos \(0\) must be at least 1"),
    ],
)
def test_what_does_not_fit_is_an_error(options: dict[str, Any], message: str, squares: FrameStore) -> None:
    with pytest.raises(ValueError, match=message):
        probe(tiny_recogniser(), squares, **{**QUICK, **options})
