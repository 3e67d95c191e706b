"""What reading needs to know of every video, small enough for ten million of them.

A column is a numpy array of the smallest type that holds its values; no value is a Python object. A video takes 8 to 30
bytes: few enough that a loader worker may have its own, and a worker that is spawned maps its parent's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from sparsedense.data.errors import StoreError
from sparsedense.data.manifest import SCHEMA
from sparsedense.data.splits import SPLITS

_ROWS_AT_ONCE = 1 << 18
_INTEGERS = (np.int8, np.int16, np.int32, np.int64)  # with a sign, so that a difference of two cannot turn over


class FramePlace(NamedTuple):
    """Where the frames of a video lie.

    Attributes:
        shard: number of the shard.
        index_start: row of the first frame in the shard's index.
        num_frames: how many there are.
        height: height of a frame in pixels.
        width: width of a frame in pixels.
    """

    shard: int
    index_start: int
    num_frames: int
    height: int
    width: int


class VideoColumns:
    """Columns of a manifest, one entry for every row, rejected files included.

    Args:
        columns: by name, as `read` makes them.

    Attributes:
        num_frames: frames of each video; 0 for rejected files.
        label_ids: position of each label in the class names; -1 where unknown.
        split_codes: position of each split in `SPLITS`.
        readable: which rows have frames.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self._columns = dict(columns)
        self.num_frames: NDArray[np.integer[Any]] = self._columns["num_frames"]
        self.label_ids: NDArray[np.integer[Any]] = self._columns["label_id"]
        self.split_codes: NDArray[np.int8] = self._columns["split"]
        self.readable: NDArray[np.bool_] = self._columns["readable"]

    @classmethod
    def read(cls, store: Path) -> Self:
        """Read the columns of a store's manifest, one at a time, so that no two are in memory as a table.

        Raises:
            StoreError: the manifest is missing, of another layout, or has a split that is not known.
        """
        with _open_manifest(store) as manifest:
            size_codes, sizes = _coded_sizes(_numbers(manifest, "height"), _numbers(manifest, "width"))
            run_starts, run_shards = _runs(_numbers(manifest, "shard"))
            return cls(
                {
                    "num_frames": _numbers(manifest, "num_frames"),
                    "label_id": _numbers(manifest, "label_id"),
                    "index_start": _numbers(manifest, "index_start"),
                    "split": _codes(manifest, "split", SPLITS, store),
                    "readable": _codes(manifest, "status", ("rejected", "ok"), store).view(np.bool_),
                    "size": size_codes,
                    "sizes": sizes,
                    "run_start": run_starts,
                    "run_shard": run_shards,
                }
            )

    def __len__(self) -> int:
        return len(self.num_frames)

    def __reduce__(self) -> tuple[Callable[[dict[str, torch.Tensor]], VideoColumns], tuple[dict[str, torch.Tensor]]]:
        # torch's reducers hand shared memory to a process that is started, instead of a copy for each.
        shared: dict[str, torch.Tensor] = {
            name: torch.from_numpy(column).share_memory_()  # type: ignore[no-untyped-call]
            for name, column in self._columns.items()
        }
        self.__init__({name: tensor.numpy() for name, tensor in shared.items()})  # type: ignore[misc]
        return _from_shared, (shared,)

    def place(self, video_id: int) -> FramePlace:
        """Where the frames of a readable video lie."""
        columns = self._columns
        run = int(np.searchsorted(columns["run_start"], video_id, side="right")) - 1
        height, width = columns["sizes"][columns["size"][video_id]]
        return FramePlace(
            shard=int(columns["run_shard"][run]),
            index_start=int(columns["index_start"][video_id]),
            num_frames=int(self.num_frames[video_id]),
            height=int(height),
            width=int(width),
        )

    def shards(self) -> NDArray[np.integer[Any]]:
        """Number of the shard of each readable video; of no meaning for the others."""
        columns = self._columns
        lengths = np.diff(columns["run_start"], append=len(self))
        return np.repeat(columns["run_shard"], lengths)


