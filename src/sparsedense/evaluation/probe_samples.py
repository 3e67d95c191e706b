"""What a probe measures on: gallery and queries, and their features by a model and by random networks.

Each clip is read once and goes through all networks.

Shapes: N videos, M clips a video, D features.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from sparsedense.data.low_label import labelled_subset
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.inference import Progress, clip_outputs, fast_features
from sparsedense.models.recogniser import Recogniser, build_recogniser

UNTRAINED, RANDOM = "untrained", "random"
NUM_RANDOM = 3  # one alone is a matter of luck: 15 to 23 % by nearest neighbour (docs/experiments.md)


@dataclass(frozen=True)
class Samples:
    """The videos of a probe and their features.

    Attributes:
        store: where the videos are.
        gallery_ids: labelled training videos.
        query_ids: videos to recognise.
        gallery, queries: features (N, M, D) of their clips, by the network's name.
    """

    store: FrameStore
    gallery_ids: NDArray[np.int64]
    query_ids: NDArray[np.int64]
    gallery: dict[str, Tensor]
    queries: dict[str, Tensor]

    @property
    def gallery_labels(self) -> Tensor:
        """Classes of the gallery's videos, (N,)."""
        return torch.from_numpy(self.store.label_ids[self.gallery_ids])

    @property
    def query_labels(self) -> Tensor:
        """Classes of the queries, (N,)."""
        return torch.from_numpy(self.store.label_ids[self.query_ids])


def gallery_and_queries(
    store: FrameStore, split: str, labels_per_class: int | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids of the labelled training videos that answers are taken from, and of the videos of a split to recognise.

    Raises:
        ValueError: the split is `train`, there are fewer than two videos, or a class has too few for the gallery.
    """
    if split == "train":
        raise ValueError("split must not be 'train': its videos are the gallery; use val or test")
    labelled, queries = (store.videos(split=name, labelled=True) for name in ("train", split))
    if min(len(labelled), len(queries)) < 2:
        raise ValueError(
            f"{store.path}: a probe needs at least two labelled videos in the splits train ({len(labelled)}) and "
            f"{split} ({len(queries)})"
        )
    return labelled_subset(store, labelled, labels_per_class=labels_per_class, seed=seed), queries


def baseline_networks(model: Recogniser, *, seed: int) -> dict[str, Recogniser]:
    """Networks of a model's shape that have learnt nothing, by name, on its device, in evaluation mode.

    `untrained` has the weights that its training would start from; `random-0`, `random-1`, ... have PyTorch's default
    weights. They are not equally blind. R(2+1)D starts as torchvision's does, with weights that keep the variance (He
    et al., 2015): its features are those of a bank of random filters, and on frame differences tell much by themselves.
    PyTorch's defaults shrink what passes through each layer, and leave little of it.
    """
    defaults = {
        f"{RANDOM}-{index}": random_network(model, seed=seed * NUM_RANDOM + index, default_weights=True)
        for index in range(NUM_RANDOM)
    }
    return {UNTRAINED: random_network(model, seed=seed), **defaults}


def random_network(model: Recogniser, *, seed: int, default_weights: bool = False) -> Recogniser:
    """A network of a model's shape, on its device, in evaluation mode, with random weights.

    Args:
        model: gives the shape, the clips and the device.
        seed: of the weights.
        default_weights: give convolutions and linear maps PyTorch's default weights, not those that training starts
            from.
    """
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they were
        torch.manual_seed(seed)
        network = build_recogniser(model.encoder.config, clips=model.clips, speed_head=False)
        for layer in network.modules() if default_weights else ():
            if isinstance(layer, _ConvNd | nn.Linear):
                layer.reset_parameters()
    return network.to(next(model.parameters()).device).eval()


def network_features(
    networks: Mapping[str, Recogniser],
    store: FrameStore,
    video_ids: NDArray[np.int64],
    clips_per_video: int,
    num_workers: int,
    progress: Progress,
) -> dict[str, Tensor]:
    """Features (N, M, D) of the same clips by each network; each clip is read once.

    In float32 everywhere: what PyTorch's default weights leave of a clip is smaller than the steps of bfloat16.
    """
    of_name = [fast_features(network, "float32") for network in networks.values()]
    rows_NMX = clip_outputs(
        next(iter(networks.values())),
        store,
        video_ids,
        lambda clips: torch.cat([features(clips) for features in of_name], dim=1),
        num_clips=clips_per_video,
        num_workers=num_workers,
        progress=progress,
    )
    return dict(zip(networks, rows_NMX.chunk(len(of_name), dim=-1), strict=True))
