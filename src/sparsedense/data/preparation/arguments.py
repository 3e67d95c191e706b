"""The arguments of `prepare` on which the store depends, checked and compared with those of an earlier run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsedense.data.catalog import Catalog, read_catalog
from sparsedense.data.errors import CatalogError
from sparsedense.data.locations import Location
from sparsedense.data.preparation.ingest import FrameFormat
from sparsedense.data.shards import CODECS

DEFAULT_VAL_FRACTION = 0.1
SPLIT_ARGUMENTS = ("val_fraction", "test_fraction", "val_groups", "test_groups", "seed", "group_pattern", "split")


@dataclass(frozen=True, kw_only=True)
class PrepareArguments:
    """What `prepare` was asked for; see there.

    Raises:
        ValueError: an argument is out of range, or does not go with another.
    """

    codec: str
    short_side: int
    quality: int
    min_frames: int
    max_shard_bytes: int
    dataset: str | None
    split: int
    lists: str | None
    group_pattern: str | None
    val_fraction: float | None
    test_fraction: float
    val_groups: Sequence[str]
    test_groups: Sequence[str]
    seed: int

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ValueError(f"codec {self.codec!r} is not known; use one of {', '.join(CODECS)}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality ({self.quality}) must be from 1 to 100")
        for name in ("short_side", "min_frames", "max_shard_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if self.dataset is None and self.lists is not None:
            raise ValueError(f"lists ({self.lists}) are of a public data set; name it with dataset")
        if self.dataset is not None and (self.val_groups or self.test_groups or self.group_pattern):
            raise ValueError(
                f"dataset {self.dataset!r} has groups and splits of its own; leave out group_pattern, val_groups and "
                "test_groups, or prepare the folder without dataset"
            )

    @property
    def frame_format(self) -> FrameFormat:
        """How frames are stored."""
        return FrameFormat(
            codec=self.codec, short_side=self.short_side, quality=self.quality, min_frames=self.min_frames
        )

    def catalog(self, source: Location, *, kept_splits: Mapping[str, str] | None = None) -> Catalog:
        """The videos of the source.

        Args:
            source: folder or list, or the URL of one.
            kept_splits: splits of groups that were drawn before and stay as they are.

        Raises:
            CatalogError: the source is missing, holds no videos, or contradicts itself.
        """
        if self.dataset is not None:
            from sparsedense.data.datasets import read_dataset  # here: it brings torch, which takes seconds

            if isinstance(source, str):
                raise CatalogError(
                    f"the lists of {self.dataset} are read from a folder of this machine, not from {source}; copy "
                    "or mount it, or leave out dataset"
                )
            fraction = self.val_fraction or 0.0
            return read_dataset(
                self.dataset,
                source,
                split=self.split,
                lists=self.lists,
                val_fraction=fraction,
                seed=self.seed,
                kept_splits=kept_splits,
            )
        return read_catalog(
            source,
            group_pattern=self.group_pattern,
            val_fraction=DEFAULT_VAL_FRACTION if self.val_fraction is None else self.val_fraction,
            test_fraction=self.test_fraction,
            val_groups=self.val_groups,
            test_groups=self.test_groups,
            seed=self.seed,
            kept_splits=kept_splits,
        )

    def record(self) -> dict[str, Any]:
        """The arguments as they are kept with a store; equal records make equal stores of equal sources."""
        values = asdict(self)
        values["lists"] = None if self.lists is None else Path(self.lists).name  # where they lie is nobody's business
        values.update(val_groups=sorted(self.val_groups), test_groups=sorted(self.test_groups))
        return dict(json.loads(json.dumps(values)))


def told_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two records, for a message; empty where nothing does."""
    names = [name for name in now if name in before and before[name] != now[name]]
    return ", ".join(f"{name} was {before[name]!r} and is now {now[name]!r}" for name in names)


def same_splits(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two records ask for the same groups and splits."""
    return all(before.get(name) == now.get(name) for name in SPLIT_ARGUMENTS)


def format_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a record that cannot change without decoding again."""
    return {name: value for name, value in record.items() if name not in SPLIT_ARGUMENTS and name != "max_shard_bytes"}


def parse_shard(shard: str | None) -> tuple[int, int] | None:
    """Number and count of `--shard I/N`; None for the whole source.

    Raises:
        ValueError: it is not of this form, or out of range.
    """
    if shard is None:
        return None
    number, slash, count = shard.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal()) or not 1 <= int(number) <= int(count):
        raise ValueError(
            f"shard {shard!r} is not I/N with I from 1 to N, such as 3/16; in a SLURM job array of 1-16, "
            "$SLURM_ARRAY_TASK_ID/16"
        )
    return int(number), int(count)
