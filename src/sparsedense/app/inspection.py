"""What an uploaded file is, found by decoding its beginning and walking through the rest.

This runs in a process of its own, with little memory and time: whatever a file does to the decoder, the server goes on.
Only containers that hold their own pictures are opened. Playlists and lists of files would make FFmpeg read other files
and addresses.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsedense.app.limits import MOST_PIXELS, Limits, RefusedError, duration_text
from sparsedense.app.signatures import check_signature

_TIMEOUT_SECONDS = 60
_MEMORY_BYTES = 4 << 30
_LEAST_FRAMES = 2
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,ogg,mpegts,mpeg,mpegvideo,m4v,asf,gif,mxf,ivf,yuv4mpegpipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What a file is.

    Attributes:
        container: FFmpeg's name of the format, such as "mov,mp4,m4a,3gp,3g2,mj2".
        codec: FFmpeg's name of the codec, such as "h264".
        pixels: FFmpeg's name of the pixel format, such as "yuv420p".
        width: width in pixels, as coded.
        height: height in pixels, as coded.
        fps: average frame rate.
        duration_seconds: from the first to the end of the last packet.
    """

    container: str
    codec: str
    pixels: str
    width: int
    height: int
    fps: float
    duration_seconds: float


def inspect_file(path: Path, limits: Limits) -> VideoFacts:
    """Find out what a file is, in another process.

    Raises:
        RefusedError: it is no video, a broken one, or too long.
    """
    check_signature(path)
    command = [sys.executable, "-P", "-m", "sparsedense.app.inspection", str(path.absolute())]
    command += [str(limits.duration_seconds), str(limits.frames)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise RefusedError(
            422, f"It could not be examined within {_TIMEOUT_SECONDS} s; it seems to be broken."
        ) from None
    if done.returncode:
        raise RefusedError(422, "It could not be examined: it stops the decoder or needs too much memory.")
    answer = json.loads(done.stdout)
    if "refused" in answer:
        raise RefusedError(*answer["refused"])
    return VideoFacts(**answer)


def examine(path: Path, *, duration_seconds: float, frames: int) -> VideoFacts:
    """Find out what a file is, in this process.

    Args:
        path: the file.
        duration_seconds: longest video that is accepted.
        frames: most frames that are accepted.

    Raises:
        RefusedError: it is no video, a broken one, or too long.
    """
    import av
    import av.error

    try:
        with av.open(str(path), options={"format_whitelist": _CONTAINERS}, metadata_errors="replace") as container:
            stream = _picture_stream(container)
            _check_size(stream.codec_context.width, stream.codec_context.height)
            _check_begin(container, stream)
            container.seek(0)
            length = _length_seconds(container, stream, duration_seconds, frames)
            context = stream.codec_context
            return VideoFacts(
                container=container.format.name,
                codec=context.codec.canonical_name,
                pixels=context.pix_fmt or "",
                width=context.width,
                height=context.height,
                fps=float(stream.average_rate or 0),
                duration_seconds=length,
            )
    except (av.error.FFmpegError, OSError) as error:
        raise RefusedError(
            422, f"It cannot be read as a video ({error.strerror}); it is damaged or cut off."
        ) from error


def _picture_stream(container: Any) -> Any:  # noqa: ANN401 - PyAV is imported late
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise RefusedError(415, "There is no decoder for its video codec; convert it to H.264 first.")
            if not stream.average_rate:
                raise RefusedError(422, "It does not tell its frame rate, so that nothing can be said of times.")
            return stream
    raise RefusedError(415, "It holds sound but no pictures." if container.streams.audio else "It holds no video.")


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise RefusedError(422, f"Its frames are too large: {width} x {height} pixels, and at most 8K is accepted.")


def _check_begin(container: Any, stream: Any) -> None:  # noqa: ANN401 - PyAV is imported late
    import av.error

    num_frames = 0
    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except av.error.FFmpegError:
            continue  # cut out of a longer stream, it begins with what refers to missing packets
        for frame in decoded:
            _check_size(frame.width, frame.height)
            num_frames += not frame.is_corrupt
        if num_frames >= _LEAST_FRAMES:
            return
    what = "It has a single frame: a picture, not a video." if num_frames else "None of its frames can be decoded."
    raise RefusedError(422, what)


def _length_seconds(container: Any, stream: Any, most_seconds: float, most_frames: int) -> float:  # noqa: ANN401
    """Length by the packets; headers lie."""
    import av.error

    first: float | None = None
    last, num_packets, per_frame = 0.0, 0, 1 / float(stream.average_rate)
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            num_packets += 1
            seconds = (num_packets - 1) * per_frame if packet.pts is None else float(packet.pts * packet.time_base)
            first = seconds if first is None else min(first, seconds)
            last = max(last, seconds)
            if last - first > most_seconds:
                raise RefusedError(422, f"It is too long: videos of up to {duration_text(most_seconds)} are accepted.")
            if num_packets > most_frames:
                raise RefusedError(422, f"It has too many frames: up to {most_frames:,} are accepted.")
    except av.error.FFmpegError:
        pass  # damaged from here on; what comes before is analysed
    return last - (first or 0.0) + per_frame


def _limit_resources() -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_TIMEOUT_SECONDS, _TIMEOUT_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _main(path: str, duration_seconds: str, frames: str) -> None:
    _limit_resources()
    answer: dict[str, Any]
    try:
        facts = examine(Path(path), duration_seconds=float(duration_seconds), frames=int(frames))
        answer = asdict(facts)
    except RefusedError as error:
        answer = {"refused": [error.status, error.message]}
    print(json.dumps(answer))


if __name__ == "__main__":
    _main(*sys.argv[1:])
