"""Random access to the frames of a store that `prepare` made.

    STORE/store.json  manifest.parquet  shards/shard-000000.tar  shards/shard-000000.index.npy

Shards are memory-mapped, so a clip costs the pages it touches; an index tells where each frame lies.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import simplejpeg
import torch
from numpy.typing import NDArray

from sparsedense.data.errors import StoreError
from sparsedense.data.manifest import read_manifest, read_store_info, shard_index_path, shard_path
from sparsedense.data.splits import SPLITS


class _Shard(NamedTuple):
    data: NDArray[np.uint8]  # the whole file, mapped
    spans: NDArray[np.int64]  # offset and length of each frame (N, 2), mapped


class FrameStore:
    """A frame store, opened for reading.

    Files are opened at the first read, in whatever process reads: a store can be handed to forked or spawned workers.
    Arrays over videos have one entry for every row of the manifest, rejected files included; `videos` tells which can
    be read.

    Args:
        path: the store's folder.

    Attributes:
        path: the store's folder.
        info: what holds for the whole store.
        class_names: sorted names of the classes.
        codec: "jpeg" or "raw".
        short_side: the shorter side that frames were scaled down to, in pixels.
        manifest: the table of source files.
        num_frames: frames of each video; 0 for rejected files.
        label_ids: position of each label in `class_names`; -1 where unknown.
        splits: "train", "val", "test" or "unlabelled".
        fps: average frame rate of each source; NaN where it does not say.

    Raises:
        StoreError: the folder is no store, or a damaged one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.info = read_store_info(self.path)
        self.manifest: pa.Table = read_manifest(self.path)
        self.class_names = self.info.class_names
        self.codec = self.info.codec
        self.short_side = self.info.short_side
        self.num_frames: NDArray[np.int64] = self._column("num_frames").astype(np.int64)
        self.label_ids: NDArray[np.int64] = self._column("label_id").astype(np.int64)
        self.splits: NDArray[np.str_] = self._column("split").astype(np.str_)
        self.fps: NDArray[np.float32] = self._column("fps").astype(np.float32)
        self._readable: NDArray[np.bool_] = self._column("status") == "ok"
        self._sizes = np.stack([self._column("height"), self._column("width")], axis=1)
        self._shard_numbers = self._column("shard")
        self._index_starts = self._column("index_start")
        self._shards: dict[int, _Shard] = {}

    def __reduce__(self) -> tuple[type[FrameStore], tuple[Path]]:
        return FrameStore, (self.path,)  # open files do not travel between processes

    def __len__(self) -> int:
        return len(self.num_frames)

    def __repr__(self) -> str:
        return f"FrameStore({str(self.path)!r}: {self.info.num_videos} videos, {len(self.class_names)} classes)"

    @cached_property
    def groups(self) -> list[str]:
        """Group of each video."""
        return [str(group) for group in self.manifest["group"].to_pylist()]

    @cached_property
    def paths(self) -> list[str]:
        """Source file of each video, relative to the source."""
        return [str(path) for path in self.manifest["path"].to_pylist()]

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
        chosen = self._readable & (self.num_frames >= min_frames)
        if split is not None:
            wanted = [split] if isinstance(split, str) else list(split)
            unknown = sorted(set(wanted) - set(SPLITS))
            if unknown:
                raise ValueError(f"split {unknown[0]!r} is not known; use {', '.join(SPLITS)}")
            chosen &= np.isin(self.splits, wanted)
        if labelled is not None:
            chosen &= (self.label_ids >= 0) == labelled
        return np.flatnonzero(chosen)

    def frame_size(self, video_id: int) -> tuple[int, int]:
        """Height and width of a video's frames in pixels."""
        height, width = self._sizes[video_id]
        return int(height), int(width)

    def read(self, video_id: int, frame_indices: NDArray[np.int64]) -> torch.Tensor:
        """Frames of a video.

        Args:
            video_id: row of the manifest.
            frame_indices: 0-based frame numbers (T,); they may repeat and come in any order.

        Returns:
            uint8 RGB frames (C, T, H, W), as a view of frames that lie (T, H, W, C) in memory.

        Raises:
            IndexError: the video or a frame does not exist.
            StoreError: the video was rejected, or the store is damaged.
        """
        indices = np.asarray(frame_indices, dtype=np.int64)
        self._check_indices(video_id, indices)
        shard = self._shard(int(self._shard_numbers[video_id]))
        read = self._read_jpeg if self.codec == "jpeg" else self._read_raw
        try:
            frames = read(video_id, indices, shard)
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"frames of {self.paths[video_id]} (video {video_id}) in {self.path} are damaged ({error}); "
                "make the store again with `sparsedense prepare`"
            ) from error
        return torch.from_numpy(frames).permute(3, 0, 1, 2)

    def _read_jpeg(self, video_id: int, indices: NDArray[np.int64], shard: _Shard) -> NDArray[np.uint8]:
        increasing = bool((indices[1:] > indices[:-1]).all())
        unique, positions = (indices, None) if increasing else np.unique(indices, return_inverse=True)
        height, width = self.frame_size(video_id)
        frames = np.empty((len(unique), height, width, 3), dtype=np.uint8)
        spans = shard.spans[unique + self._index_starts[video_id]]
        for position, (start, length) in enumerate(spans.tolist()):
            # Into its place: no second copy of the pixels.
            simplejpeg.decode_jpeg(shard.data[start : start + length], "RGB", buffer=frames[position])
        return frames if positions is None else frames[positions]

    def _read_raw(self, video_id: int, indices: NDArray[np.int64], shard: _Shard) -> NDArray[np.uint8]:
        # The frames of a video lie one behind the other, so it is one array, and the clip one gather from it.
        start = int(shard.spans[self._index_starts[video_id], 0])
        shape = (int(self.num_frames[video_id]), *self.frame_size(video_id), 3)
        video = shard.data[start : start + int(np.prod(shape))].reshape(shape)
        return video[indices]

    def _check_indices(self, video_id: int, indices: NDArray[np.int64]) -> None:
        if not 0 <= video_id < len(self):
            raise IndexError(f"video {video_id} does not exist: {self.path} has {len(self)} rows, counted from 0")
        if not self._readable[video_id]:
            reason = self.manifest["reason"][video_id].as_py()
            raise StoreError(f"{self.paths[video_id]} (video {video_id}) was rejected by prepare: {reason}")
        if indices.ndim != 1 or not indices.size:
            raise IndexError(f"frame indices must be a non-empty list, not of shape {indices.shape}")
        num_frames = self.num_frames[video_id]
        if indices.min() < 0 or indices.max() >= num_frames:
            raise IndexError(
                f"frames {indices.min()} to {indices.max()} of {self.paths[video_id]} (video {video_id}) do not exist: "
                f"it has {num_frames} frames, counted from 0"
            )

    def _shard(self, number: int) -> _Shard:
        shard = self._shards.get(number)
        if shard is None:
            path = shard_path(self.path, number)
            try:
                with path.open("rb") as file:
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                spans = np.load(shard_index_path(self.path, number), mmap_mode="r")
            except (OSError, ValueError) as error:
                raise StoreError(f"{path} cannot be read ({error}); make the store again") from error
            shard = self._shards[number] = _Shard(np.frombuffer(mapped, dtype=np.uint8), spans)
        return shard

    def _column(self, name: str) -> NDArray[Any]:
        return np.asarray(self.manifest[name].to_numpy())
