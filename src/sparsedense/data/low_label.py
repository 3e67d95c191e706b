"""Few labels: the same number of labelled videos for each class, nested, so that fewer are a part of more."""

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.store import FrameStore


def labelled_subset(
    store: FrameStore, video_ids: NDArray[np.int64], *, labels_per_class: int | None, seed: int
) -> NDArray[np.int64]:
    """Choose the labelled videos that training may see the labels of.

    The videos of a class are put into a seeded order and the first `labels_per_class` are taken, so the subset of 3
    labels is contained in that of 5 with the same seed.

    Args:
        store: where the labels are.
        video_ids: labelled videos to choose from.
        labels_per_class: how many of each class; None takes all.
        seed: seed of the order.

    Raises:
        ValueError: the number is below 1, or a class has fewer videos; the message names the classes.
    """
    if labels_per_class is None:
        return video_ids
    if labels_per_class < 1:
        raise ValueError(f"labels_per_class ({labels_per_class}) must be at least 1")
    labels = store.label_ids[video_ids]
    chosen, short = [], []
    for label, name in enumerate(store.class_names):
        of_class = video_ids[labels == label]
        if len(of_class) < labels_per_class:
            short.append(f"{name} ({len(of_class)})")
        order = np.random.default_rng((seed, label)).permutation(len(of_class))
        chosen.append(of_class[order[:labels_per_class]])
    if short:
        raise ValueError(
            f"{store.path}: labels_per_class is {labels_per_class}, but fewer long enough training videos are there of "
            f"{', '.join(short)}"
        )
    return np.concatenate(chosen)
