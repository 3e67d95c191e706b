import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sparsedense.config import Experiment
from sparsedense.data.store import FrameStore
from sparsedense.training.clip_streams import (
    ClipStreams,
    video_pools,
    warn_of_short_videos,
    warn_of_untaught_classes,
)
from sparsedense.training.plan import Phase, TrainingPlan
from tests.conftest import TRAIN_PER_CLASS, UNLABELLED, VAL_PER_CLASS, FewSquares, tiny_experiment

TRAIN = 3 * TRAIN_PER_CLASS

Streams = Callable[..., ClipStreams]


@pytest.fixture
def streams(squares: FrameStore) -> Streams:
    def make(phase: Phase, *, epoch: int = 0, rank: int = 0, world_size: int = 1, **changes: Any) -> ClipStreams:
        experiment = tiny_experiment(**changes)
        plan = TrainingPlan(phase, getattr(experiment, phase), experiment.objective)
        made = ClipStreams(squares, video_pools(squares, experiment, phase), experiment, plan)
        stand_in: Any = SimpleNamespace(current_epoch=epoch, global_rank=rank, world_size=world_size)
        made.trainer = stand_in
        return made

    return make


def ids(made: ClipStreams) -> list[int]:
    return [int(video) for batch in made.train_dataloader() for video in batch["video_id"]]


def pools_for(squares: FrameStore, phase: Phase, experiment: Experiment | None = None) -> Any:
    return video_pools(squares, experiment or tiny_experiment(), phase)


def test_pretraining_sees_no_label_and_leaves_short_videos_out(squares: FrameStore) -> None:
    pools = pools_for(squares, Phase.PRETRAIN)
    assert len(pools.everything) == TRAIN + UNLABELLED
    assert pools.too_short == 1
    assert len(pools.labelled) == 0
    assert squares.num_frames[pools.everything].min() >= tiny_experiment().clips.min_frames
    assert set(squares.splits[pools.everything]) == {"train", "unlabelled"}


def test_a_length_filter_that_leaves_out_most_videos_is_told(squares: FrameStore) -> None:
    strict = tiny_experiment(clips={"min_dense_stride_frames": 1.6})
    kept = len(pools_for(squares, Phase.PRETRAIN, strict).everything)
    assert 0 < kept < (TRAIN + UNLABELLED) // 2
    told = f"only {kept} of {TRAIN + UNLABELLED + 1} training videos have the {strict.clips.min_frames} frames"
    with pytest.warns(UserWarning, match=told):
        warn_of_short_videos(pools_for(squares, Phase.PRETRAIN, strict), strict)
    with warnings.catch_warnings(action="error"):
        warn_of_short_videos(pools_for(squares, Phase.PRETRAIN), tiny_experiment())


@pytest.mark.parametrize("phase", [Phase.FINETUNE, Phase.TRAIN])
def test_labels_are_those_of_the_training_videos(squares: FrameStore, phase: Phase) -> None:
    pools = pools_for(squares, phase)
    assert len(pools.labelled) == TRAIN
    assert set(squares.splits[pools.labelled]) == {"train"}
    assert len(pools.validation) == 3 * VAL_PER_CLASS
    assert set(squares.splits[pools.validation]) == {"val"}


def test_few_labels_are_drawn_by_the_seed(squares: FrameStore) -> None:
    few = [
        pools_for(squares, Phase.FINETUNE, tiny_experiment(labels_per_class=2, seed=seed)).labelled for seed in (0, 1)
    ]
    assert [len(chosen) for chosen in few] == [6, 6]
    assert set(few[0]) != set(few[1])


def test_a_published_list_names_the_labelled_videos(squares: FrameStore, tmp_path: Path) -> None:
    chosen = squares.videos(split="train", labelled=True)[[0, 3, 5]]
    (tmp_path / "few.txt").write_text("\n".join([*(squares.paths[video] for video in chosen), "up/never_filmed.mp4"]))
    pools = pools_for(squares, Phase.FINETUNE, tiny_experiment(labelled_list=str(tmp_path / "few.txt")))
    assert sorted(pools.labelled) == sorted(chosen)
    assert pools.list_mismatches == {"missing": 1, "rejected": 0, "too_short": 0, "mislabelled": 0}


def test_a_published_list_that_does_not_exist_is_told_with_its_option(squares: FrameStore) -> None:
    with pytest.raises(FileNotFoundError, match=r"^--labelled-list nope\.txt: no such file; expected a text file"):
        pools_for(squares, Phase.FINETUNE, tiny_experiment(labelled_list="nope.txt"))


def test_labels_are_chosen_in_one_way() -> None:
    with pytest.raises(ValueError, match=r"labels_per_class \(2\) and labelled_list \(few.txt\)"):
        tiny_experiment(labels_per_class=2, labelled_list="few.txt")


def test_a_store_without_long_videos_is_an_error(squares: FrameStore) -> None:
    too_long = tiny_experiment(clips={"min_dense_stride_frames": 50.0})
    with pytest.raises(ValueError, match=r"no training video of at least 1600 frames .*lower --clips\.skip_ratio"):
        pools_for(squares, Phase.PRETRAIN, too_long)
    with pytest.raises(ValueError, match="no labelled training video of at least 1600 frames"):
        pools_for(squares, Phase.FINETUNE, too_long)


@pytest.mark.parametrize("phase", [Phase.FINETUNE, Phase.TRAIN])
def test_a_store_without_labels_is_not_said_to_have_short_videos(few_squares: FewSquares, phase: Phase) -> None:
    store = few_squares(("unlabelled/unknown_0.mp4", "", ""), ("unlabelled/unknown_1.mp4", "", ""))
    for labels in (None, 3):
        with pytest.raises(ValueError, match=r"few: there is no labelled training video; put videos into class fold"):
            pools_for(store, phase, tiny_experiment(labels_per_class=labels))
    assert len(pools_for(store, Phase.PRETRAIN).everything) == 2


