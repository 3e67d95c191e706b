"""Public data sets, read exactly as their owners distribute them: one small file a family, with its description.

catalog = read_dataset("ucf101", "UCF101", split=1)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from sparsedense.data.catalog import Catalog
from sparsedense.data.datasets import (
    activitynet,
    diving48,
    gmdcsa24,
    hmdb51,
    jester,
    kinetics,
    mini_kinetics,
    paper,
    something_something,
    thumos14,
    ucf101,
)
from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import counted
from sparsedense.data.segments import AnnotatedVideos
from sparsedense.data.splits import draw_splits

__all__ = ["DATASETS", "describe_dataset", "read_dataset", "read_segments"]

DATASETS: dict[str, DatasetDescription] = {
    "ucf101": ucf101.DESCRIPTION,
    "hmdb51": hmdb51.DESCRIPTION,
    "hmdb51-whole": hmdb51.WHOLE_DESCRIPTION,
    "kinetics400": kinetics.DESCRIPTIONS[400],
    "kinetics600": kinetics.DESCRIPTIONS[600],
    "kinetics700": kinetics.DESCRIPTIONS[700],
    "mini-kinetics": mini_kinetics.DESCRIPTION,
    "paper": paper.DESCRIPTION,
    "ssv2": something_something.DESCRIPTION,
    "jester": jester.DESCRIPTION,
    "diving48": diving48.DESCRIPTION,
    "activitynet": activitynet.DESCRIPTION,
    "thumos14": thumos14.DESCRIPTION,
    "gmdcsa24": gmdcsa24.DESCRIPTION,
}
_READERS: dict[str, Callable[[Path, Path, int], Catalog]] = {
    "ucf101": ucf101.read,
    "hmdb51": hmdb51.read,
    "hmdb51-whole": hmdb51.read_whole,
    "kinetics400": kinetics.reader(400),
    "kinetics600": kinetics.reader(600),
    "kinetics700": kinetics.reader(700),
    "mini-kinetics": mini_kinetics.read,
    "paper": paper.read,
    "ssv2": something_something.read,
    "jester": jester.read,
    "diving48": diving48.read,
}
_SEGMENT_READERS: dict[str, Callable[[Path, Path], AnnotatedVideos]] = {
    "activitynet": activitynet.read,
    "thumos14": thumos14.read,
    "gmdcsa24": gmdcsa24.read,
}


def describe_dataset(name: str) -> DatasetDescription:
    """The description of a data set.

    Raises:
        ValueError: there is no data set of that name.
    """
    if name not in DATASETS:
        close = difflib.get_close_matches(name.lower(), DATASETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(DATASETS)}"
        raise ValueError(f"there is no data set {name!r}; {hint}")
    return DATASETS[name]


def read_dataset(
    name: str,
    source: str | Path,
    *,
    split: int = 1,
    lists: str | Path | None = None,
    val_fraction: float = 0.0,
    seed: int = 0,
    kept_splits: Mapping[str, str] | None = None,
) -> Catalog:
    """List the videos of a public data set with its official split, without opening them.

    Args:
        name: one of `DATASETS`.
        source: folder with the videos.
        split: number of the official split, from 1.
        lists: folder with the data set's lists; None where they lie below the source.
        val_fraction: share of the training videos to validate on, drawn by group; for data sets that have no
            validation of their own.
        seed: seed of that draw.
        kept_splits: splits of groups that were drawn before and stay as they are, when videos have come since.

    Returns:
        The catalog; its `missing` names the listed videos that are not there.

    Raises:
        CatalogError: the folder is not laid out as expected; the message says what was expected and what was found.
        ValueError: there is no data set, or no split, of that name, or the fraction is out of range.
    """
    description = describe_dataset(name)
    if name not in _READERS:
        raise CatalogError(
            f"{description.title} has segments of long videos, which `prepare` does not cut; read them with "
            f"`sparsedense.data.datasets.read_segments({name!r}, ...)`, or prepare the folder without --dataset"
        )
    if not 1 <= split <= description.splits:
        raise ValueError(f"split ({split}) must be from 1 to {description.splits} for {description.title}")
    source = Path(source)
    catalog = _READERS[name](source, source if lists is None else Path(lists), split)
    return _with_validation(catalog, description, val_fraction, seed, kept_splits or {}) if val_fraction else catalog


def read_segments(name: str, source: str | Path, *, lists: str | Path | None = None) -> AnnotatedVideos:
    """List the long videos of a data set with the segments in which something happens.

    Args:
        name: "activitynet", "thumos14" or "gmdcsa24".
        source: folder with the videos.
        lists: folder with the annotations; None where they lie below the source.

    Raises:
        CatalogError: the annotations are missing or not as expected.
        ValueError: there is no such data set, or it has no segments.
    """
    description = describe_dataset(name)
    if name not in _SEGMENT_READERS:
        raise ValueError(f"{description.title} has no segments; use one of {', '.join(_SEGMENT_READERS)}")
    source = Path(source)
    return _SEGMENT_READERS[name](source, source if lists is None else Path(lists))


def _with_validation(
    catalog: Catalog, description: DatasetDescription, val_fraction: float, seed: int, kept_splits: Mapping[str, str]
) -> Catalog:
    """The catalog with some groups of the training moved to validation."""
    if any(entry.split == "val" for entry in catalog):
        raise ValueError(f"val_fraction ({val_fraction}) must be 0: {description.title} has a validation of its own")
    training = [entry for entry in catalog if entry.split == "train"]
    drawn = iter(
        draw_splits(
            [entry.label or "" for entry in training],
            [entry.group for entry in training],
            val_fraction=val_fraction,
            test_fraction=0.0,
            seed=seed,
            # A group that the official lists cut is in test besides; here it is the training's part that counts.
            kept={group: split for group, split in kept_splits.items() if split in ("train", "val")},
        )
    )
    entries = tuple(replace(entry, split=next(drawn)) if entry.split == "train" else entry for entry in catalog.entries)
    moved = sum(entry.split == "val" for entry in entries)
    note = f"{counted(moved, 'training video')} of {len(training):,} taken for validation, by group"
    return replace(catalog, entries=entries, notes=(*catalog.notes, note))
