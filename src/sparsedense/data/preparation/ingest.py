"""One video file to one part of a shard; the work of one worker process.

A part that is finished has its result beside it, so a run that was killed does not decode the video again.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsedense.data.locations import Location, extension
from sparsedense.data.preparation.ordered_pool import still_alive
from sparsedense.data.preparation.source_files import SourceFile, hash_content, look_at
from sparsedense.data.remote_files import RemoteFileError, download
from sparsedense.data.shards import PartWriter
from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.errors import DamagedVideoError, UnreadableVideoError


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFormat:
    """How frames are stored.

    Attributes:
        codec: "jpeg" or "raw".
        short_side: shorter side in pixels that larger frames are scaled down to.
        quality: JPEG quality, 1 to 100.
        min_frames: videos with fewer frames are rejected.
    """

    codec: str
    short_side: int
    quality: int
    min_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestJob:
    """A video file, and the part to write.

    Attributes:
        path: the video file, or its URL.
        part: the part file to write.
        key: name of the sample in the shard.
        frame_format: how to store the frames.
        metadata: what to write beside the frames.
    """

    path: Location
    part: Path
    key: str
    frame_format: FrameFormat
    metadata: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestResult:
    """What became of a video file; sizes in pixels.

    Attributes:
        reason: why it was rejected, or what is wrong with an accepted one.
        num_frames: frames in the part; 0 for a rejected file.
        fps: average frame rate; None where the file does not say.
        width: width of the stored frames.
        height: height of the stored frames.
        source_width: width of the upright source frames.
        source_height: height of the upright source frames.
        source: the file as it was read.
        spans: offset in the part and length in bytes of each frame (N, 2); None for a rejected file.
    """

    reason: str | None = None
    num_frames: int = 0
    fps: float | None = None
    width: int = 0
    height: int = 0
    source_width: int = 0
    source_height: int = 0
    source: SourceFile = field(default_factory=SourceFile)
    spans: NDArray[np.int64] | None = None


def ingest(job: IngestJob) -> IngestResult:
    """Decode a video once, in order, and write its frames as a part.

    A video that cannot be used is no error: the result says why. A damaged one keeps the frames before the damage.

    Raises:
        OSError: the part cannot be written.
    """
    seen = look_at(job.path)
    if seen is not None:
        finished = _read_finished(job)
        if finished is not None and finished.source.same_version(seen):
            return finished
    sha256 = None
    try:
        with _on_this_machine(job) as path:
            sha256 = None if seen is None else hash_content(path, alive=still_alive)
            result = _decoded(job, path)
    except RemoteFileError as error:
        result = IngestResult(reason=error.reason)
    if seen is None or sha256 is None:
        source = SourceFile(retry=True)
    else:
        source = replace(seen, sha256=sha256)
        if look_at(job.path) != seen:
            job.part.unlink(missing_ok=True)
            result = IngestResult(reason="the file changed while it was read")
            source = replace(source, retry=True)
    result = replace(result, source=source)
    _write_finished(job, result)
    return result


@contextmanager
def _on_this_machine(job: IngestJob) -> Iterator[Path]:
    """The video file; one at a URL is copied beside its part for as long as it is needed.

    Raises:
        RemoteFileError: it cannot be copied.
    """
    if isinstance(job.path, Path):
        yield job.path
        return
    copy = job.part.with_name(f"{job.part.name}.{os.getpid()}.source{extension(job.path)}")
    try:
        download(job.path, copy, alive=still_alive)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def _decoded(job: IngestJob, path: Path) -> IngestResult:
    # A name of its own: a process of a run that was just killed may still be writing the same video.
    partial = job.part.with_name(f"{job.part.name}.{os.getpid()}")
    try:
        with VideoDecoder(path) as decoder:
            result = _written(job, decoder, partial)
    except UnreadableVideoError as error:
        return IngestResult(reason=error.reason)
    if result.spans is None:
        partial.unlink()
    else:
        partial.replace(job.part)
    return result


def _written(job: IngestJob, decoder: VideoDecoder, partial: Path) -> IngestResult:
    form, info = job.frame_format, decoder.info
    num_frames, reason = 0, None
    height, width = 0, 0
    read = decoder.jpeg_frames if form.codec == "jpeg" else decoder.frames
    with PartWriter(partial, job.key, codec=form.codec, quality=form.quality) as part:
        try:
            for frame in read(short_side=form.short_side):
                part.add_frame(frame)
                num_frames += 1
                height, width = frame.shape[:2]
                still_alive()
        except DamagedVideoError as error:
            reason = f"damaged after frame {error.num_frames} ({error.reason})"
        if num_frames >= form.min_frames:
            spans = part.finish({**job.metadata, "num_frames": num_frames, "fps": info.fps})
    if num_frames < form.min_frames:
        count = f"{num_frames} frame{'s' * (num_frames != 1)}, at least {form.min_frames} needed"
        return IngestResult(reason=f"{reason}: {count}" if reason else count)
    return IngestResult(
        reason=reason,
        num_frames=num_frames,
        fps=info.fps,
        width=width,
        height=height,
        source_width=info.width,
        source_height=info.height,
        spans=spans,
    )


def result_path(part: Path) -> Path:
    """Where the result of a finished part lies."""
    return part.with_name(f"{part.name}.json")


def _write_finished(job: IngestJob, result: IngestResult) -> None:
    """Keep a result beside its part; when it is there, both are complete."""
    values: dict[str, Any] = {item.name: getattr(result, item.name) for item in fields(result)}
    values["source"] = {item.name: getattr(result.source, item.name) for item in fields(SourceFile)}
    values["spans"] = None if result.spans is None else result.spans.tolist()
    checksum = None if result.spans is None else _checksum(job.part)
    partial = job.part.with_name(f"{job.part.name}.{os.getpid()}")
    partial.write_text(json.dumps({"result": values, "checksum": checksum}))
    partial.replace(result_path(job.part))


def _read_finished(job: IngestJob) -> IngestResult | None:
    """The result of a part that an earlier run finished; None where there is none, or a power failure spoilt it."""
    try:
        kept = json.loads(result_path(job.part).read_text())
        values = kept["result"]
        if values["spans"] is not None:
            if _checksum(job.part) != kept["checksum"]:
                return None
            values["spans"] = np.array(values["spans"], dtype=np.int64).reshape(-1, 2)
        return IngestResult(**{**values, "source": SourceFile(**values["source"])})
    except (FileNotFoundError, ValueError):  # of JSON, too
        return None


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum
