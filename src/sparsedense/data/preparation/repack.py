"""Samples of a finished store, copied without decoding: to another shard, under another key, with other metadata."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.errors import StoreError
from sparsedense.data.manifest import ManifestRow, shard_index_path, shard_path
from sparsedense.data.shards import PartWriter, ShardWriter, sample_metadata

_BLOCK = tarfile.BLOCKSIZE


class SampleReader:
    """Reads samples of a store one after the other.

    Args:
        store: the store's folder.
        codec: "jpeg" or "raw".
    """

    def __init__(self, store: Path, codec: str) -> None:
        self._store = store
        self._codec = codec
        self._number = -1
        self._file: IO[bytes] | None = None
        self._index: NDArray[np.int64] = np.empty((0, 2), dtype=np.int64)

    def close(self) -> None:
        """Close the shard that was read last."""
        if self._file is not None:
            self._file.close()

    def copy(self, row: ManifestRow, part: Path, *, key: str, changes: Mapping[str, object]) -> NDArray[np.int64]:
        """Write a sample as a part.

        Args:
            row: where the sample lies.
            part: the part file to write.
            key: name of the sample in its new shard.
            changes: what is different in its metadata.

        Returns:
            offset in the part and length in bytes of each frame (N, 2).

        Raises:
            StoreError: the shard is damaged.
            OSError: a file cannot be read or written.
        """
        file, spans = self._open(row)
        with PartWriter(part, key, codec=self._codec, quality=0) as writer:  # nothing is encoded, so no quality
            for start, length in spans.tolist():
                data = self._bytes(file, start, length)
                if self._codec == "jpeg":
                    writer.add_jpeg(data)
                else:
                    writer.add_frame(np.frombuffer(data, dtype=np.uint8).reshape(row.height, row.width, 3))
            end = int(spans[-1].sum())
            return writer.finish({**self._metadata(file, end + -end % _BLOCK), **changes})

    def _open(self, row: ManifestRow) -> tuple[IO[bytes], NDArray[np.int64]]:
        if self._file is None or self._number != row.shard:
            self.close()
            self._file = shard_path(self._store, row.shard).open("rb")
            self._index = np.load(shard_index_path(self._store, row.shard))
            self._number = row.shard
        return self._file, self._index[row.index_start : row.index_start + row.num_frames]

    def _metadata(self, file: IO[bytes], start: int) -> dict[str, Any]:
        try:
            header = tarfile.TarInfo.frombuf(self._bytes(file, start, _BLOCK), "utf-8", "strict")
            return dict(json.loads(self._bytes(file, start + _BLOCK, header.size)))
        except (tarfile.HeaderError, ValueError) as error:
            raise self._damaged(repr(error)) from error

    def _bytes(self, file: IO[bytes], start: int, length: int) -> bytes:
        file.seek(start)
        data = file.read(length)
        if len(data) < length:
            raise self._damaged("it ends too early")
        return data

    def _damaged(self, what: str) -> StoreError:
        path = shard_path(self._store, self._number)
        return StoreError(f"{path} is damaged ({what}); make the store again with `sparsedense prepare`")


@contextmanager
def samples_of(store: Path, codec: str) -> Iterator[SampleReader]:
    """A `SampleReader` that is closed in the end."""
    reader = SampleReader(store, codec)
    try:
        yield reader
    finally:
        reader.close()


def rewrite_shard(store: Path, codec: str, rows: Sequence[ManifestRow], *, number: int, scratch: Path) -> list[int]:
    """Write a shard of a store again, with some of its samples only, and with the metadata of today.

    Args:
        store: the store's folder.
        codec: "jpeg" or "raw".
        rows: the samples to keep, in the order in which they lie, with their metadata.
        number: the shard.
        scratch: an empty folder to write the shard and its index to, laid out as a store.

    Returns:
        for each sample, the row of its first frame in the new index.

    Raises:
        StoreError: the shard is damaged.
        OSError: a file cannot be read or written.
    """
    shards = ShardWriter(scratch, spans=scratch / "spans", max_bytes=sys.maxsize, first_shard=number)
    part = scratch / "part"
    starts = []
    try:
        with samples_of(store, codec) as samples:
            for row in rows:
                spans = samples.copy(row, part, key=f"{row.video_id:08d}", changes=sample_metadata(row))
                starts.append(shards.append(part, spans).index_start)
        shards.close(even_if_empty=True)
    finally:
        shards.abandon()
    return starts
