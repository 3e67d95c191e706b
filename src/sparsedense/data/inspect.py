"""What a frame store holds: classes, splits, lengths, rejects, and what the length filter leaves."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sparsedense.data.class_gaps import class_gaps
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.manifest import StoreInfo
from sparsedense.data.remote_store import open_store
from sparsedense.data.splits import SPLITS
from sparsedense.data.store import FrameStore

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """Files with the same trouble: the reason (numbers shown as N), how many, and the first of them."""

    reason: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSummary:
    """What `inspect_store` found; counts are of videos that can be read.

    Attributes:
        location: the store's folder, or its URL.
        info: what `store.json` says.
        num_bytes: size of the shards; -1 where the server does not tell it.
        split_videos: videos of each split.
        split_groups: groups of each split.
        class_videos: for each class, videos of each split.
        length_quantiles: frames a video at `QUANTILES`.
        fps: source frame rates (rounded) with their counts, most frequent first.
        sizes: stored sizes "WxH" with their counts, most frequent first.
        rejects: why files were rejected.
        damaged: what is wrong with videos that were kept.
        min_frames: fewest frames that the length filter lets through.
        kept: videos of each split that pass the length filter.
        gaps: sentences that name classes without a training or a test video.
    """

    location: str
    info: StoreInfo
    num_bytes: int
    split_videos: dict[str, int]
    split_groups: dict[str, int]
    class_videos: dict[str, dict[str, int]]
    length_quantiles: tuple[float, ...]
    fps: tuple[tuple[str, int], ...]
    sizes: tuple[tuple[str, int], ...]
    rejects: tuple[ReasonCount, ...]
    damaged: tuple[ReasonCount, ...]
    min_frames: int
    kept: dict[str, int]
    gaps: tuple[str, ...] = ()


def inspect_store(path: str | Path, *, clips: ClipConfig | None = None) -> StoreSummary:
    """Count what a store holds, from its manifest alone.

    Args:
        path: the store's folder, or its URL.
        clips: what the length filter leaves videos for; the paper's clips if not given.

    Raises:
        StoreError: there is no store, or it cannot be read.
    """
    store, min_frames = open_store(path), (clips or ClipConfig()).min_frames
    readable = store.videos()
    in_split = {split: store.videos(split=split) for split in SPLITS}
    class_videos: dict[str, dict[str, int]] = {name: dict.fromkeys(SPLITS[:3], 0) for name in store.class_names}
    for video_id in store.videos(labelled=True):
        class_videos[store.class_names[store.label_ids[video_id]]][str(store.splits[video_id])] += 1
    fps = Counter("unknown" if np.isnan(rate) else f"{rate:.4g}" for rate in store.fps[readable].tolist())
    sizes = Counter(f"{width}x{height}" for height, width in map(store.frame_size, readable.tolist()))
    return StoreSummary(
        location=store.location,
        info=store.info,
        num_bytes=store.shard_bytes(),
        split_videos={split: len(videos) for split, videos in in_split.items()},
        split_groups={split: len({store.groups[video] for video in videos}) for split, videos in in_split.items()},
        class_videos=class_videos,
        length_quantiles=tuple(np.quantile(store.num_frames[readable], QUANTILES).tolist()),
        fps=tuple(fps.most_common()),
        sizes=tuple(sizes.most_common()),
        rejects=_reasons(store, "rejected"),
        damaged=_reasons(store, "ok"),
        min_frames=min_frames,
        kept={split: len(store.videos(split=split, min_frames=min_frames)) for split in SPLITS},
        gaps=() if store.info.shard else tuple(class_gaps(_columns(store, "label", "group", "split", "status"))),
    )


def print_summary(
    summary: StoreSummary, *, recipe: str | None = None, console: Console | None = None, max_classes: int = 50
) -> None:
    """Print a summary as tables.

    Args:
        summary: what `inspect_store` returned.
        recipe: name of the recipe whose length filter it counted by, for the heading.
        console: where to print; None is the terminal.
        max_classes: classes listed before the rest is only counted.
    """
    console = console or Console()
    info = summary.info
    size = "of unknown size" if summary.num_bytes < 0 else f"{summary.num_bytes / 1e6:,.1f} MB"
    console.print(
        f"[bold]{escape(summary.location)}[/]  made from {escape(info.source)}: {info.num_videos:,} videos, "
        f"{info.num_frames:,} frames, {len(info.class_names)} classes, {size} "
        f"({info.codec}, short side {info.short_side})"
    )
    console.print(_split_table(summary, recipe))
    if summary.class_videos:
        console.print(_class_table(summary, max_classes))
    console.print(_length_table(summary))
    console.print(f"Frame rates: {_listed(summary.fps)}")
    console.print(f"Frame sizes: {_listed(summary.sizes)}")
    for title, reasons in (("Rejected files", summary.rejects), ("Damaged, kept up to the damage", summary.damaged)):
        if reasons:
            console.print(_reason_table(title, reasons))
    for note in info.notes:
        console.print(f"Note: {escape(note)}")
    for gap in summary.gaps:
        console.print(f"Warning: {escape(gap)}")


def _split_table(summary: StoreSummary, recipe: str | None) -> Table:
    of_recipe = f" of the recipe {escape(recipe)}" if recipe else ""
    table = Table(title=f"Splits, and what the length filter{of_recipe} leaves", title_justify="left")
    for name in ("split", "videos", "groups", f">= {summary.min_frames} frames", "shorter"):
        table.add_column(name, justify="left" if name == "split" else "right")
    for split, videos in summary.split_videos.items():
        kept = summary.kept[split]
        table.add_row(split, *(f"{n:,}" for n in (videos, summary.split_groups[split], kept, videos - kept)))
    return table


def _class_table(summary: StoreSummary, max_classes: int) -> Table:
    table = Table(title="Videos a class", title_justify="left")
    table.add_column("class")
    for split in SPLITS[:3]:
        table.add_column(split, justify="right")
    for name, counts in list(summary.class_videos.items())[:max_classes]:
        table.add_row(escape(name), *(f"{counts[split]:,}" for split in SPLITS[:3]))
    more = len(summary.class_videos) - max_classes
    if more > 0:
        table.add_row(f"... and {more} more", "", "", "")
    return table


def _length_table(summary: StoreSummary) -> Table:
    table = Table(title="Frames a video", title_justify="left")
    names = {0.0: "shortest", 0.5: "median", 1.0: "longest"}
    for quantile in QUANTILES:
        table.add_column(names.get(quantile, f"{quantile:.0%}"), justify="right")
    table.add_row(*(f"{length:,.0f}" for length in summary.length_quantiles))
    return table


def _reason_table(title: str, reasons: tuple[ReasonCount, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("reason")
    table.add_column("files", justify="right")
    table.add_column("for example")
    for reason in reasons:
        table.add_row(escape(reason.reason), f"{reason.count:,}", escape("\n".join(reason.examples)))
    return table


def _listed(counts: tuple[tuple[str, int], ...], limit: int = 6) -> str:
    text = ", ".join(f"{value} x{count:,}" for value, count in counts[:limit])
    return f"{text} and {len(counts) - limit} more" if len(counts) > limit else text


def _columns(store: FrameStore, *names: str) -> Iterator[tuple[Any, ...]]:
    """Some columns of the manifest, row by row."""
    return zip(*(store.manifest[name].to_pylist() for name in names), strict=True)


def _reasons(store: FrameStore, status: str, num_examples: int = 3) -> tuple[ReasonCount, ...]:
    files: dict[str, list[str]] = defaultdict(list)
    for row_status, reason, path in _columns(store, "status", "reason", "path"):
        if row_status == status and reason:
            files[re.sub(r"\d+", "N", reason)].append(path)
    most_first = sorted(files.items(), key=lambda item: -len(item[1]))
    return tuple(ReasonCount(reason, len(paths), tuple(paths[:num_examples])) for reason, paths in most_first)
