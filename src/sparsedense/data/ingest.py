"""One video file to one part of a shard; the work of one worker process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
        path: the video file.
        part: the part file to write.
        key: name of the sample in the shard.
        frame_format: how to store the frames.
        metadata: what to write beside the frames.
    """

    path: Path
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
        spans: offset in the part and length in bytes of each frame (N, 2); None for a rejected file.
    """

    reason: str | None = None
    num_frames: int = 0
    fps: float | None = None
    width: int = 0
    height: int = 0
    source_width: int = 0
    source_height: int = 0
    spans: NDArray[np.int64] | None = None


def ingest(job: IngestJob) -> IngestResult:
    """Decode a video once, in order, and write its frames as a part.

    A video that cannot be used is no error: the result says why. A damaged one keeps the frames before the damage.

    Raises:
        OSError: the part cannot be written.
    """
    try:
        with VideoDecoder(job.path) as decoder:
            return _ingest_decoded(job, decoder)
    except UnreadableVideoError as error:
        return IngestResult(reason=error.reason)


def _ingest_decoded(job: IngestJob, decoder: VideoDecoder) -> IngestResult:
    form, info = job.frame_format, decoder.info
    num_frames, reason = 0, None
    height, width = 0, 0
    with PartWriter(job.part, job.key, codec=form.codec, quality=form.quality) as part:
        try:
            for frame in decoder.frames(short_side=form.short_side):
                part.add_frame(frame)
                num_frames += 1
                height, width = frame.shape[:2]
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
