"""Batches of training clips from a store: labelled, unlabelled or mixed.

    sampler -> Draw(video_id, epoch, position) -> TrainingClips: a plan, then frames decoded into -> ClipBatch

A draw carries all that decides its clip (the seed is the data set's), so a clip is the same in whatever worker and
order it is made. Shapes: B videos, C = 3, T frames, H = W = the clip's size in pixels.
"""

import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import parent_process
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from sparsedense.data.augment import AugmentConfig, CropBox, random_crop_box
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


class ClipPlan(NamedTuple):
    """What one draw shows: its frames, the window of each clip, and what is known of the video."""

    video_id: int
    position: int
    label: int
    views: ClipViews
    boxes: list[CropBox]


class TrainingClips(Dataset[ClipBatch]):
    """Random sparse and dense clips of a store's videos.

    With `augment.shared_crop` one random crop serves all clips of a video, so that the similarities of their frames
    speak of time, not of the crop; otherwise each clip has its own, which is harder to tell a video by.

    Args:
        store: where the frames are.
        clips: what a clip is.
        augment: how the crop varies.
        seed: with the draw, decides everything random about a clip.
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

    def __getitem__(self, draw: Draw) -> ClipBatch:
        """A batch of one video."""
        return self.batch([draw])

    def __getitems__(self, draws: Sequence[Draw]) -> ClipBatch:
        """What a DataLoader asks for."""
        return self.batch(draws)

    def batch(self, draws: Sequence[Draw]) -> ClipBatch:
        """The clips of some draws, each frame decoded, cut and resized into its place in the batch."""
        plans = [self.plan(draw) for draw in draws]
        batch = self.empty_batch(plans)
        dense = batch["dense"]
        views = [dense.view(len(plans), -1, *dense.shape[1:])]
        if "sparse" in batch:
            views.append(batch["sparse"][:, None])
        for number, plan in enumerate(plans):
            targets = [clip.permute(1, 2, 3, 0).numpy() for view in views for clip in view[number]]
            self.store.read_clips(plan.video_id, self.wanted(plan), plan.boxes, targets)
        return batch

    def plan(self, draw: Draw) -> ClipPlan:
        """What a draw shows; where there is one dense clip, it is the same with and without the sparse one."""
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
        label = self.store.label_id(video_id) if self._label_seen[video_id] else -1
        boxes = self._boxes(video_id, len(views.dense) + self.with_sparse, rng)
        return ClipPlan(video_id, draw.position, label, views, boxes)

    def wanted(self, plan: ClipPlan) -> FrameIndices:
        """Frame indices (V, T) of the clips of a plan: the dense ones, then the sparse one."""
        views = plan.views
        return np.concatenate([views.dense, views.sparse[None]]) if self.with_sparse else views.dense

    def empty_batch(self, plans: Sequence[ClipPlan]) -> ClipBatch:
        """A batch whose pictures are not there yet; their memory is channels-last, as frames come."""
        shape = (self.clips.length, self.clips.size, self.clips.size, 3)
        batch = ClipBatch(
            dense=_empty_clips(sum(len(plan.views.dense) for plan in plans), *shape),
            dense_indices=torch.from_numpy(np.stack([plan.views.dense for plan in plans])),
            sparse_indices=torch.from_numpy(np.stack([plan.views.sparse for plan in plans])),
            dense_speed=torch.from_numpy(np.stack([1 + plan.views.ratio_ids for plan in plans])),
            label=torch.tensor([plan.label for plan in plans], dtype=torch.int64),
            video_id=torch.tensor([plan.video_id for plan in plans], dtype=torch.int64),
            position=torch.tensor([plan.position for plan in plans], dtype=torch.int64),
        )
        if self.with_sparse:
            batch["sparse"] = _empty_clips(len(plans), *shape)
        return batch

    def _boxes(self, video_id: int, num_clips: int, rng: np.random.Generator) -> list[CropBox]:
        height, width = self.store.frame_size(video_id)
        num_different = 1 if self.augment.shared_crop else num_clips
        boxes = [random_crop_box(height, width, self.augment, rng) for _ in range(num_different)]
        return boxes * (num_clips // num_different)


def _empty_clips(*shape_BTHWC: int) -> Tensor:
    """Memory for clips (B, C, T, H, W)."""
    if get_worker_info() is None:
        clips_BTHWC = torch.empty(shape_BTHWC, dtype=torch.uint8)
    else:
        # In a worker the shared memory that the batch travels in, as torch's own collation takes it: one copy fewer.
        storage = torch.UntypedStorage._new_shared(math.prod(shape_BTHWC), device="cpu")  # type: ignore[no-untyped-call]
        clips_BTHWC = torch.empty(0, dtype=torch.uint8).set_(storage).view(shape_BTHWC)
    return clips_BTHWC.permute(0, 4, 1, 2, 3)


class ClipLoader(DataLoader[ClipBatch]):
    """Loader of the batches that `TrainingClips` makes whole.

    A worker's tensors come in shared memory, each by a connection of its own: a third of a millisecond. Worth it for
    frames; what is known of them travels in the message itself.
    """

    def __iter__(self) -> Iterator[ClipBatch]:  # type: ignore[override]  # what torch's is used as
        """The batches of an epoch."""
        return map(unpack_batch, super().__iter__())


def pack_batch(batch: Any) -> Any:  # noqa: ANN401 - as torch calls it, a list of samples
    """In a worker, arrays in place of all of a `ClipBatch`'s tensors but frames."""
    if get_worker_info() is None:
        return batch
    return {name: value if value.dtype == torch.uint8 else value.numpy() for name, value in batch.items()}


def unpack_batch(batch: ClipBatch) -> ClipBatch:
    """Tensors again."""
    values = cast(dict[str, Tensor | NDArray[np.int64]], batch)
    return cast(ClipBatch, {name: torch.as_tensor(value) for name, value in values.items()})


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


def training_loader(dataset: TrainingClips, sampler: DrawSampler, *, batch_size: int, num_workers: int) -> ClipLoader:
    """Loader of `ClipBatch`es; a last batch that is not full is left out, for BatchNorm's sake."""
    return ClipLoader(
        dataset,
        batch_size=min(batch_size, len(sampler)),
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=pack_batch,
        drop_last=True,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # its own: the random numbers of the training do not depend on how often it begins
        persistent_workers=num_workers > 0,
        worker_init_fn=prepare_worker,
    )


def prepare_worker(_worker: int) -> None:
    """Start a worker with one torch thread; it outlives a request to stop, since the main process ends it.

    A terminal, a batch system and `timeout` send theirs to all processes of a job. The training ends its step and
    writes its state then, and needs batches until it has.
    """
    torch.set_num_threads(1)  # the workers would fight the network for the cores
    for name in ("SIGINT", "SIGUSR1"):
        if hasattr(signal, name):  # SIGUSR1 is missing on Windows
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # missing on Windows and macOS
        # No handler: the main process waits without end for a worker that it has sent this to, whatever that is doing.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_by_main_process, daemon=True).start()


def _end_by_main_process() -> None:
    main = parent_process()
    while main is not None:
        sent = signal.sigwaitinfo({signal.SIGTERM})
        if sent is not None and sent.si_pid == main.pid:
            os._exit(0)
