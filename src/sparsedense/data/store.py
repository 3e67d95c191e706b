"""Random access to the frames of a store that `prepare` made.

    STORE/store.json  manifest.parquet  shards/shard-000000.tar  shards/shard-000000.index.npy

Shards are memory-mapped, so a clip costs the pages it touches; an index tells where each frame lies.
"""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from sparsedense.data.augment import CropBox
from sparsedense.data.errors import StoreError
from sparsedense.data.frame_reading import MappedShard, StoredVideo
from sparsedense.data.manifest import read_manifest, read_store_info, shard_index_path, shard_path
from sparsedense.data.splits import SPLITS
from sparsedense.data.video_columns import FramePlace, VideoColumns, read_text

_MOST_OPEN_SHARDS = 128  # a mapping keeps a file open, two a shard; many systems allow a process 1024


class FrameStore:
    """A frame store, opened for reading.

    Files are opened at the first read, in whatever process reads: a store can be handed to forked or spawned workers,
    who share what it knows of the videos. Arrays over videos have one entry for every row of the manifest, rejected
    files included; `videos` tells which can be read. Opening reads a few small columns; the others are read when they
    are asked for.

    Args:
        path: the store's folder.
        columns: what another process has read of the same store, to share it.

    Attributes:
        path: the store's folder.
        info: what holds for the whole store.
        class_names: sorted names of the classes.
        codec: "jpeg" or "raw".
        short_side: the shorter side that frames were scaled down to, in pixels.

    Raises:
        StoreError: the folder is no store, or a damaged one.
    """

    def __init__(self, path: str | Path, *, columns: VideoColumns | None = None) -> None:
        self.path = Path(path)
        self.info = read_store_info(self.path)
        self.class_names = self.info.class_names
        self.codec = self.info.codec
        self.short_side = self.info.short_side
        self._columns = VideoColumns.read(self.path) if columns is None else columns
        self._shards: OrderedDict[int, MappedShard] = OrderedDict()

    def __reduce__(self) -> tuple[Callable[..., FrameStore], tuple[str | Path]]:
        # Open files do not travel between processes. A process that is started gets the columns in shared memory; in
        # any other pickle they would be in the way.
        if get_spawning_popen() is None:
            return FrameStore, (self.path,)
        return partial(FrameStore, columns=self._columns), (self.path,)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"FrameStore({str(self.path)!r}: {self.info.num_videos} videos, {len(self.class_names)} classes)"

    @property
    def name(self) -> str:
        """Last part of where it lies."""
        return self.path.name

    @property
    def location(self) -> str:
        """Where it lies: its folder, or its URL."""
        return str(self.path)

    def shard_bytes(self) -> int:
        """Size of all shards and their indexes."""
        return sum(file.stat().st_size for file in (self.path / "shards").iterdir())

    @cached_property
    def manifest(self) -> pa.Table:
        """The table of source files, with all columns."""
        return read_manifest(self.path)

    @cached_property
    def num_frames(self) -> NDArray[np.int64]:
        """Frames of each video; 0 for rejected files."""
        return self._columns.num_frames.astype(np.int64)

    @cached_property
    def label_ids(self) -> NDArray[np.int64]:
        """Position of each label in `class_names`; -1 where unknown."""
        return self._columns.label_ids.astype(np.int64)

    @cached_property
    def splits(self) -> NDArray[np.str_]:
        """Split of each video: "train", "val", "test" or "unlabelled"."""
        return np.array(SPLITS)[self._columns.split_codes]

    @cached_property
    def fps(self) -> NDArray[np.float32]:
        """Average frame rate of each source; NaN where it does not say."""
        return np.array(self._read_column("fps").to_numpy(), dtype=np.float32)

    @cached_property
    def groups(self) -> list[str]:
        """Group of each video."""
        return [str(group) for group in self._read_column("group").to_pylist()]

    @cached_property
    def paths(self) -> list[str]:
        """Source file of each video, relative to the source."""
        return [str(path) for path in self._read_column("path").to_pylist()]

    @property
    def splits_present(self) -> tuple[str, ...]:
        """The splits that occur in the manifest, sorted."""
        counts = np.bincount(self._columns.split_codes, minlength=len(SPLITS))
        return tuple(sorted(split for split, count in zip(SPLITS, counts, strict=True) if count))

    def videos(
        self, *, split: str | Sequence[str] | None = None, min_frames: int = 0, labelled: bool | None = None
    ) -> NDArray[np.int64]:
        """Ids of the videos that can be read, in increasing order.

        Args:
            split: one split or several; None takes all.
            min_frames: leave out videos with fewer frames.
            labelled: True takes only videos with a label, False only those without, None both.

        Raises:
            ValueError: a split is not known.
        """
        return np.flatnonzero(self._chosen(split, min_frames, labelled))

    def count_videos(
        self, *, split: str | Sequence[str] | None = None, min_frames: int = 0, labelled: bool | None = None
    ) -> int:
        """How many videos `videos` gives for the same arguments, without the list of them."""
        return int(np.count_nonzero(self._chosen(split, min_frames, labelled)))

    def _chosen(self, split: str | Sequence[str] | None, min_frames: int, labelled: bool | None) -> NDArray[np.bool_]:
        chosen: NDArray[np.bool_] = self._columns.num_frames >= min_frames
        chosen &= self._columns.readable
        if split is not None:
            wanted = [split] if isinstance(split, str) else list(split)
            unknown = sorted(set(wanted) - set(SPLITS))
            if unknown:
                raise ValueError(f"split {unknown[0]!r} is not known; use {', '.join(SPLITS)}")
            in_wanted = np.array([name in wanted for name in SPLITS])
            chosen &= in_wanted[self._columns.split_codes]
        if labelled is not None:
            chosen &= (self._columns.label_ids >= 0) == labelled
        return chosen

    def frame_size(self, video_id: int) -> tuple[int, int]:
        """Height and width of a video's frames in pixels."""
        place = self._columns.place(video_id)
        return place.height, place.width

    def length_frames(self, video_id: int) -> int:
        """Frames of one video; 0 for a rejected file."""
        return int(self._columns.num_frames[video_id])

    def lengths_frames(self) -> NDArray[np.integer[Any]]:
        """Frames of each video that can be read, in the order of `videos()`."""
        return self._columns.num_frames[self._columns.readable]

    def label_id(self, video_id: int) -> int:
        """Position of one video's label in `class_names`; -1 where unknown."""
        return int(self._columns.label_ids[video_id])

    def shard_numbers(self, video_ids: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """Number of the shard that holds each of some readable videos."""
        return self._columns.shards()[video_ids]

    def read(self, video_id: int, frame_indices: NDArray[np.int64], *, window: CropBox | None = None) -> torch.Tensor:
        """Frames of a video.

        Args:
            video_id: row of the manifest.
            frame_indices: 0-based frame numbers (T,); they may repeat and come in any order.
            window: the part of the frames to give, inside the frame; None gives the whole frames.

        Returns:
            uint8 RGB frames (C, T, H, W), as a view of frames that lie (T, H, W, C) in memory.

        Raises:
            IndexError: the video, a frame or a part of the window does not exist.
            StoreError: the video was rejected, or the store is damaged.
        """
        indices = np.asarray(frame_indices, dtype=np.int64)
        with self._opened(video_id, indices) as video:
            frames = video.windows(indices, window or CropBox(0, 0, *video.frame_size))
        return torch.from_numpy(frames).permute(3, 0, 1, 2)

    def read_clips(
        self,
        video_id: int,
        indices_VT: NDArray[np.int64],
        boxes: Sequence[CropBox],
        targets_VTHWC: Sequence[NDArray[np.uint8]],
    ) -> None:
        """Write clips of a video, cut out and resized as `crop_and_resize` does it; each frame is decoded once.

        Args:
            video_id: row of the manifest.
            indices_VT: 0-based frame numbers of V clips (V, T); they may repeat and come in any order.
            boxes: the window of each clip, inside the frame.
            targets_VTHWC: V arrays (T, size, size, C) to write uint8 RGB clips into.

        Raises:
            IndexError: the video, a frame or a part of a window does not exist.
            StoreError: the video was rejected, or the store is damaged.
        """
        with self._opened(video_id, indices_VT.reshape(-1)) as video:
            video.write_clips(indices_VT, boxes, targets_VTHWC)

    def stored_bytes(self, video_id: int, frame_indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Frames of a video as they lie in the shard: JPEG files, or the pixels of raw frames; views, not copies.

        Raises:
            IndexError: the video or a frame does not exist.
            StoreError: the video was rejected, or the shard cannot be read.
        """
        indices = np.asarray(frame_indices, dtype=np.int64)
        with self._opened(video_id, indices) as video:
            return video.stored_bytes(indices)

    @contextmanager
    def _opened(self, video_id: int, indices: NDArray[np.int64]) -> Iterator[StoredVideo]:
        """A video whose frames at these indices exist; an error in reading them names it."""
        place = self._checked_place(video_id, indices)
        video = StoredVideo(self._shard(place.shard), place, self.codec)
        try:
            yield video
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"frames of {self._name(video_id)} in {self.path} are damaged ({error}); "
                "make the store again with `sparsedense prepare`"
            ) from error
        except IndexError as error:
            raise IndexError(f"{error} of {self._name(video_id)}") from error

    def _checked_place(self, video_id: int, indices: NDArray[np.int64]) -> FramePlace:
        if not 0 <= video_id < len(self):
            raise IndexError(f"video {video_id} does not exist: {self.path} has {len(self)} rows, counted from 0")
        if not self._columns.readable[video_id]:
            reason = read_text(self.path, "reason", video_id)
            raise StoreError(f"{self._name(video_id)} was rejected by prepare: {reason}")
        if indices.ndim != 1 or not indices.size:
            raise IndexError(f"frame indices must be a non-empty list, not of shape {indices.shape}")
        place = self._columns.place(video_id)
        if indices.min() < 0 or indices.max() >= place.num_frames:
            raise IndexError(
                f"frames {indices.min()} to {indices.max()} of {self._name(video_id)} do not exist: "
                f"it has {place.num_frames} frames, counted from 0"
            )
        return place

    def _name(self, video_id: int) -> str:
        return f"{read_text(self.path, 'path', video_id)} (video {video_id})"

    def _shard(self, number: int) -> MappedShard:
        shard = self._shards.get(number)
        if shard is not None:
            self._shards.move_to_end(number)
            return shard
        shard = self._shards[number] = self._map_shard(number)
        if len(self._shards) > _MOST_OPEN_SHARDS:
            self._shards.popitem(last=False)
        return shard

    def _map_shard(self, number: int) -> MappedShard:
        path = shard_path(self.path, number)
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            spans = np.load(shard_index_path(self.path, number), mmap_mode="r")
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error}); make the store again") from error
        return MappedShard(np.frombuffer(mapped, dtype=np.uint8), spans)

    def _read_column(self, name: str) -> pa.ChunkedArray:
        return pq.read_table(self.path / "manifest.parquet", columns=[name])[name]
