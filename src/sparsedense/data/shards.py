"""Shards: plain tar files in WebDataset naming, with an index of where each frame lies.

    00000012.000000.jpg  00000012.000001.jpg  ...  00000012.json     codec "jpeg": one member a frame
    00000012.frames.npy  00000012.json                               codec "raw": one array (T, H, W, 3) a video

A worker writes one video as a *part* (tar members without the end of an archive), the parent appends the parts to the
shards in catalog order. So a store has the same bytes for any number of workers, and no video is held in memory.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from sparsedense.data.manifest import shard_index_path, shard_path

CODECS = ("jpeg", "raw")
_BLOCK = tarfile.BLOCKSIZE


class PartWriter:
    """Writes the frames of one video as tar members.

    Args:
        path: the part file.
        key: name of the sample in the shard, without dots.
        codec: "jpeg" or "raw".
        quality: JPEG quality, 1 to 100.
    """

    def __init__(self, path: Path, key: str, *, codec: str, quality: int) -> None:
        self._key = key
        self._codec = codec
        self._quality = quality
        self._spans: list[tuple[int, int]] = []
        self._shape: tuple[int, ...] = ()
        self._file = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def add_frame(self, frame: NDArray[np.uint8]) -> None:
        """Append an RGB frame (H, W, 3) of the size of the first one."""
        if self._codec == "jpeg":
            data = simplejpeg.encode_jpeg(frame, self._quality, colorspace="RGB", colorsubsampling="420")
            name = f"{self._key}.{len(self._spans):06d}.jpg"
            self._spans.append((self._add_member(name, data), len(data)))
        else:
            if not self._spans:
                self._shape = frame.shape
                self._file.write(self._raw_header(num_frames=0))
            self._spans.append((self._file.tell(), frame.nbytes))
            self._file.write(frame.data)

    def finish(self, metadata: dict[str, object]) -> NDArray[np.int64]:
        """End the sample with its metadata as JSON.

        Returns:
            offset in the part and length in bytes of each frame (N, 2).
        """
        if self._codec == "raw" and self._spans:
            self._pad()
            end = self._file.tell()
            self._file.seek(0)
            self._file.write(self._raw_header(num_frames=len(self._spans)))
            self._file.seek(end)
        self._add_member(f"{self._key}.json", json.dumps(metadata, ensure_ascii=False, sort_keys=True).encode())
        return np.array(self._spans, dtype=np.int64).reshape(-1, 2)

    def _add_member(self, name: str, data: bytes) -> int:
        """Append a file to the archive; returns the offset of its content."""
        self._file.write(_tar_header(name, len(data)))
        start = self._file.tell()
        self._file.write(data)
        self._pad()
        return start

    def _raw_header(self, num_frames: int) -> bytes:
        """Headers of the tar member and of the array; as long for any number of frames, so it can be put in later."""
        array = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            array, {"descr": "|u1", "fortran_order": False, "shape": (num_frames, *self._shape)}
        )
        size = len(array.getvalue()) + num_frames * int(np.prod(self._shape))
        return _tar_header(f"{self._key}.frames.npy", size) + array.getvalue()

    def _pad(self) -> None:
        self._file.write(bytes(-self._file.tell() % _BLOCK))


class ShardWriter:
    """Appends parts to shards of about equal size.

    Args:
        store: the store's folder.
        max_bytes: a new shard begins when a part would make the current one larger than this.
    """

    def __init__(self, store: Path, *, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._file: io.BufferedWriter | None = None
        self._index: list[NDArray[np.int64]] = []
        self._num_frames = 0
        self.num_shards = 0
        (store / "shards").mkdir()

    def append(self, part: Path, spans: NDArray[np.int64]) -> tuple[int, int]:
        """Append a part, which must start on a tar block.

        Args:
            part: the part file.
            spans: offset in the part and length in bytes of each frame (N, 2).

        Returns:
            number of the shard, and the row of the first frame in its index.
        """
        if self._file is not None and self._file.tell() + part.stat().st_size > self._max_bytes:
            self.close()
        if self._file is None:
            self._file = shard_path(self._store, self.num_shards).open("wb")
            self.num_shards += 1
        start, index_start = self._file.tell(), self._num_frames
        with part.open("rb") as source:
            shutil.copyfileobj(source, self._file, 1 << 20)
        self._index.append(spans + np.array([start, 0]))
        self._num_frames += len(spans)
        return self.num_shards - 1, index_start

    def close(self) -> None:
        """End the current shard and write its index."""
        if self._file is None:
            return
        self._file.write(bytes(2 * _BLOCK))
        self._file.write(bytes(-self._file.tell() % tarfile.RECORDSIZE))
        self._file.close()
        self._file = None
        np.save(shard_index_path(self._store, self.num_shards - 1), np.concatenate(self._index))
        self._index, self._num_frames = [], 0

    def abandon(self) -> None:
        """Close the current shard as it is, when something went wrong."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _tar_header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size  # owner and time stay 0, so the bytes depend on nothing but the frames
    return member.tobuf(format=tarfile.GNU_FORMAT)
