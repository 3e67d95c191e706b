"""What `prepare` knows of the source files: size, time of change and content, so that a later run sees what changed.

STORE/sources.parquet: one row for each row of the manifest
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sparsedense.data.locations import Location
from sparsedense.data.remote_files import RemoteFileError, blocks_of, look_at_url
from sparsedense.video.errors import UnreadableVideoError
from sparsedense.video.frame_folder import frame_paths

_BLOCK_BYTES = 1 << 20
_SCHEMA = pa.schema(
    [
        pa.field("num_bytes", pa.int64(), nullable=False),
        pa.field("modified_ns", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("retry", pa.bool_(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
    ]
)
_LATER_COLUMNS = {"version": ""}  # what stores made before lack, and what it says of their files


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A source file as it was when it was read.

    Attributes:
        num_bytes: its size in bytes; -1 where it could not be read.
        modified_ns: time of its last change in nanoseconds since 1970; -1 where it could not be read, and of a URL.
        sha256: hash of its content, as `sha256sum` prints it; empty where it could not be read.
        retry: it was rejected for what may pass (unreadable, changing, a decoder that crashed or hung): the next run
            tries it again.
        version: of a URL, what its server says of it that changes when it does: a hash, a time; empty for other files.
    """

    num_bytes: int = -1
    modified_ns: int = -1
    sha256: str = ""
    retry: bool = False
    version: str = ""

    def same_version(self, other: SourceFile) -> bool:
        """Whether size and time, or what a server says, are those of another look at the file."""
        if self.modified_ns < 0 and not self.version:
            return False  # a server that tells nothing
        return self.seen_as(other) == self

    def seen_as(self, look: SourceFile) -> SourceFile:
        """The same content as another look at the file found it."""
        return replace(self, num_bytes=look.num_bytes, modified_ns=look.modified_ns, version=look.version)


def look_at(path: Location, *, listed: bool = False) -> SourceFile | None:
    """Size and time of a file; None where it is missing, cannot be read, or is no ordinary file.

    Args:
        path: a file, or a folder of pictures that is one video; then sizes are added up and the last time counts. Or
            the URL of a file.
        listed: of a URL, what a listing of a moment ago has said will do.
    """
    if isinstance(path, str):
        try:
            num_bytes, version = look_at_url(path, listed=listed)
        except RemoteFileError:
            return None
        return SourceFile(num_bytes=num_bytes, version=version)
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


def hash_content(path: Location, *, alive: Callable[[], None] = lambda: None) -> str | None:
    """SHA-256 of a file's content; None where it cannot be read.

    Args:
        path: an ordinary file, a folder of pictures that is one video, or the URL of a file.
        alive: called after each block.
    """
    digest = hashlib.sha256()
    try:
        for block in blocks_of(path) if isinstance(path, str) else _blocks(path):
            digest.update(block)
            alive()
    except (OSError, RemoteFileError):
        return None
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    for part in _files_of(path):
        with part.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block


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
    if table is None or len(table) != num_rows or {*table.schema.names} | {*_LATER_COLUMNS} != {*_SCHEMA.names}:
        return [SourceFile()] * num_rows
    return [SourceFile(**{**_LATER_COLUMNS, **row}) for row in table.to_pylist()]
