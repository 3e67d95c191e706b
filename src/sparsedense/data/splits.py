"""Which videos train, validate and test: by group, so that no actor, scene or source video is on two sides.

Pure functions of labels and groups; nothing here reads files.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from sparsedense.data.errors import CatalogError

SPLITS = ("train", "val", "test", "unlabelled")
_DRAWN = ("test", "val", "train")  # in the order in which equal claims to a group are settled


def draw_splits(
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    kept: Mapping[str, str] | None = None,
) -> list[str]:
    """Draw train, val and test by group, with every class spread as the fractions ask.

    A group goes whole into one split, also where it holds several classes. Every class keeps at least one group in
    train. The other groups, largest first, go where they bring the classes' shares nearest to the fractions (squared
    error). The result depends on the seed and on the set of groups, not on the order of the videos.

    Args:
        labels: class name of each video.
        groups: group of each video.
        val_fraction: share of the videos wanted in val, in [0, 1).
        test_fraction: share of the videos wanted in test, in [0, 1).
        seed: seed of the draw.
        kept: groups whose split was drawn before and stays as it is.

    Returns:
        "train", "val" or "test" for each video.

    Raises:
        ValueError: the fractions are negative, or leave nothing to train on.
    """
    if val_fraction < 0 or test_fraction < 0 or val_fraction + test_fraction >= 1:
        raise ValueError(
            f"val_fraction ({val_fraction}) and test_fraction ({test_fraction}) must not be negative "
            "and must leave a share for training: their sum must be below 1"
        )
    fractions = {"test": test_fraction, "val": val_fraction, "train": 1 - val_fraction - test_fraction}
    class_ids = {name: index for index, name in enumerate(sorted(set(labels)))}
    counts_of: dict[str, Counter[int]] = defaultdict(Counter)
    for label, group in zip(labels, groups, strict=True):
        counts_of[group][class_ids[label]] += 1
    order = sorted(counts_of)
    np.random.default_rng(seed).shuffle(order)
    order.sort(key=lambda group: -counts_of[group].total())  # stable: equal sizes stay shuffled

    draw = _Draw(counts_of, fractions, num_classes=len(class_ids))
    for group, split in (kept or {}).items():
        if group in counts_of and split in _DRAWN:
            draw.put(group, split)
    new = [group for group in order if group not in draw.split_of]
    trained = {class_id for group, split in draw.split_of.items() if split == "train" for class_id in counts_of[group]}
    for group in _train_core(new, counts_of, num_classes=len(class_ids), covered=trained):
        draw.put(group, "train")
    for group in order:
        if group not in draw.split_of:
            draw.put(group, draw.best_split(group))
    return [draw.split_of[group] for group in groups]


def hold_out_groups(groups: Sequence[str], *, val_groups: Collection[str], test_groups: Collection[str]) -> list[str]:
    """Put named groups into val and test and all others into train, as leave-one-subject-out asks.

    Raises:
        CatalogError: a named group does not exist, is named for both, or nothing is left to train on.
    """
    existing = set(groups)
    for name, wanted in (("test_groups", test_groups), ("val_groups", val_groups)):
        missing = sorted(set(wanted) - existing)
        if missing:
            raise CatalogError(
                f"{name} names {', '.join(map(repr, missing))}, which no labelled video belongs to; "
                f"the groups are {shown(sorted(existing))}"
            )
    both = sorted(set(val_groups) & set(test_groups))
    if both:
        raise CatalogError(f"groups {shown(both)} are named in both val_groups and test_groups; name each once")
    if existing and existing <= set(val_groups) | set(test_groups):
        raise CatalogError("val_groups and test_groups name every group; leave at least one to train on")
    return ["test" if group in test_groups else "val" if group in val_groups else "train" for group in groups]


def cut_groups(groups: Sequence[str], splits: Sequence[str]) -> list[str]:
    """Groups that lie in more than one of train, val and test, sorted. Unlabelled videos are not counted."""
    splits_of: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        if split != "unlabelled":
            splits_of[group].add(split)
    return sorted(group for group, found in splits_of.items() if len(found) > 1)


def shown(names: Sequence[str], limit: int = 10) -> str:
    """Up to `limit` names for a message, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(repr, names[:limit])) + more


def _train_core(
    order: Sequence[str], counts_of: dict[str, Counter[int]], *, num_classes: int, covered: Collection[int]
) -> list[str]:
    """Groups that give every class that is not covered something to train on; those with the fewest choose first."""
    groups_of: list[list[str]] = [[] for _ in range(num_classes)]
    for group in order:
        for class_id in counts_of[group]:
            groups_of[class_id].append(group)
    core: list[str] = []
    covered = set(covered)
    for class_id in sorted(range(num_classes), key=lambda index: len(groups_of[index])):
        if class_id not in covered and groups_of[class_id]:  # without a new group it stays as it was drawn
            # The smallest group leaves the most freedom to the fractions.
            core.append(groups_of[class_id][-1])
            covered.update(counts_of[core[-1]])
    return core


class _Draw:
    """Groups put into splits one by one, and how far each class is from its wanted share."""

    def __init__(self, counts_of: dict[str, Counter[int]], fractions: dict[str, float], *, num_classes: int) -> None:
        self.split_of: dict[str, str] = {}
        self._counts_of = counts_of
        self._fractions = fractions
        self._shares = {split: np.zeros(num_classes) for split in fractions}
        self._totals = np.zeros(num_classes)
        for counts in counts_of.values():
            for class_id, count in counts.items():
                self._totals[class_id] += count

    def put(self, group: str, split: str) -> None:
        self.split_of[group] = split
        class_ids, shares = self._group_shares(group)
        self._shares[split][class_ids] += shares

    def best_split(self, group: str) -> str:
        class_ids, shares = self._group_shares(group)
        costs = {}
        for split in _DRAWN:
            fraction = self._fractions[split]
            if fraction == 0:
                continue
            excess = self._shares[split][class_ids] - fraction
            costs[split] = round(float(np.sum((excess + shares) ** 2 - excess**2)), 9)
        return min(costs, key=lambda split: costs[split])

    def _group_shares(self, group: str) -> tuple[list[int], np.ndarray]:
        counts = self._counts_of[group]
        class_ids = list(counts)
        return class_ids, np.array([counts[index] for index in class_ids]) / self._totals[class_ids]
