"""Runs a model over the evaluation clips of many videos: probabilities or features, averaged over a video's clips.

Shapes: N videos, M clips a video, L classes, D features.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.augment import to_float
from sparsedense.data.loader import ClipConfig, EvaluationClips, evaluation_loader
from sparsedense.data.store import FrameStore
from sparsedense.models.recogniser import Recogniser

Progress = Callable[[int, int], None]


def clip_settings(model: Recogniser) -> ClipConfig:
    """The clips that a model was trained on."""
    return ClipConfig(**model.clips)  # type: ignore[arg-type]


@torch.inference_mode()
def clip_outputs(
    model: Recogniser,
    store: FrameStore,
    video_ids: NDArray[np.int64],
    output: Callable[[Tensor], Tensor],
    *,
    num_clips: int,
    view: str = "dense",
    batch_size: int = 32,
    num_workers: int = 1,
    progress: Progress | None = None,
) -> Tensor:
    """Apply a function of the model to every evaluation clip.

    Args:
        model: gives the clip settings and the device; switched to evaluation mode while this runs.
        store: where the frames are.
        video_ids: N videos.
        output: float clips (B, 3, T, H, W) to rows (B, D), for instance `model` or `model.features`.
        num_clips: clips M a video.
        view: `dense` clips, or the one `sparse` clip.
        batch_size: clips a batch.
        num_workers: processes that read clips.
        progress: called with clips done and clips in all.

    Returns:
        (N, M, D), float32, on the CPU.
    """
    dataset = EvaluationClips(store, video_ids, clip_settings(model), num_clips=num_clips, view=view)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    rows = []
    try:
        for clips, *_ in evaluation_loader(dataset, batch_size=batch_size, num_workers=num_workers):
            rows.append(output(to_float(clips.to(device)).contiguous()).float().cpu())
            if progress:
                progress(min(len(rows) * batch_size, len(dataset)), len(dataset))
    finally:
        model.train(was_training)
    return torch.cat(rows).view(len(video_ids), dataset.num_clips, -1)


def video_features(
    model: Recogniser, store: FrameStore, video_ids: NDArray[np.int64], *, num_clips: int, num_workers: int = 1
) -> Tensor:
    """Pooled features (N, D), averaged over the clips of a video."""
    return clip_outputs(model, store, video_ids, model.features, num_clips=num_clips, num_workers=num_workers).mean(
        dim=1
    )
