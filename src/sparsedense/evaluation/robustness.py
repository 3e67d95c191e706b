"""Robustness: kNN accuracy of corrupted test clips against the clean gallery, network beside network.

The gallery stays clean, because a model is given its labels once and meets the bad camera later. It is the video that
is bad: frames are corrupted as they are stored, and then made as small as the network wants them.

Shapes: G gallery videos, Q query videos, M clips a video, V variants of a clip, W networks, D features, B clips.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.resize import resize_clips
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from sparsedense.evaluation.inference import PartedProgress, Progress, clip_settings, fast_features, output_batches
from sparsedense.evaluation.knn import knn_share_right
from sparsedense.models.recogniser import Recogniser

# The stride of a clip is multiplied, and divided, by these: the action plays faster, and slower, than in the gallery.
RATE_FACTORS = (1.25, 1.5, 2.0, 2.5, 3.0)
PASSES_PER_CLIP = 1 + len(CORRUPTIONS) * len(SEVERITIES) + 2 * len(RATE_FACTORS)

_CLIPS_A_BATCH = 32

Variant = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Gallery:
    """Clean labelled videos: features (G, D) by the network's name, and labels (G,)."""

    features: Mapping[str, Tensor]
    labels_G: Tensor


@dataclass(frozen=True)
class Robustness:
    """Accuracies in 0..1.

    Attributes:
        clean: by the network's name, of clips as they are.
        corrupted: by corruption and the network's name, at the five severities.
    """

    clean: dict[str, float]
    corrupted: dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class _Queries:
    """What is to be recognised, by what."""

    networks: Mapping[str, Recogniser]
    store: FrameStore
    video_ids: NDArray[np.int64]
    gallery: Gallery
    num_clips: int
    k: int
    num_workers: int


def robustness(
    networks: Mapping[str, Recogniser],
    store: FrameStore,
    video_ids: NDArray[np.int64],
    gallery: Gallery,
    *,
    num_clips: int = 3,
    k: int = 1,
    seed: int = 0,
    num_workers: int = 1,
    progress: Progress | None = None,
) -> Robustness:
    """KNN accuracy under noise, blur, JPEG, brightness and a changed frame rate.

    Each clip is read once for all corruptions of its pixels, and all networks see the same pixels. At severity s the
    frame rate is changed both ways, by `RATE_FACTORS[s - 1]`, and the figure is the mean of both. A clip never leaves
    its video: where the larger stride does not fit, the clip spans the whole video.

    Args:
        networks: by name, on one device, of one feature dimension and with the clips of the first; in evaluation mode
            (the first is put into it while this runs).
        store: where the frames are.
        video_ids: labelled videos Q to recognise.
        gallery: what to recognise them by.
        num_clips: clips M a video; fewer than the usual 10 will do, because each goes 31 times through each network.
        k: neighbours that vote.
        seed: of the noise.
        num_workers: processes that read clips.
        progress: called with how many passes of a clip through the networks are done, and how many there are.
    """
    queries = _Queries(networks, store, video_ids, gallery, num_clips, k, num_workers)
    clips = clip_settings(next(iter(networks.values())))
    kinds = [(kind, severity) for kind in CORRUPTIONS for severity in SEVERITIES]
    variants = [_unchanged, *(_corruption(kind, severity, seed) for kind, severity in kinds)]
    num_seen = len(video_ids) * num_clips
    parts = PartedProgress(progress, [num_seen * len(variants)] + [num_seen] * 2 * len(RATE_FACTORS))
    clean, *of_variants = _accuracies(queries, clips, variants, parts.next_part())
    corrupted: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in networks} for kind in CORRUPTIONS}
    for (kind, _), accuracies in zip(kinds, of_variants, strict=True):
        for name, accuracy in accuracies.items():
            corrupted[kind][name].append(accuracy)
    corrupted["frame_rate"] = {name: [] for name in networks}
    for factor in RATE_FACTORS:
        faster, slower = (
            _accuracies(queries, change_rate(clips, ratio), [_unchanged], parts.next_part())[0]
            for ratio in (factor, 1 / factor)
        )
        for name in networks:
            corrupted["frame_rate"][name].append((faster[name] + slower[name]) / 2)
    return Robustness(clean, corrupted)


def change_rate(clips: ClipConfig, factor: float) -> ClipConfig:
    """Evaluation clips whose stride is multiplied by a factor."""
    if clips.evaluation_stride_frames is None:
        return replace(clips, skip_ratio=clips.skip_ratio / factor)
    return replace(clips, evaluation_stride_frames=clips.evaluation_stride_frames * factor)


def _accuracies(
    queries: _Queries, clips: ClipConfig, variants: Sequence[Variant], progress: Progress
) -> list[dict[str, float]]:
    """For each variant of the clips, the accuracy of each network."""
    networks = [fast_features(network, "float32") for network in queries.networks.values()]  # as the gallery's are

    def features(clips_BCTHW: Tensor) -> Tensor:
        rows = []
        for variant in variants:
            changed = resize_clips(variant(clips_BCTHW), clips.size)
            rows += [features_of(changed) for features_of in networks]
        return torch.stack(rows, dim=1).flatten(1)

    videos_a_batch = max(1, _CLIPS_A_BATCH // queries.num_clips)
    batches = output_batches(
        next(iter(queries.networks.values())),
        queries.store,
        queries.video_ids,
        features,
        num_clips=queries.num_clips,
        clips=replace(clips, size=queries.store.short_side),
        batch_size=videos_a_batch * queries.num_clips,  # whole videos, so that only their means are kept
        num_workers=queries.num_workers,
        progress=progress,
    )
    rows = torch.cat([_means(batch, queries.num_clips) for batch in batches])
    features_QVWD = rows.view(len(rows), len(variants), len(networks), -1)
    labels_Q = torch.from_numpy(queries.store.label_ids[queries.video_ids])
    gallery, accuracies = queries.gallery, []
    for features_QWD in features_QVWD.unbind(dim=1):
        of_network = dict(zip(queries.networks, features_QWD.unbind(dim=1), strict=True))
        accuracies.append(
            {
                name: knn_share_right(gallery.features[name], gallery.labels_G, features_QD, labels_Q, k=queries.k)
                for name, features_QD in of_network.items()
            }
        )
    return accuracies


def _means(rows_BX: Tensor, num_clips: int) -> Tensor:
    """Rows of whole videos, averaged over the clips of each."""
    return rows_BX.view(-1, num_clips, rows_BX.shape[1]).mean(dim=1)


def _unchanged(clips_BCTHW: Tensor) -> Tensor:
    return clips_BCTHW


def _corruption(kind: str, severity: int, seed: int) -> Variant:
    generator = torch.Generator().manual_seed(seed)
    return partial(corrupt, kind=kind, severity=severity, generator=generator)
