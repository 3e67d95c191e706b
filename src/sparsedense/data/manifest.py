"""What a frame store says about itself: `store.json` and `manifest.parquet`, one row for each source file.

Rejected files keep their row, with the reason, so nothing disappears without a trace.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sparsedense.data.errors import StoreError
from sparsedense.data.preparation.durable_files import replace_durably, sync_file

FORMAT_VERSION = 1
_URL_AS_PATH = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # a `Path` makes one slash of two
SCHEMA = pa.schema(
    [
        pa.field("video_id", pa.int64(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("label_id", pa.int32(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("num_frames", pa.int32(), nullable=False),
        pa.field("fps", pa.float32()),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("source_width", pa.int32(), nullable=False),
        pa.field("source_height", pa.int32(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("index_start", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """One source file.

    Attributes:
        video_id: number of the row.
        path: the file, relative to the source where it lies below it.
        label: class name; None where unknown.
        label_id: position of the label in the store's class names; -1 where unknown.
        group: actor, scene or source video; never cut by a split.
        split: "train", "val", "test" or "unlabelled".
        status: "ok" or "rejected".
        reason: why it was rejected, or what is wrong with an accepted one.
        num_frames: frames in the store; 0 for a rejected file.
        fps: average frame rate of the source; None where it does not say.
        width: width of the stored frames in pixels.
        height: height of the stored frames in pixels.
        source_width: width of the upright source frames in pixels.
        source_height: height of the upright source frames in pixels.
        shard: number of the shard that holds the frames; -1 for a rejected file.
        index_start: row of the first frame in the shard's index; -1 for a rejected file.
    """

    video_id: int
    path: str
    label: str | None
    label_id: int
    group: str
    split: str
    status: str
    reason: str | None = None
    num_frames: int = 0
    fps: float | None = None
    width: int = 0
    height: int = 0
    source_width: int = 0
    source_height: int = 0
    shard: int = -1
    index_start: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """What holds for the whole store (`store.json`).

    Attributes:
        codec: "jpeg" or "raw".
        short_side: the shorter side that frames were scaled down to, in pixels.
        quality: JPEG quality, 1 to 100.
        min_frames: videos with fewer frames were rejected.
        class_names: sorted names of the classes; a label_id is a position in it.
        source: name of the source's folder or file.
        num_videos: videos that the store holds.
        num_rejected: files that it does not hold.
        num_frames: frames that it holds.
        num_shards: number of shard files.
        notes: what a person should know of how the source was read.
        arguments: the arguments of `prepare` on which the store depends; empty where they are not known.
        shard: `number` and `count` of a store made with `--shard I/N`, and `catalog`, the mark of the whole list of
            videos; None for the store of a whole source.
        format_version: version of this layout.
    """

    codec: str
    short_side: int
    quality: int
    min_frames: int
    class_names: tuple[str, ...]
    source: str
    num_videos: int
    num_rejected: int
    num_frames: int
    num_shards: int
    notes: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    shard: Mapping[str, Any] | None = None
    format_version: int = FORMAT_VERSION


def shard_path(store: Path, shard: int) -> Path:
    """The tar file of a shard."""
    return store / "shards" / f"shard-{shard:06d}.tar"


def shard_index_path(store: Path, shard: int) -> Path:
    """The array of byte offsets and lengths of a shard's frames."""
    return store / "shards" / f"shard-{shard:06d}.index.npy"


def write_manifest(store: Path, rows: Sequence[ManifestRow]) -> None:
    """Write `manifest.parquet` into a store folder."""
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields(ManifestRow)}
    pq.write_table(pa.table(columns, schema=SCHEMA), store / "manifest.parquet")
    sync_file(store / "manifest.parquet")


def read_rows(store: Path) -> list[ManifestRow]:
    """The rows of `manifest.parquet`.

    Raises:
        StoreError: it is missing or not of this layout.
    """
    return [ManifestRow(**row) for row in read_manifest(store).to_pylist()]


def read_manifest(store: Path) -> pa.Table:
    """Read `manifest.parquet` of a store folder.

    Raises:
        StoreError: it is missing or not of this layout.
    """
    path = store / "manifest.parquet"
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"{path} cannot be read ({error}); make the store again with `sparsedense prepare`") from error
    if table.schema.names != SCHEMA.names:
        raise StoreError(
            f"{path} has the columns {table.schema.names}, expected {SCHEMA.names}; prepare the store again"
        )
    return table


def write_store_info(store: Path, info: StoreInfo) -> None:
    """Write `store.json` into a store folder, on the disk and complete or not at all: it makes a folder a store."""
    text = json.dumps(asdict(info), indent=2, ensure_ascii=False)
    partial = store / ".store.json.partial"
    partial.write_text(text + "\n", encoding="utf-8")
    replace_durably(partial, store / "store.json")


def read_store_info(store: Path) -> StoreInfo:
    """Read `store.json` of a store folder.

    Raises:
        StoreError: the folder is no frame store, or one of another version.
    """
    path = store / "store.json"
    if not path.is_file():
        if _URL_AS_PATH.match(str(store)):
            raise StoreError(f"{store} is a URL, and this takes a store in a folder; copy the store here first")
        if store.is_dir():
            raise StoreError(
                f"{store} is not a frame store (it has no store.json); make one of the videos in it with "
                f"`sparsedense prepare {store} --out STORE`"
            )
        raise StoreError(f"{store} does not exist; make one with `sparsedense prepare SOURCE --out {store}`")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values["format_version"]
        if version != FORMAT_VERSION:
            raise StoreError(f"{store} has format version {version}, expected {FORMAT_VERSION}; prepare it again")
        values.update(class_names=tuple(values["class_names"]), notes=tuple(values["notes"]))
        return StoreInfo(**values)
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error!r}); make the store again with `sparsedense prepare`") from error
