"""How often a pretrained and a random network are right by nearest neighbour when all videos are noisy.

In `sparsedense probe` the queries alone are corrupted; here the gallery is noisy too. Answers how much of what a random
network is right by is nothing but the absence of nuisances.

    python benchmarks/knn_with_noisy_videos.py MODEL STORE
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.store import FrameStore
from sparsedense.evaluation.inference import output_batches
from sparsedense.evaluation.knn import knn_share_right
from sparsedense.evaluation.probe_samples import random_network
from sparsedense.models.model_file import load_model
from sparsedense.models.recogniser import Recogniser

VIDEOS_A_BATCH = 4


def noisy_features(
    networks: list[Recogniser], store: FrameStore, videos: NDArray[np.int64], stds: list[float], clips: int, seed: int
) -> Tensor:
    """Features (N, S, W, D) of N videos with noise of S strengths from W networks, averaged over the clips of each."""
    generator = torch.Generator().manual_seed(seed)

    def output(clips_BCTHW: Tensor) -> Tensor:
        grey = torch.randn(clips_BCTHW[:, :1].shape, generator=generator)
        noisy = [(clips_BCTHW + std * grey).clamp(0, 1) for std in stds]
        return torch.stack([network.features(clip) for clip in noisy for network in networks], dim=1).flatten(1)

    rows = torch.cat(
        list(output_batches(networks[0], store, videos, output, num_clips=clips, batch_size=clips * VIDEOS_A_BATCH))
    )
    return rows.view(len(videos), clips, len(stds), len(networks), -1).mean(dim=1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--stds", type=lambda text: [float(part) for part in text.split(",")], default=[0, 0.03, 0.05])
    parser.add_argument("--clips", type=int, default=10)
    options = parser.parse_args()
    store, model = FrameStore(options.store), load_model(options.model).eval()
    networks = [model, random_network(model, seed=0).eval()]
    gallery, queries = (store.videos(split=split, labelled=True) for split in ("train", "test"))
    features_G, features_Q = (
        noisy_features(networks, store, videos, options.stds, options.clips, seed)
        for seed, videos in enumerate((gallery, queries))
    )
    labels_G, labels_Q = (torch.from_numpy(store.label_ids[videos]) for videos in (gallery, queries))
    for place, std in enumerate(options.stds):
        right = [
            knn_share_right(features_G[:, place, which], labels_G, features_Q[:, place, which], labels_Q, k=1)
            for which in range(len(networks))
        ]
        print(f"noise {std:g}: pretrained {right[0]:.1%}, random {right[1]:.1%}, ratio {right[0] / right[1]:.2f}")


if __name__ == "__main__":
    main()
