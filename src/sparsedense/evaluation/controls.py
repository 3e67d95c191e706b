"""Controls of the speed task: what a network that reads motion cannot know must come out at chance.

real        clips of the store's videos: above chance if the network has learnt speed
frozen      one frame of each video, held for as long and sent through the same video and JPEG encoding: nothing moves,
            so that only a leak (codec artefacts, padding, batch statistics) can tell sparse from dense
shuffled    the frames of each clip in a random order: their spread over the video stays, their order is lost
reencoded   the same videos written with another codec and another distance of key frames: as good as real, unless the
            network reads the traces of one encoder
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.augment import centre_crop_box, to_float
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.resize import crop_and_resize
from sparsedense.data.sampling import centre_view_pair
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.inference import PartedProgress, Progress, clip_settings, fast_features
from sparsedense.models.recogniser import Recogniser
from sparsedense.video.read import read_frames
from sparsedense.video.write import write_video

USUAL_FPS = 25.0  # for sources that do not say theirs; the clips go by frames, not by seconds
# VP8 is nobody's camera format, so it is another codec for almost every source, and 7 no encoder's default distance.
OTHER_CODEC, OTHER_SUFFIX, OTHER_KEYFRAME_INTERVAL = "libvpx", ".webm", 7
# The encoder's bit rate is per second: at few frames a second its quality is that of a good source at any frame size.
OTHER_FPS = 5.0
# A ranking score has no threshold that traces of the codec would have to cross: in a frozen video a change of one grey
# level would make a rank. Scores that differ by less than this share of the mean difference of real clips are equal.
TIE_SHARE = 0.05
_FRAMES_A_READ = 32

ReadFrames = Callable[[int, NDArray[np.int64]], Tensor]


@dataclass(frozen=True)
class SpeedControls:
    """Accuracy of sparse against dense, 0.5 is chance, and the number of clips of each."""

    real: float
    frozen: float
    shuffled: float
    reencoded: float
    clips: int


def speed_controls(
    model: Recogniser,
    store: FrameStore,
    video_ids: NDArray[np.int64],
    *,
    seed: int = 0,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> SpeedControls:
    """Measure the speed head on real videos and on each control.

    Args:
        model: with a speed head of any kind; see `pairs_told`.
        store: where the frames are.
        video_ids: videos that pretraining has not seen; each gives one sparse and one dense clip.
        seed: of the random order of frames.
        scratch: folder for temporary video files; the system's if not given.
        progress: called with videos done and videos in all, over the four measurements.

    Raises:
        ValueError: the model has no speed head, or there is no video.
    """
    if model.speed_head is None:
        raise ValueError("the model has no speed head; controls need a model that `pretrain` or `train` wrote")
    if not len(video_ids):
        raise ValueError(f"{store.path}: no video to measure the speed controls on")
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        readers = {
            "real": store.read,
            "frozen": _frozen_reader(store, Path(folder)),
            "shuffled": _shuffled_reader(store, clip_settings(model).length, seed),
            "reencoded": reencoded_reader(store, Path(folder)),
        }
        parts = PartedProgress(progress, [len(video_ids)] * len(readers))
        logits = {
            name: _speed_logits(model, store, video_ids, read, parts.next_part()) for name, read in readers.items()
        }
    dense, sparse = logits["real"]
    tie = TIE_SHARE * float((sparse - dense).abs().mean())
    accuracies = {name: float(pairs_told(*views, tie=tie).double().mean()) for name, views in logits.items()}
    return SpeedControls(**accuracies, clips=2 * len(video_ids))


def pairs_told(dense_logits_BS: Tensor, sparse_logits_BS: Tensor, *, tie: float = 0.0) -> Tensor:
    """How rightly the two clips of each video are told apart: 0, 0.5 or 1, (B,); 0.5 on average is chance.

    Two or more speeds: each clip is judged by itself, dense where the largest logit of the dense speeds (all but 0)
    exceeds that of the sparse one (0), and the share of right answers counts. One number (a ranking score, larger for
    faster clips): right where the sparse clip, which plays faster, scores higher; equal scores count one half.

    Args:
        dense_logits_BS: of the dense clips of B videos, S speeds.
        sparse_logits_BS: of their sparse clips.
        tie: ranking scores that differ by no more are equal.
    """
    if dense_logits_BS.shape[1] == 1:
        difference_B = (sparse_logits_BS - dense_logits_BS)[:, 0]
        return torch.where(difference_B.abs() > tie, difference_B.sign(), 0.0).add(1) / 2

    def says_dense(logits_BS: Tensor) -> Tensor:
        return (logits_BS[:, 1:].amax(dim=1) > logits_BS[:, 0]).float()

    return (says_dense(dense_logits_BS) + 1 - says_dense(sparse_logits_BS)) / 2


@torch.inference_mode()
def _speed_logits(
    model: Recogniser,
    store: FrameStore,
    video_ids: NDArray[np.int64],
    read: ReadFrames,
    progress: Progress,
    batch_size: int = 16,
) -> tuple[Tensor, Tensor]:
    """What the speed head says of the dense and of the sparse clip of each video, both (N, S)."""
    clips = clip_settings(model)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    speed_head = model.speed_head
    assert speed_head is not None
    features = fast_features(model, "float32")
    logits = []
    try:
        for start in range(0, len(video_ids), batch_size):
            pairs = [_pair(store, int(video), clips, read) for video in video_ids[start : start + batch_size]]
            # The two views one after the other, in batches of one shape: equal clips then get exactly equal logits.
            logits.append(
                [
                    speed_head(features(to_float(torch.stack(view).to(device)))).float().cpu()
                    for view in zip(*pairs, strict=True)
                ]
            )
            progress(start + len(pairs), len(video_ids))
    finally:
        model.train(was_training)
    dense, sparse = (torch.cat(view) for view in zip(*logits, strict=True))
    return dense, sparse


def _pair(store: FrameStore, video_id: int, clips: ClipConfig, read: ReadFrames) -> tuple[Tensor, Tensor]:
    """Dense and sparse clip (3, T, H, W) of one video, uint8."""
    num_frames = int(store.num_frames[video_id])
    views = centre_view_pair(num_frames, clip_length=clips.length, skip_ratio=clips.skip_ratio)
    frames = read(video_id, np.concatenate([views.dense, views.sparse]))
    resized = crop_and_resize(frames, centre_crop_box(frames.shape[-2], frames.shape[-1]), clips.size)
    return resized[:, : clips.length], resized[:, clips.length :]


def _shuffled_reader(store: FrameStore, clip_length: int, seed: int) -> ReadFrames:
    """Reads clips with the frames of each in a random order."""

    def read(video_id: int, indices: NDArray[np.int64]) -> Tensor:
        rng = np.random.default_rng((seed, video_id))
        return store.read(video_id, rng.permuted(indices.reshape(-1, clip_length), axis=1).ravel())

    return read


def _frozen_reader(store: FrameStore, folder: Path) -> ReadFrames:
    """Reads a video as if its middle frame had been filmed all the time."""

    def read(video_id: int, indices: NDArray[np.int64]) -> Tensor:
        num_frames = int(store.num_frames[video_id])
        still = next(_frames(store, video_id, np.array([num_frames // 2])))
        path = folder / f"{video_id}.mp4"
        fps = float(store.fps[video_id])
        write_video(path, (still for _ in range(num_frames)), fps=fps if np.isfinite(fps) else USUAL_FPS)
        return _read_back(path, indices, store)

    return read


def reencoded_reader(store: FrameStore, folder: Path) -> ReadFrames:
    """Reads a video as if it had been written with another codec and another distance of key frames.

    Args:
        store: where the frames are; an odd last row or column of theirs is left out.
        folder: for a temporary file, deleted after each read.

    Returns:
        a function of a video's id and frame indices (T,), which gives frames (3, T, H, W), uint8, as `FrameStore.read`.
    """

    def read(video_id: int, indices: NDArray[np.int64]) -> Tensor:
        path = folder / f"{video_id}{OTHER_SUFFIX}"
        frames = _frames(store, video_id, np.arange(store.num_frames[video_id]))
        write_video(path, frames, fps=OTHER_FPS, codec=OTHER_CODEC, keyframe_interval=OTHER_KEYFRAME_INTERVAL)
        return _read_back(path, indices, store)

    return read


def _frames(store: FrameStore, video_id: int, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """Frames (H, W, 3) of a video, some at a time in memory; an odd last row or column is left out for 4:2:0 video."""
    for start in range(0, len(indices), _FRAMES_A_READ):
        frames_THWC = store.read(video_id, indices[start : start + _FRAMES_A_READ]).permute(1, 2, 3, 0).numpy()
        height, width = frames_THWC.shape[1:3]
        for frame in frames_THWC[:, : height // 2 * 2, : width // 2 * 2]:
            yield np.ascontiguousarray(frame)


def _read_back(path: Path, indices: NDArray[np.int64], store: FrameStore) -> Tensor:
    """Frames (3, T, H, W) of a temporary video, through JPEG where the store is JPEG; the file is deleted."""
    wanted, positions = np.unique(indices, return_inverse=True)
    frames_THWC = read_frames(path, wanted)
    path.unlink()
    if store.codec == "jpeg":
        frames_THWC = np.stack([_through_jpeg(frame, store.info.quality) for frame in frames_THWC])
    return torch.from_numpy(frames_THWC[positions]).permute(3, 0, 1, 2)


def _through_jpeg(frame: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    # As `prepare` does it, half the colour resolution included.
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=quality, colorsubsampling="420")
    decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(encoded)
    return decoded