def test_one_class_or_one_video_is_too_few(few_squares: FewSquares) -> None:
    store = few_squares(
        ("train/down/down_train0.mp4", "down", "train"), ("test/right/right_test0.mp4", "right", "test")
    )
    with pytest.raises(ValueError, match=r"training videos are of the class 'down'; .* at least 2 classes"):
        pools_for(store, Phase.FINETUNE)
    with pytest.raises(ValueError, match=r"only 1 training video has the .* at least 2 videos"):
        pools_for(store, Phase.PRETRAIN)


def test_classes_without_training_videos_are_told(few_squares: FewSquares, squares: FrameStore) -> None:
    train = [(f"train/{name}/{name}_train0.mp4", name, "train") for name in ("down", "right")]
    store = few_squares(*train, ("test/diagonal/diagonal_test0.mp4", "diagonal", "test"))
    with pytest.warns(UserWarning, match="no labelled training video of 1 class, which .*: 'diagonal'; see"):
        warn_of_untaught_classes(pools_for(store, Phase.FINETUNE))
    with warnings.catch_warnings(action="error"):
        warn_of_untaught_classes(pools_for(squares, Phase.FINETUNE))
        warn_of_untaught_classes(pools_for(squares, Phase.PRETRAIN))


def test_the_curriculum_draws_from_all_videos_and_then_from_the_labelled(streams: Streams) -> None:
    first, later = streams(Phase.TRAIN, epoch=1), streams(Phase.TRAIN, epoch=2)
    assert set(ids(first)) == set(first.pools.everything.tolist())
    assert set(ids(later)) == set(later.pools.labelled.tolist())
    labels = [int(label) for batch in first.train_dataloader() for label in batch["label"]]
    assert labels.count(-1) == UNLABELLED


def test_epochs_draw_anew_and_again_alike(streams: Streams) -> None:
    orders = [ids(streams(Phase.PRETRAIN, epoch=epoch)) for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert set(orders[0]) == set(orders[1])


def test_a_fraction_is_of_the_pool_without_supervision(streams: Streams) -> None:
    few = {"fraction_per_epoch": 0.5}
    assert len(ids(streams(Phase.PRETRAIN, pretrain={**few, "batch_size": 9}))) == (TRAIN + UNLABELLED) // 2
    assert len(ids(streams(Phase.FINETUNE, finetune=few))) == TRAIN


@pytest.mark.parametrize("world_size", [1, 2])
def test_steps_make_an_epoch_of_as_many_batches_on_every_process(streams: Streams, world_size: int) -> None:
    steps = {"steps_per_epoch": 5, "batch_size": 2}
    drawn = []
    for rank in range(world_size):
        made = streams(Phase.FINETUNE, rank=rank, world_size=world_size, finetune=steps)
        batches = list(made.train_dataloader())
        assert [len(batch["label"]) for batch in batches] == [2 // world_size] * 5, "a share of the batch of two"
        drawn += [int(video) for batch in batches for video in batch["video_id"]]
    assert len(drawn) == len(set(drawn)) == 10


def test_validation_is_of_the_validation_videos(streams: Streams) -> None:
    made = streams(Phase.FINETUNE, validation_clips=2)
    clips, rows, labels = (torch.cat(parts) for parts in zip(*made.val_dataloader(), strict=True))
    assert clips.shape == (2 * 3 * VAL_PER_CLASS, 3, 8, 16, 16)
    assert rows.tolist() == [0, 0, 1, 1, 2, 2]
    assert labels.tolist() == made.store.label_ids[made.pools.validation].repeat(2).tolist()


def test_nothing_is_validated_without_labels(streams: Streams) -> None:
    assert streams(Phase.PRETRAIN).val_dataloader() == []
    made = streams(Phase.FINETUNE)
    made.pools = replace(made.pools, validation=made.pools.validation[:0])
    assert made.val_dataloader() == []


def test_finetuning_reads_no_sparse_clips(streams: Streams) -> None:
    assert all("sparse" not in batch for batch in streams(Phase.FINETUNE).train_dataloader())
    assert all("sparse" in batch for batch in streams(Phase.PRETRAIN).train_dataloader())


@pytest.mark.parametrize(("phase", "workers"), [(Phase.PRETRAIN, 0), (Phase.PRETRAIN, 1), (Phase.TRAIN, 0)])
def test_a_run_that_goes_on_gets_the_batches_that_would_have_come(
    squares: FrameStore, streams: Streams, phase: Phase, workers: int
) -> None:
    settings: dict[str, Any] = {phase.value: {"batch_size": 4, "epochs": 4}, "machine": {"num_workers": workers}}

    def positions(made: ClipStreams, epoch: int) -> list[list[int]]:
        made.trainer.current_epoch = epoch  # type: ignore[misc, union-attr]
        return [batch["position"].tolist() for batch in made.train_dataloader()]

    whole = streams(phase, **settings)
    resumed = ClipStreams(whole.store, whole.pools, whole.experiment, whole.plan, begin_at=(1, 2))
    resumed.trainer = whole.trainer
    expected = positions(whole, 1)[2:]
    assert expected
    assert positions(resumed, 1) == expected
    # Lightning asks for the loader before it has counted the epoch that was finished.
    assert positions(resumed, 0) == expected
    assert positions(resumed, 2) == positions(whole, 2)
    assert len(resumed.train_dataloader()) == len(whole.train_dataloader()), "a whole epoch's, for Lightning to count"
