from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor

from sparsedense.config import Experiment
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.loader import ClipBatch, Draw, TrainingClips
from sparsedense.data.store import FrameStore
from sparsedense.losses.alignment import LocalContrastLoss
from sparsedense.models.encoder import R2PLUS1D, Encoder, EncoderConfig
from sparsedense.models.recogniser import build_recogniser
from sparsedense.objectives_config import (
    AlignmentConfig,
    ConsistencyConfig,
    ContrastConfig,
    GeneratorConfig,
    ObjectiveConfig,
    SpeedConfig,
)
from sparsedense.training.module import SparseDenseModule
from sparsedense.training.objectives import ContrastObjective, build_objectives, check_clips, num_speeds
from sparsedense.training.outcomes import Outcome, outcomes_of
from sparsedense.training.plan import Phase, TrainingPlan
from tests.conftest import tiny_experiment

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")

NOTHING: dict[str, dict[str, Any]] = {"speed": {"weight": 0.0}, "consistency": {"weight": 0.0}}
# Name of the objective, its settings, and the clips that it needs; maps of the tiny encoder have 2 temporal positions.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "binary speed": ("speed", {}, {}),
    "n-way speed": ("speed", {"kind": "n_way"}, {"other_skip_ratios": [2.0]}),
    "speed ranking": ("speed", {"kind": "ranking"}, {}),
    "consistency": ("consistency", {}, {}),
    "consistency with several dense clips": ("consistency", {"kind": "cosine"}, {"dense_clips": 2}),
    "consistency with a teacher": ("consistency", {"target": "teacher"}, {}),
    "alignment": ("alignment", {}, {}),
    "alignment of several clips": ("alignment", {}, {"dense_clips": 2}),
    "tclr": ("alignment", {"across_videos": False, "local_weight": 1.0}, {"dense_clips": 2, "dense_copies": 2}),
    "contrast": ("contrast", {}, {}),
    "contrast with a queue": ("contrast", {"queue_size": 6}, {}),
    "contrast with a teacher": ("contrast", {"queue_size": 6, "use_teacher": True}, {}),
    "vicreg": ("contrast", {"kind": "vicreg"}, {}),
    "generator": ("generator", {}, {"dense_clips": 2, "skip_ratio": 2.0}),
}


def experiment_of(case: str) -> Experiment:
    name, settings, clips = CASES[case]
    objective = NOTHING | {name: {"weight": 1.0} | settings}
    base = asdict(tiny_experiment().clips)
    return tiny_experiment(
        objective=objective,
        clips=base | clips,
        pretrain={"weight_schedule": "constant"},
        augment={"shared_crop": False},
    )


def module_of(experiment: Experiment) -> SparseDenseModule:
    torch.manual_seed(0)
    speeds = num_speeds(experiment.objective, experiment.clips)
    model = build_recogniser(experiment.model, clips=asdict(experiment.clips), num_speeds=speeds)
    plan = TrainingPlan(Phase.PRETRAIN, experiment.pretrain, experiment.objective)
    return SparseDenseModule(model, experiment, plan).train()


def batch_of(experiment: Experiment, store: FrameStore, places: Sequence[int] = (0, 5, 9, 13)) -> ClipBatch:
    videos = store.videos(split=["train", "unlabelled"], min_frames=experiment.clips.min_frames)
    dataset = TrainingClips(store, experiment.clips, experiment.augment, seed=0)
    return dataset.batch([Draw(int(video), 0, place) for place, video in enumerate(videos[list(places)])])


@pytest.mark.parametrize("case", list(CASES))
def test_each_objective_teaches_the_first_layer(squares: FrameStore, case: str) -> None:
    experiment = experiment_of(case)
    made = module_of(experiment)
    assert list(made.objectives) == [CASES[case][0]]
    loss = made.training_step(batch_of(experiment, squares), 0)
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = made.model.encoder.get_parameter("backbone.stem.0.weight").grad
    assert isinstance(gradient, Tensor)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 1e-8


@pytest.mark.parametrize("case", list(CASES))
def test_the_gradient_that_is_logged_is_that_of_the_loss(squares: FrameStore, case: str) -> None:
    experiment = experiment_of(case)
    made, logged = module_of(experiment), dict[str, Tensor]()
    made._log_epoch = lambda values, batch_size: logged.update(values)  # type: ignore[method-assign]
    loss = made.training_step(batch_of(experiment, squares), 0)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in made.model.encoder.parameters() if parameter.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    assert float(logged[f"gradient_{CASES[case][0]}"]) == pytest.approx(float(norm), rel=1e-4)


