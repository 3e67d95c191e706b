"""Batches of clips from a store: labelled, unlabelled or mixed, for training and for evaluation.

    sampler -> Draw(video_id, epoch, position) -> TrainingClips -> ClipSample -> collate -> ClipBatch

A draw carries all that decides its clip (the seed is the data set's), so a sample is the same in whatever worker and
order it is made. Shapes: B videos, C = 3, T frames, H = W = the clip's size in pixels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from sparsedense.data.augment import AugmentConfig, centre_crop_box, crop_and_resize, random_crop_box, resize_frames
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.sampling import ClipViews, FrameIndices, random_views
from sparsedense.data.store import FrameStore


class Draw(NamedTuple):
    """One use of a video; epoch and position in it seed its clip."""

    video_id: int
    epoch: int
    position: int


class ClipBatch(TypedDict):
    """A batch of both views; D dense clips a video.

    Attributes:
        dense: uint8 (B * D, C, T, H, W), those of a video one after the other; cropped and resized, colours untouched.
        sparse: uint8 (B, C, T, H, W), only where asked for.
        dense_indices: int64 (B, D, T), frame indices in the video.
        sparse_indices: int64 (B, T), the same.
        dense_speed: int64 (B, D), 1 for the fastest dense clips, one more for each larger skip ratio (0 is sparse).
        label: int64 (B,), -1 where unknown.
        video_id: int64 (B,).
        position: int64 (B,), of the draw in its epoch; with the epoch and the seed, what seeds the clips' augmentation.
    """

    dense: Tensor
    sparse: NotRequired[Tensor]
    dense_indices: Tensor
    sparse_indices: Tensor
    dense_speed: Tensor
    label: Tensor
    video_id: Tensor
    position: Tensor


class _Sample(NamedTuple):
    sparse_THWC: Tensor | None
    dense_DTHWC: Tensor
    views: ClipViews
    label: int
    video_id: int
    position: int


class TrainingClips(Dataset[_Sample]):
    """Random sparse and dense clips of a store's videos.

    With `augment.shared_crop` one random crop serves all clips of a video, so that the similarities of their frames
    speak of time, not of the crop; otherwise each clip has its own, which is harder to tell a video by.

    Args:
        store: where the frames are.
        clips: what a clip is.
        augment: how the crop varies.
        seed: with the draw, decides everything random about a sample.
        labelled: ids of the videos whose label may be seen; all others get label -1.
        with_sparse: read the sparse clip and all dense clips; classification alone looks at one dense clip.
    """

    def __init__(
        self,
        store: FrameStore,
        clips: ClipConfig,
        augment: AugmentConfig,
        *,
        seed: int,
        labelled: NDArray[np.int64] | None = None,
        with_sparse: bool = True,
    ) -> None:
        self.store, self.clips, self.augment, self.seed = store, clips, augment, seed
        self.with_sparse = with_sparse
        self._label_seen = np.zeros(len(store), dtype=np.bool_)
        self._label_seen[[] if labelled is None else labelled] = True

    def __getitem__(self, draw: Draw) -> _Sample:
        """The clips of one draw; where there is one dense clip, it is the same with and without the sparse one."""
        video_id = draw.video_id
        rng = np.random.default_rng((self.seed, *draw))
        views = random_views(
            self.store.length_frames(video_id),
            clip_length=self.clips.length,
            skip_ratios=self.clips.skip_ratios,
            # Alone, a clip comes from anywhere: the first of several places is always the start of the video.
            num_places=self.clips.dense_clips if self.with_sparse else 1,
            copies=self.clips.dense_copies if self.with_sparse else 1,
            rng=rng,
        )
        wanted = np.concatenate([views.dense, views.sparse[None]]) if self.with_sparse else views.dense
        clips_VTHWC = self._cropped(video_id, wanted, rng)
        dense, sparse = (clips_VTHWC[:-1], clips_VTHWC[-1]) if self.with_sparse else (clips_VTHWC, None)
        label = self.store.label_id(video_id) if self._label_seen[video_id] else -1
        return _Sample(sparse, dense, views, label, video_id, draw.position)

    def _cropped(self, video_id: int, wanted_VT: FrameIndices, rng: np.random.Generator) -> Tensor:
        """Clips (V, T, size, size, C) of a video, cropped and resized."""
        indices, size = wanted_VT.reshape(-1), self.clips.size
        height, width = self.store.frame_size(video_id)
        if self.augment.shared_crop:
            box = random_crop_box(height, width, self.augment, rng)
            resized = resize_frames(self.store.read(video_id, indices, window=box), size)
        else:
            boxes = [random_crop_box(height, width, self.augment, rng) for _ in wanted_VT]
            clips = self.store.read(video_id, indices).chunk(len(wanted_VT), dim=1)
            parts = [crop_and_resize(clip, box, size) for clip, box in zip(clips, boxes, strict=True)]
            resized = torch.cat(parts, dim=1)
        return resized.permute(1, 2, 3, 0).reshape(*wanted_VT.shape, size, size, 3)


def collate_pairs(samples: Sequence[_Sample]) -> ClipBatch:
    """Stack samples into a batch whose memory is channels-last, as the frames came."""
    batch = ClipBatch(
        dense=_stack_clips([clip for sample in samples for clip in sample.dense_DTHWC]),
        dense_indices=torch.from_numpy(np.stack([sample.views.dense for sample in samples])),
        sparse_indices=torch.from_numpy(np.stack([sample.views.sparse for sample in samples])),
        dense_speed=torch.from_numpy(np.stack([1 + sample.views.ratio_ids for sample in samples])),
        label=torch.tensor([sample.label for sample in samples], dtype=torch.int64),
        video_id=torch.tensor([sample.video_id for sample in samples], dtype=torch.int64),
        position=torch.tensor([sample.position for sample in samples], dtype=torch.int64),
    )
    sparse = [sample.sparse_THWC for sample in samples if sample.sparse_THWC is not None]
    if sparse:
        batch["sparse"] = _stack_clips(sparse)
    return batch


class DrawSampler(Sampler[Draw]):
    """Draws videos epoch by epoch: seeded, without repetition until all have been drawn.

    Args:
        video_ids: what to draw from.
        draws_per_epoch: how many draws are an epoch; more than there are videos draws them again in a fresh order,
            fewer takes a fresh part of them each epoch.
        seed: seed of the order.
        rank: which part of the draws is this process's; each process gets every `world_size`-th.
        world_size: how many processes share the draws.

    Raises:
        ValueError: there is no video, or there are fewer draws than processes.
    """

    def __init__(
        self, video_ids: NDArray[np.int64], *, draws_per_epoch: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.video_ids = video_ids
        if not len(self.video_ids):
            raise ValueError("there is no video to draw from; check the split and the minimum length")
        if draws_per_epoch < world_size:
            raise ValueError(
                f"draws_per_epoch ({draws_per_epoch}) must be at least the number of processes ({world_size}); "
                f"use fewer devices or set steps_per_epoch"
            )
        self.draws_per_epoch = draws_per_epoch - draws_per_epoch % world_size
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.epoch = 0
        self._begun_epoch, self._begun_draws = 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose draws come next (Lightning calls this)."""
        self.epoch = epoch

    def go_on(self, epoch: int, draws: int) -> None:
        """Begin one epoch behind its first draws, those of all processes together; other epochs are as before.

        The length stays that of a whole epoch. The draws that come are those that would have come, also with another
        number of processes.
        """
        self._begun_epoch, self._begun_draws = epoch, draws

    def __len__(self) -> int:
        return self.draws_per_epoch // self.world_size

    def __iter__(self) -> Iterator[Draw]:
        turn, order = -1, self.video_ids
        # An epoch's order is held while it lasts: in half the memory where the numbers allow it.
        ids = self.video_ids.astype(np.min_scalar_type(self.video_ids.max()))
        done = self._begun_draws if self.epoch == self._begun_epoch else 0
        for position in range(done + self.rank, self.draws_per_epoch, self.world_size):
            if position // len(self.video_ids) != turn:
                turn = position // len(self.video_ids)
                order = np.random.default_rng((self.seed, self.epoch, turn)).permutation(ids)
            yield Draw(int(order[position % len(self.video_ids)]), self.epoch, position)


