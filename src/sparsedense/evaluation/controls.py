"""Controls of the speed task: what a network that reads motion cannot know must come out at chance.

real     clips of the store's videos: above chance if the network has learnt speed
frozen   one frame of each video, held for as long and sent through the same video and JPEG encoding: nothing moves,
         so that only a leak (codec artefacts, padding, batch statistics) can tell sparse from dense
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.augment import centre_crop_box, crop_and_resize, to_float
from sparsedense.data.loader import ClipConfig
from sparsedense.data.sampling import centre_view_pair
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.inference import clip_settings
from sparsedense.losses.speed import speed_accuracy
from sparsedense.models.encoder import pool
from sparsedense.models.recogniser import Recogniser
from sparsedense.video.read import read_frames
from sparsedense.video.write import write_video

ReadFrames = Callable[[int, NDArray[np.int64]], Tensor]


@dataclass(frozen=True)
class SpeedControls:
    """Accuracy of sparse against dense, 0.5 is chance, and the number of clips of each."""

    real: float
    frozen: float
    clips: int


def speed_controls(
    model: Recogniser, store: FrameStore, video_ids: NDArray[np.int64], *, scratch: Path | None = None
) -> SpeedControls:
    """Measure the speed head on real and on frozen videos.

    Args:
        model: with a speed head.
        store: where the frames are.
        video_ids: videos that pretraining has not seen; each gives one sparse and one dense clip.
        scratch: folder for temporary video files; the system's if not given.

    Raises:
        ValueError: the model has no speed head, or there is no video.
    """
    if model.speed_head is None:
        raise ValueError("the model has no speed head; controls need a model that `pretrain` or `train` wrote")
    if not len(video_ids):
        raise ValueError(f"{store.path}: no video to measure the speed controls on")
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        frozen = _frozen_reader(store, Path(folder))
        return SpeedControls(
            real=_speed_accuracy(model, store, video_ids, store.read),
            frozen=_speed_accuracy(model, store, video_ids, frozen),
            clips=2 * len(video_ids),
        )


@torch.inference_mode()
def _speed_accuracy(
    model: Recogniser, store: FrameStore, video_ids: NDArray[np.int64], read: ReadFrames, batch_size: int = 16
) -> float:
    clips = clip_settings(model)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    right = []
    for start in range(0, len(video_ids), batch_size):
        pairs = [_pair(store, int(video), clips, read) for video in video_ids[start : start + batch_size]]
        batch = torch.cat([torch.stack([dense for dense, _ in pairs]), torch.stack([sparse for _, sparse in pairs])])
        is_dense = torch.arange(len(batch), device=device) < len(pairs)
        assert model.speed_head is not None
        logits = model.speed_head(pool(model.encoder(to_float(batch.to(device)))))
        right.append(float(speed_accuracy(logits, is_dense)) * len(batch))
    model.train(was_training)
    return sum(right) / (2 * len(video_ids))


def _pair(store: FrameStore, video_id: int, clips: ClipConfig, read: ReadFrames) -> tuple[Tensor, Tensor]:
    """Dense and sparse clip (3, T, H, W) of one video, uint8."""
    num_frames = int(store.num_frames[video_id])
    views = centre_view_pair(num_frames, clip_length=clips.length, skip_ratio=clips.skip_ratio)
    frames = read(video_id, np.concatenate([views.dense, views.sparse]))
    resized = crop_and_resize(frames, centre_crop_box(frames.shape[-2], frames.shape[-1]), clips.size)
    return resized[:, : clips.length], resized[:, clips.length :]


def _frozen_reader(store: FrameStore, folder: Path) -> ReadFrames:
    """Reads a video as if its middle frame had been filmed all the time."""

    def read(video_id: int, indices: NDArray[np.int64]) -> Tensor:
        num_frames = int(store.num_frames[video_id])
        still = store.read(video_id, np.array([num_frames // 2])).permute(1, 2, 3, 0)[0].numpy()
        # Encoders of 4:2:0 video want even sizes.
        still = np.ascontiguousarray(still[: still.shape[0] // 2 * 2, : still.shape[1] // 2 * 2])
        path = folder / f"{video_id}.mp4"
        write_video(path, (still for _ in range(num_frames)), fps=float(store.fps[video_id]))
        frames_THWC = read_frames(path, np.unique(indices))[np.searchsorted(np.unique(indices), indices)]
        path.unlink()
        if store.codec == "jpeg":
            frames_THWC = np.stack([_through_jpeg(frame) for frame in frames_THWC])
        return torch.from_numpy(frames_THWC).permute(3, 0, 1, 2)

    return read


def _through_jpeg(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=90)
    decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(encoded)
    return decoded
