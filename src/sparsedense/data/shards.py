"""Shards: plain tar files in WebDataset naming, with an index of where each frame lies.

    00000012.000000.jpg  00000012.000001.jpg  ...  00000012.json     codec "jpeg": one member a frame
    00000012.frames.npy  00000012.json                               codec "raw": one array (T, H, W, 3) a video

A worker writes one video as a *part* (tar members without the end of an archive), the parent appends the parts to the
shards in catalog order. So a store has the same bytes for any number of workers, and no video is held in memory.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import tarfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from sparsedense.data.manifest import ManifestRow, shard_index_path, shard_path
from sparsedense.data.preparation.durable_files import sync_file
from sparsedense.video.jpeg_planes import JpegPlanes

CODECS = ("jpeg", "raw")
_BLOCK = tarfile.BLOCKSIZE
_SPAN_BYTES = 16  # offset and length of a frame as int64
_NAME_BYTES = 100
_BUFFER_BYTES = 1 << 20  # a frame is larger than the usual buffer, and would be three writes
_EMPTY_HEADER = tarfile.TarInfo("").tobuf(format=tarfile.GNU_FORMAT)
# What a header adds up to without name and size, and with blanks in place of the sum itself.
_EMPTY_SUM = sum(_EMPTY_HEADER) - sum(_EMPTY_HEADER[148:156]) + 8 * ord(" ") - sum(_EMPTY_HEADER[124:135])


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
        self._file = path.open("wb", buffering=_BUFFER_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def add_frame(self, frame: NDArray[np.uint8] | JpegPlanes) -> None:
        """Append a frame of the size of the first one: RGB (H, W, 3), or, for the codec "jpeg", JPEG's own planes."""
        if isinstance(frame, JpegPlanes):
            self.add_jpeg(simplejpeg.encode_jpeg_yuv_planes(*frame, self._quality))
        elif self._codec == "jpeg":
            self.add_jpeg(simplejpeg.encode_jpeg(frame, self._quality, colorspace="RGB", colorsubsampling="420"))
        else:
            if not self._spans:
                self._shape = frame.shape
                self._file.write(self._raw_header(num_frames=0))
            self._spans.append((self._file.tell(), frame.nbytes))
            self._file.write(frame.data)

    def add_jpeg(self, data: bytes) -> None:
        """Append a frame that is a JPEG file already."""
        name = f"{self._key}.{len(self._spans):06d}.jpg"
        self._spans.append((self._add_member(name, data), len(data)))

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


class Place(NamedTuple):
    """Where a sample lies: its shard, the row of its first frame in the shard's index, and the byte behind it."""

    shard: int
    index_start: int
    end: int