PADDING = -1  # index, row and label of a clip that is there only to fill up a process's share


class ClipSample(NamedTuple):
    """One evaluation clip: frames (T, H, W, C) uint8, the row of its video in the list of videos, its label or -1."""

    frames_THWC: Tensor
    row: int
    label: int


class EvaluationClips(Dataset[ClipSample]):
    """Deterministic clips of each video: evenly spaced, centre crop.

    Args:
        store: where the frames are.
        video_ids: which videos, in this order.
        clips: what a clip is.
        num_clips: clips a video.
        view: `dense` takes `num_clips` clips at the evaluation stride, `sparse` the one clip that spans the video.
    """

    def __init__(
        self, store: FrameStore, video_ids: NDArray[np.int64], clips: ClipConfig, *, num_clips: int, view: str = "dense"
    ) -> None:
        if view not in ("dense", "sparse"):
            raise ValueError(f"view ({view!r}) must be 'dense' or 'sparse'")
        self.store, self.clips, self.view = store, clips, view
        self.video_ids = video_ids
        self.num_clips = num_clips if view == "dense" else 1

    def __len__(self) -> int:
        return len(self.video_ids) * self.num_clips

    def __getitem__(self, index: int) -> ClipSample:
        """The clip `index % num_clips` of video `index // num_clips`; a black one for `PADDING`."""
        if index == PADDING:
            black = torch.zeros(self.clips.length, self.clips.size, self.clips.size, 3, dtype=torch.uint8)
            return ClipSample(black, PADDING, PADDING)
        row, clip = divmod(index, self.num_clips)
        video_id = int(self.video_ids[row])
        box = centre_crop_box(*self.store.frame_size(video_id))
        frames = self.store.read(video_id, self._indices(self.store.length_frames(video_id), clip), window=box)
        clip_THWC = resize_frames(frames, self.clips.size).permute(1, 2, 3, 0)
        return ClipSample(clip_THWC, row, self.store.label_id(video_id))

    def _indices(self, num_frames: int, clip: int) -> FrameIndices:
        if self.view == "sparse":
            return self.clips.sparse_evaluation_indices(num_frames)
        indices_NT = self.clips.evaluation_indices(num_frames, self.num_clips)
        chosen: FrameIndices = indices_NT[clip]
        return chosen