GUESSED = [name for name, (kind, *_) in CASES.items() if kind not in ("consistency", "generator") and name != "vicreg"]


@pytest.mark.parametrize("case", GUESSED)
def test_the_guess_is_the_loss_of_equal_clips(squares: FrameStore, case: str) -> None:
    """Where all embeddings are the same, nothing can be told."""
    experiment = experiment_of(case)
    made = module_of(experiment)
    for part in (made.model.encoder, made.model.speed_head, made.teacher):
        for parameter in part.parameters() if part is not None else ():
            parameter.data.zero_()
    batch = batch_of(experiment, squares)
    maps = made._maps(made._augmented(batch, with_sparse=True), batch)
    (outcome,) = outcomes_of({case: made.objectives[CASES[case][0]](maps)}).values()
    assert float(outcome.loss.detach()) == pytest.approx(outcome.guess, rel=1e-4)


def test_a_queue_fills_after_the_loss_and_a_teacher_follows(squares: FrameStore) -> None:
    experiment = experiment_of("contrast with a teacher")
    made = module_of(experiment)
    contrast = made.objectives["contrast"]
    assert isinstance(contrast, ContrastObjective)
    assert contrast.queue is not None
    assert contrast.teacher_head is not None
    assert made.teacher is not None
    batch = batch_of(experiment, squares)
    assert len(contrast.queue.keys()) == 0
    made.training_step(batch, 0)
    assert len(contrast.queue.keys()) == 4
    before = [next(part.parameters()).clone() for part in (made.teacher, contrast.teacher_head)]
    with torch.no_grad():
        for part in (made.model.encoder, contrast.head):
            next(part.parameters()).add_(1.0)
    made.on_train_batch_end()
    momentum = experiment.objective.teacher_momentum
    for old, teacher in zip(before, (made.teacher, contrast.teacher_head), strict=True):
        assert torch.allclose(next(teacher.parameters()), old + (1 - momentum), atol=1e-6)


def test_teachers_and_queues_are_not_trained(squares: FrameStore) -> None:
    made = module_of(experiment_of("contrast with a teacher"))
    trained = {id(parameter) for parameter in made.parameters() if parameter.requires_grad}
    assert made.teacher is not None
    assert not any(id(parameter) in trained for parameter in made.teacher.parameters())


def test_a_loss_that_does_not_reach_the_encoder_is_told_as_0(squares: FrameStore) -> None:
    experiment = experiment_of("contrast")
    made = module_of(experiment)
    batch = batch_of(experiment, squares)
    maps = made._maps(made._augmented(batch, with_sparse=True), batch)
    loss = outcomes_of({"contrast": made.objectives["contrast"](maps)})["contrast"].loss
    elsewhere = torch.ones((), requires_grad=True) * 2
    norms = made._gradients({"lost": Outcome(loss.detach()), "elsewhere": Outcome(elsewhere), "told": Outcome(loss)})
    assert float(norms["gradient_lost"]) == float(norms["gradient_elsewhere"]) == 0
    assert float(norms["gradient_told"]) > 0


def test_all_dense_clips_of_a_video_are_classified(squares: FrameStore) -> None:
    experiment = experiment_of("alignment of several clips")
    model = build_recogniser(experiment.model, ("a", "b", "c"), clips=asdict(experiment.clips))
    plan = TrainingPlan(Phase.FINETUNE, experiment.finetune, experiment.objective)
    made = SparseDenseModule(model, experiment, plan)
    maps = torch.randn(4, model.encoder.feature_dim, 2, 1, 1)
    told = made._classification(maps, torch.tensor([2, 0]))
    assert [len(rows) for rows in told.rows] == [2, 2], "a row a video: those of all objectives are gathered together"
    loss = outcomes_of({"classification": told})["classification"].loss
    assert model.classifier is not None
    expected = torch.nn.functional.cross_entropy(model.classifier(maps.mean((2, 3, 4))), torch.tensor([2, 2, 0, 0]))
    assert float(loss.detach()) == pytest.approx(float(expected.detach()))


