"""Files and URLs opened with FFmpeg, and in plain words why one cannot be."""

from __future__ import annotations

from pathlib import Path

import av
import av.error
from av.stream import Disposition

from sparsedense.video.errors import UnreadableVideoError
from sparsedense.video.frame_folder import FrameFolderStream, frame_paths
from sparsedense.video.url import is_url

URL_TIMEOUT_SECONDS = (15.0, 30.0)  # to open, and to wait for more of it


def open_container(path: str | Path) -> av.container.InputContainer:
    """Open a file, URL or folder of numbered JPEG files with FFmpeg; the caller closes it.

    Raises:
        UnreadableVideoError: it is missing, empty or no video.
    """
    if not is_url(path):
        _check_file(Path(path))
    try:
        if not is_url(path) and Path(path).is_dir():
            return av.open(FrameFolderStream(frame_paths(Path(path))), mode="r", format="mjpeg")
        if is_url(path):
            return av.open(str(path), metadata_errors="replace", timeout=URL_TIMEOUT_SECONDS)
        # An absolute path, because FFmpeg takes "a:b.mp4" for a protocol. Latin-1 tags must not stop the reading.
        return av.open(str(Path(path).absolute()), metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise UnreadableVideoError(path, _open_reason(error)) from error


def _check_file(path: Path) -> None:
    """Refuse what needs no decoder to refuse (and what would block it, such as a named pipe)."""
    try:
        if path.is_dir():
            if not frame_paths(path):
                raise UnreadableVideoError(path, "is a folder")
            return
        if not path.exists():
            raise UnreadableVideoError(path, "file not found")
        if not path.is_file():
            raise UnreadableVideoError(path, "not a regular file")
        if path.stat().st_size == 0:
            raise UnreadableVideoError(path, "file is empty")
    except OSError as error:
        raise UnreadableVideoError(path, reason_of(error)) from error


def video_stream(container: av.container.InputContainer, path: str | Path) -> av.VideoStream:
    """The first video stream that is no cover picture of an audio file.

    Raises:
        UnreadableVideoError: there is none, or no decoder for it.
    """
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        if stream.codec_context is None:
            raise UnreadableVideoError(path, "no decoder for its video codec")
        return stream
    raise UnreadableVideoError(path, "no video stream (audio only)" if container.streams.audio else "no video stream")


def _open_reason(error: Exception) -> str:
    if isinstance(error, av.error.InvalidDataError):
        return f"not a video file ({reason_of(error)})"
    return reason_of(error)


def reason_of(error: Exception) -> str:
    """The system's or FFmpeg's words for an error, without path and number."""
    text = getattr(error, "strerror", None)
    return text if isinstance(text, str) and text else type(error).__name__
