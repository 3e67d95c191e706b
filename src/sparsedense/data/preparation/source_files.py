"""What `prepare` knows of the source files: size, time of change and content, so that a later run sees what changed.

STORE/sources.parquet: one row for each row of the manifest
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sparsedense.video.errors import UnreadableVideoError
from sparsedense.video.frame_folder import frame_paths

_BLOCK_BYTES = 1 << 20
_SCHEMA = pa.schema(
    [
        pa.field("num_bytes", pa.int64(), nullable=False),
        pa.field("modified_ns", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("retry", pa.bool_(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A source file as it was when it was read.

    Attributes:
        num_bytes: its size in bytes; -1 where it could not be read.
        modified_ns: time of its last change in nanoseconds since 1970; -1 where it could not be read.
        sha256: hash of its content, as `sha256sum` prints it; empty where it could not be read.
        retry: it was rejected for what may pass (unreadable, changing, a decoder that crashed or hung): the next run
            tries it again.
    """

    num_bytes: int = -1
    modified_ns: int = -1
    sha256: str = ""
    retry: bool = False

    def same_version(self, other: SourceFile) -> bool:
        """Whether size and time are those of another look at the file."""
        return (self.num_bytes, self.modified_ns) == (other.num_bytes, other.modified_ns)


def look_at(path: Path) -> SourceFile | None:
    """Size and time of a file; None where it is missing, cannot be read, or is no ordinary file.

    Args:
        path: a file, or a folder of pictures that is one video; then sizes are added up and the last time counts.
    """
    try:
        files = _files_of(path)
        statuses = [file.stat() for file in files]
        if not files or not all(os.access(file, os.R_OK) for file in files):
            return None
    except OSError:
        return None
    return SourceFile(
        num_bytes=sum(status.st_size for status in statuses), modified_ns=max(status.st_mtime_ns for status in statuses)
    )


def hash_content(path: Path, *, alive: Callable[[], None] = lambda: None) -> str | None:
    """SHA-256 of a file's content; None where it cannot be read.

    Args:
        path: an ordinary file, or a folder of pictures that is one video.
        alive: called after each block.
    """
    digest = hashlib.sha256()
    try:
        for picture in _files_of(path):
            with picture.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
                    alive()
    except OSError:
        return None
    return digest.hexdigest()


def _files_of(path: Path) -> list[Path]:
    """The file itself, or the pictures of a folder; nothing for what is neither."""
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return [path]
    try:
        return frame_paths(path) if stat.S_ISDIR(mode) else []
    except UnreadableVideoError:  # two videos in one folder: its reason is told where it is decoded
        return []


def write_source_files(store: Path, files: Sequence[SourceFile]) -> None:
    """Write `sources.parquet` into a store folder."""
    columns = {field.name: [getattr(file, field.name) for file in files] for field in fields(SourceFile)}
    partial = store / ".sources.parquet.partial"
    pq.write_table(pa.table(columns, schema=_SCHEMA), partial)
    partial.replace(store / "sources.parquet")


def read_source_files(store: Path, *, num_rows: int) -> list[SourceFile]:
    """Read `sources.parquet`; where it is missing or does not fit, nothing is known of the files.

    Args:
        store: the store's folder.
        num_rows: number of rows of its manifest.
    """
    try:
        table = pq.read_table(store / "sources.parquet")
    except (OSError, pa.ArrowInvalid):
        table = None
    if table is None or table.schema.names != _SCHEMA.names or len(table) != num_rows:
        return [SourceFile()] * num_rows
    return [SourceFile(**row) for row in table.to_pylist()]