def collate_clips(samples: Sequence[ClipSample]) -> tuple[Tensor, Tensor, Tensor]:
    """Clips (B, C, T, H, W) uint8, their videos' rows (B,) and labels (B,)."""
    rows = torch.tensor([sample.row for sample in samples], dtype=torch.int64)
    labels = torch.tensor([sample.label for sample in samples], dtype=torch.int64)
    return _stack_clips([sample.frames_THWC for sample in samples]), rows, labels


def training_loader(
    dataset: TrainingClips, sampler: DrawSampler, *, batch_size: int, num_workers: int
) -> DataLoader[_Sample]:
    """Loader of `ClipBatch`es; a last batch that is not full is left out, for BatchNorm's sake."""
    return DataLoader(
        dataset,
        batch_size=min(batch_size, len(sampler)),
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate_pairs,
        drop_last=True,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # its own: the random numbers of the training do not depend on how often it begins
        persistent_workers=num_workers > 0,
        worker_init_fn=use_one_thread,
    )


class EvaluationShare(Sampler[int]):
    """This process's share of the clips: every `world_size`-th, filled up with `PADDING` so that all are as long.

    Args:
        num_clips: clips of all processes together.
        rank: number of this process.
        world_size: how many processes share the clips.
    """

    def __init__(self, num_clips: int, *, rank: int, world_size: int) -> None:
        self._own = range(rank, num_clips, world_size)
        self._length = -(-num_clips // world_size)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        yield from self._own
        yield from [PADDING] * (self._length - len(self._own))


def evaluation_loader(
    dataset: EvaluationClips, *, batch_size: int, num_workers: int, share: EvaluationShare | None = None
) -> DataLoader[ClipSample]:
    """Loader of (clips, rows, labels) in order, every clip once, or a process's share of them."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=share,
        num_workers=num_workers,
        collate_fn=collate_clips,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # its own: the random numbers of the training do not depend on how often it begins
        worker_init_fn=use_one_thread,
    )


def use_one_thread(_worker: int) -> None:
    """Start a worker with one torch thread."""
    torch.set_num_threads(1)  # the workers would fight the network for the cores


def _stack_clips(clips_THWC: Sequence[Tensor]) -> Tensor:
    # Like `torch.stack`, but in a worker straight into the shared memory that the batch travels in: one copy fewer.
    stacked: Tensor = default_collate(list(clips_THWC))
    return stacked.permute(0, 4, 1, 2, 3)
