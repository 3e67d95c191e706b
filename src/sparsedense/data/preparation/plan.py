"""What a run of `prepare` is going to do: every row of the store to come, and which files it must read for them.

It is written before the first file is read. A run that was killed carries out the plan that it finds, so the store
becomes what it would have become, whatever has happened to the source since.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sparsedense.data.catalog import Catalog
from sparsedense.data.locations import Location, absolute, parse_location
from sparsedense.data.manifest import ManifestRow
from sparsedense.data.preparation.durable_files import replace_durably
from sparsedense.data.preparation.source_files import SourceFile

_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("label", pa.string()),
        pa.field("group", pa.string()),
        pa.field("split", pa.string()),
        pa.field("file", pa.binary()),
        pa.field("num_bytes", pa.int64()),
        pa.field("modified_ns", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("retry", pa.bool_()),
        pa.field("version", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """A row of the store to come.

    Attributes:
        path: its name in the manifest.
        label: class name; None where unknown.
        group: what a split never cuts.
        split: "train", "val", "test" or "unlabelled".
        file: the file or URL to read; None where the frames that the store has are kept.
        source: what is known of the file of a row that is kept.
    """

    path: str
    label: str | None
    group: str
    split: str
    file: Location | None = None
    source: SourceFile = field(default_factory=SourceFile)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run of `prepare` is going to do.

    Attributes:
        source: absolute path or URL of the source.
        arguments: the arguments on which the store depends.
        base: mark of the store that is brought up to date; None for a new one.
        class_names: names of the classes, in the order of their ids.
        notes: what a person should know of how the source was read.
        shard: part of the source that this is, of how many, and the mark of the whole list; None for all of it.
        missing: names of videos that the source's lists have and its folder lacks.
        videos: the rows of the store to come.
    """

    source: str
    arguments: Mapping[str, Any]
    base: str | None = None
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    shard: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = ()
    videos: Sequence[PlannedVideo]

    @cached_property
    def _label_ids(self) -> dict[str | None, int]:
        return {None: -1, **{name: label_id for label_id, name in enumerate(self.class_names)}}

    def row(self, video_id: int) -> ManifestRow:
        """The row of a video before its frames are known."""
        video = self.videos[video_id]
        return ManifestRow(
            video_id=video_id,
            path=video.path,
            label=video.label,
            label_id=self._label_ids[video.label],
            group=video.group,
            split=video.split,
            status="rejected",
        )


def planned(catalog: Catalog) -> list[PlannedVideo]:
    """All videos of a catalog, to be read."""
    return [
        PlannedVideo(catalog.name(entry), entry.label, entry.group, entry.split, absolute(entry.path))
        for entry in catalog
    ]


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan as Parquet; the file appears only when it is complete.

    Raises:
        OSError: it cannot be written.
    """
    rows = []
    for video in plan.videos:
        row = {**asdict(video), **asdict(video.source)}
        del row["source"]
        row["file"] = None if video.file is None else os.fsencode(video.file)  # names need not be Unicode
        rows.append(row)
    about = {
        "source": plan.source,
        "arguments": plan.arguments,
        "base": plan.base,
        "class_names": plan.class_names,
        "notes": plan.notes,
        "shard": plan.shard,
        "missing": plan.missing,
    }
    table = pa.Table.from_pylist(rows, schema=_SCHEMA).replace_schema_metadata({"plan": json.dumps(about)})
    partial = path.with_name(f"{path.name}.partial")
    pq.write_table(table, partial)
    replace_durably(partial, path)


def read_plan(path: Path) -> Plan:
    """Read a plan that `write_plan` wrote.

    Raises:
        OSError: it cannot be read.
    """
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"plan"])
    videos = []
    for row in table.to_pylist():
        known = {item.name for item in fields(SourceFile)} & row.keys()  # an older plan may know less
        source = SourceFile(**{name: row.pop(name) for name in known})
        file = None if row["file"] is None else parse_location(os.fsdecode(row["file"]))
        videos.append(PlannedVideo(**{**row, "file": file, "source": source}))
    lists = {name: tuple(about[name]) for name in ("class_names", "notes", "missing")}
    return Plan(**{**about, **lists, "videos": videos})
