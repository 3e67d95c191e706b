"""What a representation knows, beside random networks of the same shape.

Each clip is read once and goes through all networks, and its features serve kNN, linear probe, retrieval and
statistics alike.

Shapes: N videos, M clips a video, D features.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsedense.data.remote_store import open_store
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.controls import speed_controls
from sparsedense.evaluation.inference import PartedProgress, Progress, clip_settings
from sparsedense.evaluation.knn import knn_share_right
from sparsedense.evaluation.linear_probe import fit_linear_probe
from sparsedense.evaluation.probe_samples import (
    RANDOM,
    UNTRAINED,
    Samples,
    baseline_networks,
    gallery_and_queries,
    network_features,
)
from sparsedense.evaluation.representation import alignment, effective_rank, feature_std, uniformity
from sparsedense.evaluation.retrieval import retrieval
from sparsedense.evaluation.robustness import PASSES_PER_CLIP, Gallery
from sparsedense.evaluation.robustness import robustness as measure_robustness
from sparsedense.models.model_file import load_model
from sparsedense.models.recogniser import Recogniser

MODEL = "model"
NEIGHBOURS = 1  # k of kNN
_PASSES_PER_CONTROL_VIDEO = 16  # two clips, four times, and about as long again for encoding


@dataclass(frozen=True)
class Probe:
    """Figures of a model and of networks of its shape that have learnt nothing; shares are in 0..1.

    The keys of recognition and of features are `model`, `random` (the mean of three networks with PyTorch's default
    weights) and `untrained` (one with the weights that training starts from, which is the harder one to beat).

    Attributes:
        knn: accuracy of the nearest neighbour.
        linear: accuracy of a linear probe on frozen features, BatchNorm statistics frozen too.
        retrieval: for each network `r1`, `r5`, ...: share of the queries with their class among the k nearest.
        controls: accuracy of the model's speed head (chance 0.5) on `real`, `frozen`, `shuffled` and `reencoded` clips;
            None where it has no speed head, no video is long enough, or they were not asked for.
        robustness: `clean` for `model` and `untrained`, and for each corruption and network the accuracy of the nearest
            neighbour at five severities, from `robustness_clips` clips a video; None where not asked for.
        effective_rank: directions that the clips' features use, 1..feature_dim.
        feature_std: spread of the L2-normalised features; 1 / sqrt(feature_dim) if even, 0 if collapsed.
        alignment: mean squared distance of two clips of a video; None for one clip a video.
        uniformity: log mean exp(-2 d^2) over clips of different videos; lower is more even.
        split: of the queries.
        labels_per_class: labelled training videos of each class in the gallery; None is all of them.
        clips_per_video: evenly spaced clips a video.
        robustness_clips: clips a video in `robustness`.
        gallery_videos: labelled training videos that answers are taken from.
        query_videos: videos of the split.
        feature_dim: length of a feature vector.
        seed: of the choice of labels, the random networks, the noise and the shuffling.
    """

    knn: dict[str, float]
    linear: dict[str, float]
    retrieval: dict[str, dict[str, float]]
    controls: dict[str, float] | None
    robustness: dict[str, dict[str, float] | dict[str, list[float]]] | None
    effective_rank: dict[str, float]
    feature_std: dict[str, float]
    alignment: dict[str, float] | None
    uniformity: dict[str, float]
    split: str
    labels_per_class: int | None
    clips_per_video: int
    robustness_clips: int
    gallery_videos: int
    query_videos: int
    feature_dim: int
    seed: int


def probe(
    model: Recogniser | str | Path,
    store: FrameStore | str | Path,
    *,
    split: str = "test",
    labels_per_class: int | None = 10,
    clips_per_video: int = 10,
    robustness: bool = True,
    robustness_clips: int = 3,
    controls: bool = True,
    control_videos: int = 60,
    seed: int = 0,
    num_workers: int = 1,
    progress: Progress | None = None,
) -> Probe:
    """Measure what a representation knows before any label has trained it.

    The classes are the store's, not the model's: any model can be probed on any labelled store.

    Args:
        model: recogniser or its file; a file is loaded onto the GPU where there is one.
        store: frame store, or its folder or URL.
        split: the videos to recognise.
        labels_per_class: labelled training videos of each class; None takes all.
        clips_per_video: evenly spaced clips a video.
        robustness: whether to measure accuracy under corruptions.
        robustness_clips: clips a video in that; each goes 31 times through each network.
        controls: whether to measure the speed head's controls.
        control_videos: most videos of the split to measure them on.
        seed: of the choice of labels, the random networks, the noise and the shuffling.
        num_workers: processes that read clips.
        progress: called with how many passes of a clip through the networks are done, and how many there are.

    Raises:
        ValueError: the split is that of the gallery, holds fewer than two labelled videos, or a class has fewer
            labelled training videos than asked for; or a number is below 1.
    """
    _check_numbers(clips_per_video, robustness_clips, control_videos)
    recogniser = model if isinstance(model, Recogniser) else load_model(model, device=_default_device())
    frame_store = store if isinstance(store, FrameStore) else open_store(store)
    gallery_ids, query_ids = gallery_and_queries(frame_store, split, labels_per_class, seed)
    control_ids = _control_videos(recogniser, frame_store, split, control_videos) if controls else query_ids[:0]
    parts = PartedProgress(
        progress,
        [
            *(len(video_ids) * clips_per_video for video_ids in (gallery_ids, query_ids)),
            len(query_ids) * robustness_clips * PASSES_PER_CLIP * robustness,
            len(control_ids) * _PASSES_PER_CONTROL_VIDEO,
        ],
    )
    networks = {MODEL: recogniser, **baseline_networks(recogniser, seed=seed)}
    features = [
        network_features(networks, frame_store, video_ids, clips_per_video, num_workers, parts.next_part())
        for video_ids in (gallery_ids, query_ids)
    ]
    samples = Samples(frame_store, gallery_ids, query_ids, *features)
    part = parts.next_part()
    return Probe(
        **_with_mean_of_random(_recognition(samples, next(recogniser.parameters()).device) | _statistics(samples)),
        robustness=_robustness(networks, samples, robustness_clips, seed, num_workers, part) if robustness else None,
        controls=_controls(recogniser, frame_store, control_ids, seed, parts.next_part()),
        split=split,
        labels_per_class=labels_per_class,
        clips_per_video=clips_per_video,
        robustness_clips=robustness_clips,
        gallery_videos=len(gallery_ids),
        query_videos=len(query_ids),
        feature_dim=recogniser.encoder.feature_dim,
        seed=seed,
    )


def _recognition(samples: Samples, device: torch.device) -> dict[str, Any]:
    """KNN, retrieval and linear probe of each network."""
    figures: dict[str, dict[str, Any]] = {"knn": {}, "retrieval": {}, "linear": {}}
    labels, query_labels = samples.gallery_labels, samples.query_labels
    groups = [samples.store.groups[video_id] for video_id in samples.gallery_ids]
    for name, gallery_NMD in samples.gallery.items():
        queries_NMD = samples.queries[name]
        videos = (gallery_NMD.mean(dim=1), labels, queries_NMD.mean(dim=1), query_labels)
        figures["knn"][name] = knn_share_right(*videos, k=NEIGHBOURS)
        figures["retrieval"][name] = retrieval(*videos)
        linear = fit_linear_probe(
            gallery_NMD.to(device), labels.to(device), groups, num_classes=len(samples.store.class_names)
        )
        figures["linear"][name] = linear.share_right(queries_NMD.to(device), query_labels.to(device))
    return figures


def _statistics(samples: Samples) -> dict[str, Any]:
    """Spread, rank, alignment and uniformity of the queries' clips, for each network."""
    queries = samples.queries
    half = next(iter(queries.values())).shape[1] // 2
    return {
        "feature_std": {name: float(feature_std(clips.flatten(0, 1))) for name, clips in queries.items()},
        "effective_rank": {name: float(effective_rank(clips.flatten(0, 1))) for name, clips in queries.items()},
        # One clip a video: the clips of one video are meant to be close.
        "uniformity": {name: float(uniformity(clips[:, half])) for name, clips in queries.items()},
        # Pairs that lie half of the video's clips apart.
        "alignment": {
            name: float(alignment(clips[:, :half].flatten(0, 1), clips[:, half : 2 * half].flatten(0, 1)))
            for name, clips in queries.items()
        }
        if half
        else None,
    }


