"""The stores of a study, and the lists of the videos whose labels each fine-tuning sees."""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sparsedense.config import Experiment
from sparsedense.data.splits import cut_groups
from sparsedense.data.store import FrameStore
from sparsedense.experiments.job_records import write_atomically
from sparsedense.training.clip_streams import video_pools
from sparsedense.training.plan import Phase


@dataclass(frozen=True)
class Fold:
    """One store of a study.

    Attributes:
        name: unique, for folders and tables.
        store: opened.
        fingerprint: digest of what the store says it holds; it does not change when the store is moved.
    """

    name: str
    store: FrameStore
    fingerprint: str

    def labelled_videos(self, split: str) -> int:
        """Number of labelled videos of a split."""
        return len(self.store.videos(split=split, labelled=True))


def open_folds(paths: Sequence[str | Path]) -> list[Fold]:
    """Open the stores and check that arms can be compared on them.

    Raises:
        ValueError: there is no store, a store has no labelled test video, or a group lies on two sides of a split.
        StoreError: a folder is no store.
    """
    if not paths:
        raise ValueError("the study names no store; add `stores` to its file or pass --store")
    folders = [Path(path) for path in paths]
    folds = [
        Fold(name, FrameStore(path), _fingerprint(path)) for name, path in zip(_names(folders), folders, strict=True)
    ]
    for fold in folds:
        _check(fold)
    return folds


def label_name(labels_per_class: int | None) -> str:
    """How a number of labels is written in names: 3 is '3', None is 'all'."""
    return "all" if labels_per_class is None else str(labels_per_class)


def write_label_lists(
    out: Path, fold: Fold, experiment: Experiment, *, seeds: Sequence[int], labels_per_class: Sequence[int | None]
) -> dict[int | None, float]:
    """Write which videos' labels each fine-tuning sees, as `labels/<store>-seed0-3.csv`.

    With the same seed a smaller list is a part of every larger one, and all come from the split train, which shares no
    group with the videos that the arms are judged on.

    Returns:
        For each number of labels the mean number of videos a class: what `None` comes to.

    Raises:
        ValueError: a class has fewer videos; the message names the classes.
    """
    counts: dict[int | None, float] = {}
    store = fold.store
    for labels in labels_per_class:
        for seed in seeds:
            chosen = replace(experiment, seed=seed, labels_per_class=labels)
            ids = sorted(video_pools(store, chosen, Phase.FINETUNE).labelled.tolist())
            table = io.StringIO()
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(["path", "label", "group"])
            writer.writerows([store.paths[i], store.class_names[store.label_ids[i]], store.groups[i]] for i in ids)
            write_atomically(out / "labels" / f"{fold.name}-seed{seed}-{label_name(labels)}.csv", table.getvalue())
            counts[labels] = len(ids) / len(store.class_names)
    return counts


def _check(fold: Fold) -> None:
    store = fold.store
    if not fold.labelled_videos("test"):
        raise ValueError(f"{store.path}: no labelled video in the split test to compare the arms on")
    videos = store.videos(labelled=True)
    cut = cut_groups([store.groups[video] for video in videos], [str(store.splits[video]) for video in videos])
    if cut:
        raise ValueError(
            f"{store.path}: the groups {', '.join(cut[:5])} have videos both to train and to judge on; prepare the "
            f"store with splits that cut no group"
        )


def _names(paths: Sequence[Path]) -> list[str]:
    """The folder's name, with as many of the folders above it as tell the stores apart."""
    parts = [path.resolve().parts[1:] for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["-".join(found[-depth:]) for found in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"stores name the same folder more than once: {', '.join(map(str, paths))}")


def _fingerprint(store: Path) -> str:
    digest = hashlib.sha256()
    for name in ("store.json", "manifest.parquet"):
        digest.update((store / name).read_bytes())
    return digest.hexdigest()[:16]