class ShardWriter:
    """Appends parts to shards of about equal size; after `commit` a killed run can go on from there.

    The rows of an unfinished shard's index are kept in a file of plain integers, because what is in memory is lost with
    the process.

    Args:
        store: the store's folder.
        spans: folder for the rows of the indices while shards are made.
        max_bytes: a new shard begins when a part would make the current one larger than this.
        first_shard: number of the first shard.
    """

    def __init__(self, store: Path, *, spans: Path, max_bytes: int, first_shard: int = 0) -> None:
        self._store = store
        self._spans = spans
        self._max_bytes = max_bytes
        self._first_shard = first_shard
        self._shard_file: IO[bytes] | None = None
        self._spans_file: IO[bytes] | None = None
        self._num_frames = 0
        self.num_shards = first_shard
        (store / "shards").mkdir(parents=True, exist_ok=True)
        spans.mkdir(parents=True, exist_ok=True)

    def resume(self, place: Place | None, num_frames: int) -> None:
        """Go back to the last sample that was committed; what was written after it is dropped.

        Args:
            place: where the last sample lies; None if there is none.
            num_frames: its number of frames.
        """
        last = self._first_shard - 1 if place is None else place.shard
        for number in itertools.count(max(last, self._first_shard)):
            shard_index_path(self._store, number).unlink(missing_ok=True)
            if number > last and not shard_path(self._store, number).exists():
                break
            if number > last:
                shard_path(self._store, number).unlink()
        if place is None:
            return
        self.num_shards = last + 1
        self._num_frames = place.index_start + num_frames
        self._shard_file = shard_path(self._store, last).open("rb+")
        self._shard_file.truncate(place.end)
        self._shard_file.seek(place.end)
        self._spans_file = self._spans_path(last).open("rb+")
        self._spans_file.truncate(self._num_frames * _SPAN_BYTES)
        self._spans_file.seek(self._num_frames * _SPAN_BYTES)

    def append(self, part: Path, spans: NDArray[np.int64]) -> Place:
        """Append a part, which must start on a tar block.

        Args:
            part: the part file.
            spans: offset in the part and length in bytes of each frame (N, 2).

        Returns:
            where it lies now.

        Raises:
            OSError: the shard cannot be written.
        """
        if self._shard_file is not None and self._shard_file.tell() + part.stat().st_size > self._max_bytes:
            self.close()
        shard_file, spans_file = self._opened()
        start, index_start = shard_file.tell(), self._num_frames
        with part.open("rb") as source:
            shutil.copyfileobj(source, shard_file, 1 << 20)
        spans_file.write((spans + np.array([start, 0])).astype(np.int64).tobytes())
        self._num_frames += len(spans)
        return Place(self.num_shards - 1, index_start, shard_file.tell())

    def commit(self) -> None:
        """Wait until all that was appended is on the disk.

        Raises:
            OSError: it cannot be written.
        """
        for file in (self._shard_file, self._spans_file):
            if file is not None:
                file.flush()
                os.fsync(file.fileno())

    def close(self, *, even_if_empty: bool = False) -> None:
        """End the current shard and write its index.

        Args:
            even_if_empty: write a shard without samples where there is no current one.

        Raises:
            OSError: they cannot be written.
        """
        if self._shard_file is None and not even_if_empty:
            return
        shard_file, _ = self._opened()
        shard_file.write(bytes(2 * _BLOCK))
        shard_file.write(bytes(-shard_file.tell() % tarfile.RECORDSIZE))
        self.commit()
        self.abandon()
        number = self.num_shards - 1
        index = np.fromfile(self._spans_path(number), dtype=np.int64).reshape(-1, 2)
        np.save(shard_index_path(self._store, number), index)
        sync_file(shard_index_path(self._store, number))
        self._num_frames = 0

    def abandon(self) -> None:
        """Close the files as they are, when something went wrong; on a full disk their last bytes are lost."""
        for file in (self._shard_file, self._spans_file):
            if file is not None:
                with suppress(OSError):
                    file.close()
        self._shard_file = self._spans_file = None

    def _opened(self) -> tuple[IO[bytes], IO[bytes]]:
        """The current shard and the rows of its index; new ones where there are none."""
        if self._shard_file is None or self._spans_file is None:
            self._shard_file = shard_path(self._store, self.num_shards).open("wb")
            self._spans_file = self._spans_path(self.num_shards).open("wb")
            self.num_shards += 1
        return self._shard_file, self._spans_file

    def _spans_path(self, shard: int) -> Path:
        return self._spans / f"shard-{shard:06d}.spans"


def sample_metadata(row: ManifestRow) -> dict[str, object]:
    """What is written beside the frames of a sample, and may change while the frames stay."""
    return {"path": row.path, "label": row.label, "label_id": row.label_id, "group": row.group, "split": row.split}


def _tar_header(name: str, size: int) -> bytes:
    """Header of a tar member; owner and time stay 0, so the bytes depend on nothing but the frames."""
    digits, encoded = b"%011o" % size, name.encode()
    if len(digits) > 11 or len(encoded) > _NAME_BYTES:  # 8 GiB and more, which have a form of their own
        member = tarfile.TarInfo(name)
        member.size = size
        return member.tobuf(format=tarfile.GNU_FORMAT)
    # There is one for each frame, and `tarfile` takes a third as long for it as the encoder for the frame.
    header = bytearray(_EMPTY_HEADER)
    header[: len(encoded)] = encoded
    header[124:135] = digits
    header[148:155] = b"%06o\0" % (_EMPTY_SUM + sum(encoded) + sum(digits))
    return bytes(header)