def _with_mean_of_random(figures: dict[str, Any]) -> dict[str, Any]:
    """Each figure by `model`, `random` and `untrained`, where `random` is the mean over the networks of that kind."""
    merged = {}
    for title, of_network in figures.items():
        if of_network is not None:
            randoms = [figure for name, figure in of_network.items() if name.startswith(f"{RANDOM}-")]
            of_network = {MODEL: of_network[MODEL], RANDOM: _mean(randoms), UNTRAINED: of_network[UNTRAINED]}
        merged[title] = of_network
    return merged


def _mean(values: list[Any]) -> Any:  # noqa: ANN401 - numbers, or numbers by name
    if isinstance(values[0], dict):
        return {key: fmean(value[key] for value in values) for key in values[0]}
    return fmean(values)


def _robustness(
    networks: Mapping[str, Recogniser], samples: Samples, num_clips: int, seed: int, num_workers: int, part: Progress
) -> dict[str, dict[str, float] | dict[str, list[float]]]:
    compared = {name: networks[name] for name in (MODEL, UNTRAINED)}  # three more would double the longest part
    gallery = Gallery({name: samples.gallery[name].mean(dim=1) for name in compared}, samples.gallery_labels)
    measured = measure_robustness(
        compared,
        samples.store,
        samples.query_ids,
        gallery,
        num_clips=num_clips,
        k=NEIGHBOURS,
        seed=seed,
        num_workers=num_workers,
        progress=part,
    )
    return {"clean": measured.clean, **measured.corrupted}


def _controls(
    model: Recogniser, store: FrameStore, video_ids: NDArray[np.int64], seed: int, part: Progress
) -> dict[str, float] | None:
    if not len(video_ids):
        return None
    figures = asdict(speed_controls(model, store, video_ids, seed=seed, progress=part))
    return {name: figures[name] for name in ("real", "frozen", "shuffled", "reencoded")}


def _control_videos(model: Recogniser, store: FrameStore, split: str, most: int) -> NDArray[np.int64]:
    """Videos of the split that pretraining would take, spread evenly over its list, which goes by class."""
    if model.speed_head is None:
        return np.array([], dtype=np.int64)
    long_enough = store.videos(split=split, min_frames=clip_settings(model).min_frames)
    places = np.linspace(0, len(long_enough) - 1, min(most, len(long_enough))).round().astype(np.int64)
    chosen: NDArray[np.int64] = long_enough[places]
    return chosen


def _check_numbers(clips_per_video: int, robustness_clips: int, control_videos: int) -> None:
    numbers = {
        "clips_per_video": clips_per_video,
        "robustness_clips": robustness_clips,
        "control_videos": control_videos,
    }
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} ({number}) must be at least 1")


def _default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