def read_text(store: Path, column: str, video_id: int) -> str:
    """One value of a text column, without reading the column.

    Raises:
        StoreError: the manifest is missing or of another layout.
    """
    with _open_manifest(store) as manifest:
        first = 0
        for group in range(manifest.num_row_groups):
            rows = manifest.metadata.row_group(group).num_rows
            if video_id < first + rows:
                return str(manifest.read_row_group(group, columns=[column])[column][video_id - first])
            first += rows
    raise IndexError(f"video {video_id} does not exist: {store} has {first} rows, counted from 0")


def _from_shared(shared: dict[str, torch.Tensor]) -> VideoColumns:
    return VideoColumns({name: tensor.numpy() for name, tensor in shared.items()})


def _open_manifest(store: Path) -> pq.ParquetFile:
    path = store / "manifest.parquet"
    try:
        manifest = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"{path} cannot be read ({error}); make the store again with `sparsedense prepare`") from error
    if manifest.schema_arrow.names != SCHEMA.names:
        raise StoreError(
            f"{path} has the columns {manifest.schema_arrow.names}, expected {SCHEMA.names}; prepare the store again"
        )
    return manifest


def _numbers(manifest: pq.ParquetFile, name: str) -> NDArray[Any]:
    """A column of integers in the smallest type that holds them; no wider copy of it is ever whole in memory."""
    groups = (manifest.metadata.row_group(number) for number in range(manifest.num_row_groups))
    statistics = [group.column(SCHEMA.names.index(name)).statistics for group in groups if group.num_rows]
    if any(each is None or not each.has_min_max for each in statistics):
        low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    else:
        low, high = (
            (min(each.min for each in statistics), max(each.max for each in statistics)) if statistics else (0, 0)
        )
    column = np.empty(manifest.metadata.num_rows, dtype=_fitting(low, high))
    first = 0
    for batch in manifest.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[name]):
        column[first : first + len(batch)] = batch.column(0).to_numpy()
        first += len(batch)
    return column


def _fitting(low: int, high: int) -> type[np.signedinteger[Any]]:
    return next(kind for kind in _INTEGERS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)


def _codes(manifest: pq.ParquetFile, name: str, known: tuple[str, ...], store: Path) -> NDArray[np.int8]:
    """Positions of a text column's values in a list, found without making Python strings."""
    codes = np.empty(manifest.metadata.num_rows, dtype=np.int8)
    first = 0
    for batch in manifest.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[name]):
        found = pc.index_in(batch.column(0), value_set=pa.array(known))
        if found.null_count:
            wrong = batch.column(0).filter(found.is_null())[0]
            raise StoreError(
                f"{store / 'manifest.parquet'} has the {name} {str(wrong)!r}; known are {', '.join(known)}; prepare "
                f"the store again"
            )
        codes[first : first + len(batch)] = found.to_numpy()
        first += len(batch)
    return codes


def _coded_sizes(heights: NDArray[Any], widths: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Heights and widths as positions in the list of the sizes that occur (S, 2): there are few."""
    unique: list[int] = []
    codes = np.empty(len(heights), dtype=np.int32)
    for first in range(0, len(heights), _ROWS_AT_ONCE):
        some = slice(first, first + _ROWS_AT_ONCE)
        # Arrow finds the distinct values by hashing; numpy would sort all of them.
        coded = pa.array(heights[some].astype(np.int64) << 32 | widths[some]).dictionary_encode()
        unique += sorted(set(coded.dictionary.to_pylist()) - set(unique))
        position = {size: number for number, size in enumerate(unique)}
        translated = np.array([position[size] for size in coded.dictionary.to_pylist()], dtype=np.int32)
        codes[some] = translated[coded.indices.to_numpy()]
    sizes = np.array([(size >> 32, size & 0xFFFFFFFF) for size in unique], dtype=np.int32).reshape(-1, 2)
    return codes.astype(_fitting(0, len(unique))), sizes


def _runs(shards: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """First row and shard of each stretch of rows in one shard; rejected files (-1) belong to the stretch around."""
    readable = np.flatnonzero(shards >= 0)
    if not len(readable):
        return np.zeros(1, dtype=np.int64), np.full(1, -1, dtype=np.int32)
    of_readable = shards[readable]
    first = np.flatnonzero(np.diff(of_readable, prepend=-1))
    starts = readable[first].astype(np.int64)
    starts[0] = 0
    return starts, of_readable[first].astype(np.int32)
