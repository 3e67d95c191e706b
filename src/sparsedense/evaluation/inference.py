"""Runs a model over the evaluation clips of many videos: probabilities or features, averaged over a video's clips.

Shapes: N videos, M clips a video, L classes, D features, B clips of a batch.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.augment import to_float
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.evaluation_clips import EvaluationClips, evaluation_loader
from sparsedense.data.store import FrameStore
from sparsedense.models.encoder import pool
from sparsedense.models.fast_encoder import FastEncoder
from sparsedense.models.recogniser import Recogniser

Progress = Callable[[int, int], None]


def clip_settings(model: Recogniser) -> ClipConfig:
    """The clips that a model was trained on."""
    return ClipConfig(**model.clips)  # type: ignore[arg-type]


def fast_features(model: Recogniser, precision: str = "auto") -> Callable[[Tensor], Tensor]:
    """Pooled features (B, D) as `model.features` gives them, the fast way, for a model in evaluation mode.

    Args:
        model: whose encoder answers.
        precision: `auto`, `float32` or `bfloat16`, as in `models.precision`.

    Raises:
        ValueError: the precision is none of these.
    """
    fast = FastEncoder(precision)
    return lambda clips_BCTHW: pool(fast(model.encoder, clips_BCTHW))


class PartedProgress:
    """One progress over pieces of work that follow one another.

    Args:
        progress: called with how much of the whole is done and how much there is; None shows nothing.
        sizes: how much each part is, in the order of the parts.
    """

    def __init__(self, progress: Progress | None, sizes: Sequence[int]) -> None:
        self._progress, self._sizes, self._begun = progress, tuple(sizes), 0

    def next_part(self) -> Progress:
        """The progress of the next part, in whatever unit that counts in."""
        before, size, whole = sum(self._sizes[: self._begun]), self._sizes[self._begun], sum(self._sizes)
        self._begun += 1

        def advance(done: int, total: int) -> None:
            if self._progress:
                self._progress(before + size * done // total, whole)

        return advance


@torch.inference_mode()
def output_batches(
    model: Recogniser,
    store: FrameStore,
    video_ids: NDArray[np.int64],
    output: Callable[[Tensor], Tensor],
    *,
    num_clips: int,
    clips: ClipConfig | None = None,
    view: str = "dense",
    batch_size: int = 32,
    num_workers: int = 1,
    progress: Progress | None = None,
) -> Iterator[Tensor]:
    """Apply a function of the model to every evaluation clip, batch by batch.

    Args:
        model: gives the clip settings and the device; switched to evaluation mode while this runs.
        store: where the frames are.
        video_ids: N videos.
        output: float clips (B, 3, T, H, W) to rows (B, D), for instance `model` or `model.features`.
        num_clips: clips M a video.
        clips: what a clip is; the model's own if not given.
        view: `dense` clips, or the one `sparse` clip.
        batch_size: clips a batch.
        num_workers: processes that read clips.
        progress: called with clips done and clips in all.

    Yields:
        (B, D), float32, on the CPU, in the order of the videos and of the clips in each.
    """
    dataset = EvaluationClips(store, video_ids, clips or clip_settings(model), num_clips=num_clips, view=view)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    done = 0
    try:
        for frames, *_ in evaluation_loader(dataset, batch_size=batch_size, num_workers=num_workers):
            yield output(to_float(frames.to(device)).contiguous()).float().cpu()
            done += len(frames)
            if progress:
                progress(done, len(dataset))
    finally:
        model.train(was_training)


def clip_outputs(
    model: Recogniser,
    store: FrameStore,
    video_ids: NDArray[np.int64],
    output: Callable[[Tensor], Tensor],
    *,
    num_clips: int,
    clips: ClipConfig | None = None,
    view: str = "dense",
    batch_size: int = 32,
    num_workers: int = 1,
    progress: Progress | None = None,
) -> Tensor:
    """Apply a function of the model to every evaluation clip; the arguments are those of `output_batches`.

    Returns:
        (N, M, D), float32, on the CPU.
    """
    batches = output_batches(
        model,
        store,
        video_ids,
        output,
        num_clips=num_clips,
        clips=clips,
        view=view,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
    )
    rows = torch.cat(list(batches))
    return rows.view(len(video_ids), -1, rows.shape[1])


def video_features(
    model: Recogniser, store: FrameStore, video_ids: NDArray[np.int64], *, num_clips: int, num_workers: int = 1
) -> Tensor:
    """Pooled features (N, D) in float32, averaged over the clips of a video."""
    features = fast_features(model, "float32")
    return clip_outputs(model, store, video_ids, features, num_clips=num_clips, num_workers=num_workers).mean(dim=1)