def test_only_weighted_objectives_are_built() -> None:
    config = ObjectiveConfig(consistency=ConsistencyConfig(weight=0), contrast=ContrastConfig(weight=0.5))
    built = build_objectives(config, ClipConfig(), feature_dim=8, map_positions=lambda _: 4)
    assert list(built) == ["speed", "contrast"]


@pytest.mark.parametrize(
    ("config", "clips", "message"),
    [
        (ObjectiveConfig(generator=GeneratorConfig(weight=1)), ClipConfig(), "generator needs one dense clip"),
        (
            ObjectiveConfig(alignment=AlignmentConfig(weight=1, local_weight=1)),
            ClipConfig(dense_clips=4),
            "dense_copies",
        ),
        (
            ObjectiveConfig(alignment=AlignmentConfig(weight=1, local_weight=1)),
            ClipConfig(dense_clips=1, dense_copies=2),
            r"clips\.dense_clips \(1\) to at least 2",
        ),
        (ObjectiveConfig(speed=SpeedConfig(kind="n_way")), ClipConfig(), "other_skip_ratios"),
    ],
    ids=["generator", "local alignment", "local alignment of one place", "n-way speed"],
)
def test_an_objective_says_which_clips_it_needs(config: ObjectiveConfig, clips: ClipConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_objectives(config, clips, feature_dim=8, map_positions=lambda _: 4)


def test_the_loss_of_one_place_alone_would_teach_nothing() -> None:
    """So it is refused: it has nothing to tell the place from."""
    embeddings = [torch.randn(3, 1, 8, requires_grad=True) for _ in range(2)]
    assert float(LocalContrastLoss()(*embeddings).detach()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("backbone", "length", "fitting"),
    [(R2PLUS1D, 10, "9 or 12"), ("s3d", 28, "27 or 32"), ("mvit_v2_s", 5, "4 or 6"), ("swin3d_t", 7, "6 or 8")],
)
@pytest.mark.parametrize("name", ["alignment", "consistency"])
def test_frames_that_the_positions_do_not_share_are_refused(
    backbone: str, length: int, fitting: str, name: str
) -> None:
    encoder = Encoder(EncoderConfig(10, 0.0625) if backbone == R2PLUS1D else EncoderConfig(backbone=backbone))
    nothing = {"speed": SpeedConfig(weight=0), "consistency": ConsistencyConfig(weight=0)}
    wanted = {"alignment": AlignmentConfig(weight=1), "consistency": ConsistencyConfig(weight=1)}
    config = ObjectiveConfig(**nothing | {name: wanted[name]})  # type: ignore[arg-type]
    positions = encoder.map_positions(length)
    told = rf"clips\.length \({length}\) .* K = {positions} .*objective\.{name} .*set clips\.length to {fitting}$"
    with pytest.raises(ValueError, match=told):
        check_clips(config, ClipConfig(length=length), encoder.map_positions)
    for shared in fitting.split(" or "):
        check_clips(config, ClipConfig(length=int(shared)), encoder.map_positions)
    without = ObjectiveConfig(speed=SpeedConfig(), consistency=ConsistencyConfig(weight=0))
    check_clips(without, ClipConfig(length=length), encoder.map_positions)


def test_a_module_of_such_clips_is_not_built() -> None:
    experiment = tiny_experiment(clips={"length": 10})
    with pytest.raises(ValueError, match=r"clips\.length \(10\) .* set clips\.length to 9 or 12"):
        module_of(experiment)


@pytest.mark.parametrize(
    "make",
    [lambda: ContrastConfig(queue_size=-1), lambda: ContrastConfig(kind="vicreg", queue_size=4)],
    ids=["negative queue", "vicreg with a queue"],
)
def test_contrast_settings_that_make_no_sense(make: Callable[[], ContrastConfig]) -> None:
    with pytest.raises(ValueError, match=r"objective\.contrast"):
        make()


def test_speed_outputs() -> None:
    clips = ClipConfig(other_skip_ratios=(2.0, 8.0))
    kinds = {kind: ObjectiveConfig(speed=SpeedConfig(kind=kind)) for kind in ("binary", "n_way", "ranking")}
    assert {kind: num_speeds(config, clips) for kind, config in kinds.items()} == {
        "binary": 2,
        "n_way": 4,
        "ranking": 1,
    }
