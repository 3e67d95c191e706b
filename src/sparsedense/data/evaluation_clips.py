"""The clips that videos are judged by: deterministic, in order, every one once.

Shapes: B clips, C = 3, T frames, H = W = the clip's size in pixels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from sparsedense.data.augment import centre_crop_box
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.loader import prepare_worker
from sparsedense.data.sampling import FrameIndices
from sparsedense.data.store import FrameStore

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
        indices_1T = self._indices(self.store.length_frames(video_id), clip)[None]
        clip_THWC = np.empty((self.clips.length, self.clips.size, self.clips.size, 3), dtype=np.uint8)
        self.store.read_clips(video_id, indices_1T, [box], [clip_THWC])
        return ClipSample(torch.from_numpy(clip_THWC), row, self.store.label_id(video_id))

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
    # Like `torch.stack`, but in a worker straight into the shared memory that the batch travels in: one copy fewer.
    clips_BTHWC: Tensor = default_collate([sample.frames_THWC for sample in samples])
    return clips_BTHWC.permute(0, 4, 1, 2, 3), rows, labels


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
        worker_init_fn=prepare_worker,
    )
