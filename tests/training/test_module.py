from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparsedense.config import Experiment
from sparsedense.data.loader import ClipBatch, Draw, TrainingClips
from sparsedense.data.sampling import interval_positions
from sparsedense.data.store import FrameStore
from sparsedense.losses.consistency import ConsistencyLoss
from sparsedense.models.encoder import pool
from sparsedense.models.recogniser import build_recogniser
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.objectives import centre_frames
from sparsedense.training.plan import Phase, TrainingPlan
from tests.conftest import MOTIONS, tiny_experiment

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")

SPEED, CONSISTENCY, CLASSIFICATION = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
EVERYTHING = (1.0, 1.0, 1.0)
NO_CHANGE = {
    "flip_probability": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue_degrees": 0.0,
    "grey_probability": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class FixedPlan(TrainingPlan):
    """The same weights in every epoch."""

    fixed: tuple[float, float, float] = EVERYTHING

    def weights(self, epoch: int) -> dict[str, float]:
        return dict(zip(("speed", "consistency", "classification"), self.fixed, strict=True))


def module(weights: tuple[float, float, float] = EVERYTHING, **changes: Any) -> SparseDenseModule:
    experiment: Experiment = tiny_experiment(**changes)
    torch.manual_seed(0)
    model = build_recogniser(experiment.model, tuple(MOTIONS), clips=asdict(experiment.clips))
    plan = FixedPlan(Phase.TRAIN, experiment.train, experiment.objective, fixed=weights)
    return SparseDenseModule(model, experiment, plan).train()


@pytest.fixture
def batch(squares: FrameStore) -> ClipBatch:
    experiment = tiny_experiment()
    videos = squares.videos(split=["train", "unlabelled"], min_frames=32)
    dataset = TrainingClips(squares, experiment.clips, experiment.augment, seed=0, labelled=videos)
    return dataset.batch([Draw(int(video), 0, place) for place, video in enumerate(videos[[0, 5, 9, 13]])])


def stem_gradient(made: SparseDenseModule) -> Tensor:
    gradient = made.model.encoder.get_parameter("backbone.stem.0.weight").grad
    assert isinstance(gradient, Tensor)
    return gradient


@pytest.mark.parametrize(
    ("weights", "kind"),
    [(SPEED, "jsd"), (CONSISTENCY, "jsd"), (CONSISTENCY, "cosine"), (CLASSIFICATION, "jsd"), (EVERYTHING, "jsd")],
    ids=["speed", "jsd", "cosine", "classification", "everything"],
)
def test_each_loss_reaches_the_first_layer(batch: ClipBatch, weights: tuple[float, float, float], kind: str) -> None:
    made = module(weights, objective={"consistency": {"kind": kind}})
    loss = made.training_step(batch, 0)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = stem_gradient(made)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 1e-8


@pytest.mark.parametrize("phase", list(Phase))
def test_the_first_step_of_each_phase(batch: ClipBatch, phase: Phase) -> None:
    made = module()
    made.plan = TrainingPlan(phase, getattr(made.experiment, phase.value), made.experiment.objective)
    loss = made.training_step(batch, 0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert stem_gradient(made).abs().max() > 0


def test_the_total_is_the_weighted_sum(batch: ClipBatch) -> None:
    parts = [module(weights).training_step(batch, 0).item() for weights in (SPEED, CONSISTENCY)]
    weighted = module((0.3, 2.0, 0.0)).training_step(batch, 0).item()
    assert weighted == pytest.approx(0.3 * parts[0] + 2 * parts[1], rel=1e-5)


@pytest.fixture
def spied() -> Iterator[tuple[SparseDenseModule, list[Tensor]]]:
    made, seen = module(), []
    handle = made.model.encoder.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    yield made, seen
    handle.remove()


def test_both_views_go_through_the_encoder_at_once(batch: ClipBatch) -> None:
    made, seen, norms = module(augment=NO_CHANGE), [], []
    first_norm = made.model.encoder.get_submodule("backbone.stem.1")
    assert isinstance(first_norm, nn.BatchNorm3d)
    made.model.encoder.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    first_norm.register_forward_pre_hook(lambda _module, inputs: norms.append(len(inputs[0])))
    made.training_step(batch, 0)
    assert norms == [8], "BatchNorm has its statistics from both views"
    (clips,) = seen
    expected = torch.cat([batch["dense"], batch["sparse"]]).float() / 255
    assert torch.allclose(clips, expected, atol=1e-5)


def test_classification_alone_leaves_the_sparse_clips_out(
    batch: ClipBatch, spied: tuple[SparseDenseModule, list[Tensor]]
) -> None:
    made, seen = spied
    made.plan = FixedPlan(Phase.FINETUNE, made.plan.config, made.plan.objective, fixed=CLASSIFICATION)
    made.training_step(batch, 0)
    assert [len(clips) for clips in seen] == [4]


def test_clips_of_a_step_share_their_flip_but_not_their_colours(
    batch: ClipBatch, spied: tuple[SparseDenseModule, list[Tensor]]
) -> None:
    made, seen = spied
    same = batch.copy()
    same["sparse"] = same["dense"]
    made.training_step(same, 0)
    dense, sparse = seen[0].chunk(2)
    for one, other in zip(dense, sparse, strict=True):
        assert not torch.allclose(one, other, atol=1e-3)
        luminance, flipped = (clip.mean(dim=0) for clip in (other, other.flip(-1)))
        alike, mirrored = (
            np.corrcoef(one.mean(dim=0).flatten().numpy(), candidate.flatten().numpy())[0, 1]
            for candidate in (luminance, flipped)
        )
        assert alike > mirrored


def test_the_draw_decides_the_augmentation(batch: ClipBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = module(), []
    made.model.encoder.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    torch.manual_seed(1)
    made.training_step(batch, 0)
    torch.manual_seed(2)  # what ran before does not matter, nor which process it is and how many steps it has done
    with monkeypatch.context() as patch:
        for name in ("global_step", "global_rank"):
            patch.setattr(SparseDenseModule, name, 7)
        made.training_step(batch, 0)
    assert torch.equal(seen[0], seen[1])
    with monkeypatch.context() as patch:
        patch.setattr(SparseDenseModule, "current_epoch", 1)
        made.training_step(batch, 0)
    moved = batch.copy()
    moved["position"] = batch["position"] + 10
    made.training_step(moved, 0)
    made.experiment = replace(made.experiment, seed=1)
    made.training_step(batch, 0)
    for other in seen[2:]:
        assert not any(torch.equal(one, changed) for one, changed in zip(seen[0], other, strict=True))


def test_unlabelled_videos_do_not_change_the_classification_loss(batch: ClipBatch) -> None:
    labels = batch["label"].clone()
    batch["label"] = torch.tensor([int(labels[0]), -1, -1, -1])
    loss = module(CLASSIFICATION).training_step(batch, 0).item()
    made = module(CLASSIFICATION)
    maps: list[Tensor] = []
    made.model.encoder.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    made.training_step(batch, 0)
    assert made.model.classifier is not None
    logits = made.model.classifier(pool(maps[0])[:1])
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, labels[:1]).item(), rel=1e-5)
    batch["label"] = torch.full((4,), -1)
    assert module(CLASSIFICATION).training_step(batch, 0).item() == 0


def test_the_consistency_loss_gets_positions_in_frames(batch: ClipBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    made, calls = module(CONSISTENCY), []

    def spy(_loss: ConsistencyLoss, *arguments: Tensor) -> Tensor:
        calls.append(arguments)
        return arguments[0].sum()

    monkeypatch.setattr(ConsistencyLoss, "forward", spy)
    made.training_step(batch, 0)
    (dense_map, sparse_map, dense_frame, sparse_frames, dense_position, positions), *_ = calls
    assert dense_map.shape == sparse_map.shape == (4, made.model.encoder.feature_dim, 2, 1, 1)
    assert positions.numpy() == pytest.approx(interval_positions(batch["sparse_indices"].numpy(), 2))
    assert dense_position.tolist() == pytest.approx(batch["dense_indices"][:, 0].double().mean(dim=1).tolist())
    assert torch.equal(sparse_frames[1, 0], batch["sparse"][1, :, 2].float() / 255)
    assert torch.equal(dense_frame[3], batch["dense"][3, :, 4].float() / 255)


@pytest.mark.parametrize(
    ("frames", "intervals", "centres"), [(16, 4, [2, 6, 10, 14]), (8, 2, [2, 6]), (6, 6, range(6))]
)
def test_centre_frames(frames: int, intervals: int, centres: list[int]) -> None:
    numbered = torch.arange(frames, dtype=torch.uint8).view(1, 1, frames, 1, 1).expand(2, 3, frames, 4, 5)
    sparse, dense = centre_frames(numbered, numbered + 100, intervals)
    assert sparse.shape == (2, intervals, 3, 4, 5)
    assert dense.shape == (2, 3, 4, 5)
    assert (sparse * 255)[1, :, 2, 0, 0].tolist() == pytest.approx(list(centres))
    assert float(dense[0, 0, 0, 0] * 255) == pytest.approx(100 + frames // 2)


def test_heads_that_are_missing_are_told(batch: ClipBatch) -> None:
    made = module(SPEED)
    made.model.speed_head = None
    with pytest.raises(ValueError, match="the model has no speed head"):
        made.training_step(batch, 0)
    made = module(CLASSIFICATION)
    made.model.classifier = None
    with pytest.raises(ValueError, match="the model has no classifier"):
        made.training_step(batch, 0)


def test_the_optimiser_follows_the_plan() -> None:
    made = module(finetune={"epochs": 4, "rate_schedule": "cosine", "weight_decay": 0.05, "learning_rate": 0.01})
    made.plan = TrainingPlan(Phase.FINETUNE, made.experiment.finetune, made.experiment.objective)
    configured: Any = made.configure_optimizers()
    optimiser, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert optimiser.param_groups[0]["weight_decay"] == 0.05
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(list(made.parameters()))
    for epoch in range(4):
        assert optimiser.param_groups[0]["lr"] == pytest.approx(made.plan.rate(epoch))
        optimiser.step()
        scheduler.step()


def test_validation_measures_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module()
    logged: dict[str, float] = {}
    record = lambda _module, name, value, **_options: logged.update({name: torch.as_tensor(value).item()})  # noqa: E731
    monkeypatch.setattr(SparseDenseModule, "log", record)
    assert made.model.classifier is not None
    nn.init.zeros_(made.model.classifier.linear.weight)
    with torch.no_grad():
        made.model.classifier.linear.bias.copy_(torch.tensor([0.0, 5.0, 0.0]))
    clips = torch.zeros(3, 3, 8, 16, 16, dtype=torch.uint8)
    for labels in ([1, 1, 0], [1, 2, 2]):
        made.validation_step((clips, torch.arange(3), torch.tensor(labels)), 0)
    made.on_validation_epoch_end()
    assert logged["validation_accuracy"] == pytest.approx(0.5)
    assert logged["validation_f1"] == pytest.approx((2 * 0.5 / 1.5) / 3)
    made.validation_step((clips, torch.arange(3), torch.tensor([1, 1, 1])), 0)
    made.on_validation_epoch_end()
    assert logged["validation_accuracy"] == 1, "the epoch before is forgotten"
