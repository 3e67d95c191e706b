"""How often networks that have learnt nothing are right by nearest neighbour, by the weights that they have.

    python benchmarks/knn_of_random_weights.py STORE --recipe sparsedense+small

Prints a share for each seed, for the weights that training starts from and for PyTorch's defaults: by all clips of a
video, and by the one in the middle.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch

from sparsedense.config import load_experiment
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.knn import knn_share_right
from sparsedense.evaluation.probe_samples import gallery_and_queries, network_features, random_network
from sparsedense.models.recogniser import build_recogniser

KINDS = {"as training starts": False, "PyTorch's defaults": True}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--recipe", default="sparsedense+small")
    parser.add_argument("--labels-per-class", type=int, default=None)
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--every", type=int, default=1, help="only every so many-th test video")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    experiment, store = load_experiment(options.recipe), FrameStore(options.store)
    shape = build_recogniser(experiment.model, clips=asdict(experiment.clips))
    networks = {
        (kind, seed): random_network(shape, seed=seed, default_weights=default)
        for kind, default in KINDS.items()
        for seed in range(options.seeds)
    }
    by_name = {str(key): network for key, network in networks.items()}
    gallery, queries = gallery_and_queries(store, "test", options.labels_per_class, 0)
    ids = (gallery, queries[:: options.every])
    features = [network_features(by_name, store, videos, options.clips, 0, lambda _done, _all: None) for videos in ids]
    labels = [torch.from_numpy(store.label_ids[videos]) for videos in ids]
    for clips, pick in (
        (f"{options.clips} clips", slice(None)),
        ("1 clip", slice(options.clips // 2, options.clips // 2 + 1)),
    ):
        for kind in KINDS:
            means = [
                [of_network[str((kind, seed))][:, pick].mean(dim=1) for of_network in features]
                for seed in range(options.seeds)
            ]
            shares = [knn_share_right(g, labels[0], q, labels[1]) for g, q in means]
            print(f"{kind}, {clips}: {', '.join(f'{share:.1%}' for share in shares)}")


if __name__ == "__main__":
    main()
