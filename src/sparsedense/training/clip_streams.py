"""Which videos a training draws from, and the Lightning data module that serves them."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from sparsedense.config import Experiment
from sparsedense.data.evaluation_clips import EvaluationClips, EvaluationShare, evaluation_loader
from sparsedense.data.listing import counted
from sparsedense.data.loader import DrawSampler, TrainingClips, training_loader
from sparsedense.data.low_label import labelled_subset
from sparsedense.data.published_list import published_subset
from sparsedense.data.splits import shown
from sparsedense.data.store import FrameStore
from sparsedense.training.machine import available_cores, resolve_workers
from sparsedense.training.plan import Phase, TrainingPlan


@dataclass(frozen=True)
class VideoPools:
    """Ids of the videos of each role.

    Attributes:
        everything: what self-supervision draws from: training and unlabelled videos that are long enough.
        labelled: those whose labels training sees.
        validation: labelled videos of the split `val`; may be empty.
        too_short: how many training and unlabelled videos the length filter leaves out.
        list_mismatches: how many videos of a published list are missing, rejected, too short, or have another class
            in it than in the store (their class is that of the store); empty without a list.
        untaught: classes of which training sees no labelled video; empty where it sees no labels at all.
    """

    everything: NDArray[np.int64]
    labelled: NDArray[np.int64]
    validation: NDArray[np.int64]
    too_short: int
    list_mismatches: dict[str, int] = field(default_factory=dict)
    untaught: tuple[str, ...] = ()

    @property
    def can_validate(self) -> bool:
        """Whether there is supervision and something to judge it by."""
        return len(self.labelled) > 0 and len(self.validation) > 0


def video_pools(store: FrameStore, experiment: Experiment, phase: Phase) -> VideoPools:
    """Divide a store's videos by their role in a phase.

    Raises:
        FileNotFoundError: the list of labelled videos does not exist.
        ValueError: too few videos or classes are left for the phase; the message says what was asked for.
    """
    min_frames = experiment.clips.min_frames
    if phase is not Phase.PRETRAIN and not store.count_videos(split="train", labelled=True):
        raise ValueError(
            f"{store.path}: there is no labelled training video; put videos into class folders "
            f"(SOURCE/CLASS/video.mp4), or give a list with labels, and run `sparsedense prepare` again; without "
            f"labels there is `sparsedense pretrain`"
        )
    training = ["train", "unlabelled"]
    everything = store.videos(split=training, min_frames=min_frames)
    labelled, left_out = _labelled(store, experiment, phase, min_frames)
    pools = VideoPools(
        everything=everything,
        labelled=labelled,
        validation=store.videos(split="val", labelled=True),
        too_short=store.count_videos(split=training) - len(everything),
        list_mismatches=left_out,
        untaught=() if phase is Phase.PRETRAIN else _untaught(store, labelled),
    )
    if phase is Phase.PRETRAIN:
        _check_number(store, "training", everything, min_frames)
        if len(everything) == 1:
            raise ValueError(
                f"{store.path}: only 1 training video has the {min_frames} frames that the clips need; pretraining "
                f"compares videos and needs at least 2 videos"
            )
        return pools
    _check_number(store, "labelled training", labelled, min_frames)
    taught = np.unique(store.label_ids[labelled])
    if len(taught) == 1:
        raise ValueError(
            f"{store.path}: all labelled training videos are of the class {store.class_names[taught[0]]!r}; a "
            f"classifier needs at least 2 classes, so add videos of another and run `sparsedense prepare` again"
        )
    return pools


def _check_number(store: FrameStore, role: str, ids: NDArray[np.int64], min_frames: int) -> None:
    if not len(ids):
        raise ValueError(
            f"{store.path}: no {role} video of at least {min_frames} frames (clips.length * clips.skip_ratio * "
            f"clips.min_dense_stride_frames); see `sparsedense inspect` for the lengths, lower "
            f"--clips.skip_ratio or --clips.min_dense_stride_frames, or add videos"
        )


def _untaught(store: FrameStore, labelled: NDArray[np.int64]) -> tuple[str, ...]:
    taught = set(store.label_ids[labelled].tolist())
    return tuple(name for label_id, name in enumerate(store.class_names) if label_id not in taught)


def warn_of_untaught_classes(pools: VideoPools) -> None:
    """Name the classes that a training sees no video of: the model will know their names and never say them."""
    if pools.untaught:
        warnings.warn(
            f"there is no labelled training video of {counted(len(pools.untaught), 'class', 'classes')}, which the "
            f"model will not learn: {shown(pools.untaught, 5)}; see `sparsedense inspect` for the splits",
            stacklevel=2,
        )


def warn_of_short_videos(pools: VideoPools, experiment: Experiment) -> None:
    """Say so where the length filter leaves out more videos than it keeps: such a training learns little."""
    kept, clips = len(pools.everything), experiment.clips
    if pools.too_short > kept:
        warnings.warn(
            f"only {kept} of {kept + pools.too_short} training videos have the {clips.min_frames} frames that the "
            f"clips need, the others are left out; lower the largest of clips.skip_ratio and clips.other_skip_ratios "
            f"({max(clips.skip_ratios):g}) or clips.min_dense_stride_frames ({clips.min_dense_stride_frames:g})",
            stacklevel=2,
        )


def _labelled(
    store: FrameStore, experiment: Experiment, phase: Phase, min_frames: int
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """The videos whose labels training sees, and what a published list has beyond them."""
    if phase is Phase.PRETRAIN:
        return np.empty(0, dtype=np.int64), {}
    if experiment.labelled_list is not None:
        if not Path(experiment.labelled_list).is_file():
            raise FileNotFoundError(
                f"--labelled-list {experiment.labelled_list}: no such file; expected a text file with a video a line"
            )
        listed = published_subset(store, experiment.labelled_list, min_frames=min_frames, allow_missing=True)
        left_out = {name: len(getattr(listed, name)) for name in ("missing", "rejected", "too_short", "mislabelled")}
        return listed.video_ids, left_out
    candidates = store.videos(split="train", min_frames=min_frames, labelled=True)
    if not len(candidates):
        return candidates, {}
    return labelled_subset(store, candidates, labels_per_class=experiment.labels_per_class, seed=experiment.seed), {}


def batch_share(batch_size: int, world_size: int) -> int:
    """Videos a step of one process of several.

    Raises:
        ValueError: the batch cannot be divided evenly.
    """
    if batch_size % world_size:
        raise ValueError(
            f"a batch of {batch_size} videos cannot be shared evenly by {world_size} processes; set the phase's "
            f"batch_size to a multiple, or use another number of processes"
        )
    return batch_size // world_size


class ClipStreams(LightningDataModule):
    """Training and validation batches of a phase.

    Args:
        store: the frame store.
        pools: the videos by role.
        experiment: the settings.
        plan: says in which epochs only labelled videos are drawn.
        begin_at: epoch and number of batches in it that are done.
    """

    def __init__(
        self,
        store: FrameStore,
        pools: VideoPools,
        experiment: Experiment,
        plan: TrainingPlan,
        *,
        begin_at: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.store, self.pools, self.experiment, self.plan = store, pools, experiment, plan
        self._begin_at = begin_at

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of the current epoch's pool."""
        trainer = self.trainer
        assert trainer is not None
        # Lightning asks for the first loader of a run that goes on before it counts the epoch that was finished, and
        # for one of a run that has no epoch left.
        epoch = min(max(trainer.current_epoch, self._begin_at[0]), self.plan.config.epochs - 1)
        sampler = self._sampler(epoch, trainer.global_rank, trainer.world_size)
        experiment = self.experiment
        dataset = TrainingClips(
            self.store,
            experiment.clips,
            experiment.augment,
            seed=experiment.seed,
            labelled=self.pools.labelled,
            with_sparse=self.plan.needs_pair(epoch),
        )
        batch_size = batch_share(self.plan.config.batch_size, trainer.world_size)
        return training_loader(dataset, sampler, batch_size=batch_size, num_workers=resolve_workers(experiment.machine))

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Validation clips, or nothing where there are no labels to validate by."""
        if not self.pools.can_validate:
            return []
        experiment = self.experiment
        dataset = EvaluationClips(
            self.store, self.pools.validation, experiment.clips, num_clips=experiment.validation_clips
        )
        assert self.trainer is not None
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        return evaluation_loader(
            dataset,
            batch_size=2 * batch_share(self.plan.config.batch_size, world_size),
            num_workers=min(resolve_workers(experiment.machine), available_cores()),
            share=EvaluationShare(len(dataset), rank=rank, world_size=world_size),
        )

    def _sampler(self, epoch: int, rank: int, world_size: int) -> DrawSampler:
        config = self.plan.config
        labelled_only = self.plan.draws_labelled_only(epoch)
        videos = self.pools.labelled if labelled_only else self.pools.everything
        share = 1.0 if labelled_only else config.fraction_per_epoch
        draws = max(1, round(share * len(videos)))
        if config.steps_per_epoch is not None:
            draws = config.steps_per_epoch * config.batch_size
        sampler = DrawSampler(
            videos, draws_per_epoch=draws, seed=self.experiment.seed, rank=rank, world_size=world_size
        )
        sampler.set_epoch(epoch)
        begun_epoch, batches = self._begin_at
        sampler.go_on(begun_epoch, batches * config.batch_size)
        return sampler
