"""Features of long videos for the training of a detection head: computed once, kept on the disk, read part by part.

A video is decoded once and its clips are computed once. Two curves are kept: of all clips, and of the sparse skim
alone, because a head sees something between them when it is used.

    FOLDER/<model and settings>/<video>/rows.bin  presence.npy  edges_seconds.npy

Shapes: P positions, K scales, D features.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sparsedense.data.segments import AnnotatedVideo
from sparsedense.models.encoder import Encoder
from sparsedense.models.recogniser import Recogniser
from sparsedense.prediction.annotated_videos import Progress
from sparsedense.prediction.detection_methods import FeatureMethod
from sparsedense.prediction.long_videos import DetectionSettings, LongVideo, LongVideoModel
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.errors import UnreadableVideoError

_FORMAT = 2  # of the files; another number makes them anew
_BYTES_AT_A_TIME = 1 << 20
_FULL, _SKIM = 0, 1


class FeaturePart(NamedTuple):
    """A stretch of a video.

    Attributes:
        full_PKD: features with all clips computed.
        skim_PKD: features with the clips of the skim alone.
        skim_presence_PK: how far the skim knows each scale there; all clips know every one.
    """

    full_PKD: NDArray[np.float32]
    skim_PKD: NDArray[np.float32]
    skim_presence_PK: NDArray[np.float32]


@dataclass(frozen=True)
class VideoFeatures:
    """The features of one video, on the disk.

    Attributes:
        video: which, with its segments.
        folder: where they lie.
        edges_seconds: where positions begin and the last one ends (P + 1,).
        presence_PK: how far the skim knows each scale.
        shape_KD: number of scales and features.
    """

    video: AnnotatedVideo
    folder: Path
    edges_seconds: NDArray[np.float64]
    presence_PK: NDArray[np.float32]
    shape_KD: tuple[int, int]

    def __len__(self) -> int:
        return len(self.edges_seconds) - 1

    def part(self, start: int, end: int) -> FeaturePart:
        """Positions `start` to `end`, read from the disk."""
        rows = np.memmap(self.folder / "rows.bin", dtype=np.float16, mode="r", shape=(len(self), 2, *self.shape_KD))
        chosen = np.asarray(rows[start:end], dtype=np.float32)
        return FeaturePart(chosen[:, _FULL], chosen[:, _SKIM], self.presence_PK[start:end])

    def segments_in_positions(self) -> NDArray[np.float64]:
        """Starts and ends (N, 2) of the segments, in positions."""
        return self._in_positions([(each.start_seconds, each.end_seconds) for each in self.video.segments])

    def ambiguous_in_positions(self) -> NDArray[np.float64]:
        """Starts and ends (N, 2) of the stretches about which nothing is known, in positions."""
        return self._in_positions([(each.start_seconds, each.end_seconds) for each in self.video.ambiguous])

    def _in_positions(self, seconds: list[tuple[float, float]]) -> NDArray[np.float64]:
        places = np.interp(np.array(seconds).reshape(-1, 2), self.edges_seconds, np.arange(len(self.edges_seconds)))
        return np.asarray(places, dtype=np.float64)


def read_features(
    videos: Sequence[AnnotatedVideo],
    model: LongVideoModel,
    encoder: Encoder,
    settings: DetectionSettings,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> list[VideoFeatures]:
    """The features of videos, computed where they are not yet there.

    Args:
        videos: with their files.
        model: what computes them; the encoder is its network.
        encoder: by whose weights they are known again.
        settings: stride, number of scales and frame rate.
        folder: where they are kept; several models may share it.
        progress: called with videos done and videos in all.

    Raises:
        UnreadableVideoError: a video cannot be read, or is damaged.
    """
    method = FeatureMethod(model.features, model.stride_frames(settings), model.num_scales(settings))
    place = folder / _fingerprint(encoder, model, method, settings)
    features = []
    for done, video in enumerate(videos, 1):
        assert video.path is not None
        target = place / f"{video.path.stem}-{_file_hash(video.path)}"
        if not (target / "edges_seconds.npy").is_file():
            _compute(LongVideo(VideoSource(str(video.path), video.path), model, settings, method), video, target)
        features.append(_open(video, target, (method.num_scales, encoder.feature_dim)))
        if progress:
            progress(done, len(videos))
    return features


def _compute(reading: LongVideo, video: AnnotatedVideo, target: Path) -> None:
    """Write the features of a video part by part; the folder is there completely or not at all."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    edges: list[NDArray[np.float64]] = []
    presence: list[NDArray[np.floating]] = []
    with (partial / "rows.bin").open("wb") as rows:
        for full, skim in reading.curves_at((1.0, 0.0)):
            both_P2KD = np.stack([full.outputs_KPD, skim.outputs_KPD]).transpose(2, 0, 1, 3)
            rows.write(np.ascontiguousarray(both_P2KD, dtype=np.float16).tobytes())
            edges.append(full.edges_seconds[1:] if edges else full.edges_seconds)
            presence.append(skim.presence_KP.T)
    if reading.damage is not None:
        raise UnreadableVideoError(str(video.path), f"{reading.damage}; mend it or take it out of the annotations")
    np.save(partial / "presence.npy", np.concatenate(presence).astype(np.float32))
    np.save(partial / "edges_seconds.npy", np.concatenate(edges))
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)


def _open(video: AnnotatedVideo, target: Path, shape_KD: tuple[int, int]) -> VideoFeatures:
    edges_seconds = np.load(target / "edges_seconds.npy")
    return VideoFeatures(video, target, edges_seconds, np.load(target / "presence.npy", mmap_mode="r"), shape_KD)


def _fingerprint(encoder: Encoder, model: LongVideoModel, method: FeatureMethod, settings: DetectionSettings) -> str:
    """What the features of a video depend on, but for the video."""
    digest = hashlib.blake2b(digest_size=12)
    plain = {
        "format": _FORMAT,
        "encoder": asdict(encoder.config),
        "clip": (model.clips.length, model.clips.size),
        "short_side": model.short_side,
        "stride_frames": method.stride_frames,
        "num_scales": method.num_scales,
        "fps": settings.fps,
    }
    digest.update(json.dumps(plain, sort_keys=True).encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def classifier_logits(model: Recogniser, features: VideoFeatures) -> NDArray[np.float32]:
    """What a model's classifier says of the features of all clips of a video (K, P, L)."""
    assert model.classifier is not None
    full_PKD = features.part(0, len(features)).full_PKD
    rows = torch.from_numpy(full_PKD).to(next(model.parameters()).device)
    logits_PKL: NDArray[np.float32] = model.classifier(rows).float().cpu().numpy()
    return logits_PKL.swapaxes(0, 1)


def _file_hash(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=12)
    with path.open("rb") as file:
        while chunk := file.read(_BYTES_AT_A_TIME):
            digest.update(chunk)
    return digest.hexdigest()


def feature_statistics(features: Sequence[VideoFeatures]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation (K, D) of the features of all clips."""
    count, sums, squares = 0, np.zeros(features[0].shape_KD), np.zeros(features[0].shape_KD)
    for each in features:
        for start in range(0, len(each), 1 << 14):
            full_PKD = each.part(start, start + (1 << 14)).full_PKD.astype(np.float64)
            count, sums, squares = count + len(full_PKD), sums + full_PKD.sum(0), squares + (full_PKD**2).sum(0)
    mean_KD = sums / count
    std_KD = np.sqrt(np.maximum(squares / count - mean_KD**2, 0.0))
    return mean_KD.astype(np.float32), std_KD.astype(np.float32)
