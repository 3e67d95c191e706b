"""What a video file is, without reading all of it."""

from __future__ import annotations

from pathlib import Path

from sparsedense.video.decoder import VideoDecoder, VideoInfo

__all__ = ["VideoInfo", "probe"]


def probe(path: str | Path) -> VideoInfo:
    """Size, frame rate, codec and rotation of a video, from its header and its first frame.

    Args:
        path: a video file.

    Raises:
        UnreadableVideoError: the file is missing, empty, no video, or has no frame that decodes.
    """
    with VideoDecoder(path) as decoder:
        return decoder.info
