"""What a video file is, without reading all of it."""

from __future__ import annotations

from pathlib import Path

import av.error

from sparsedense.video.container import open_container, video_stream
from sparsedense.video.decoder import VideoDecoder, VideoInfo

__all__ = ["VideoInfo", "count_frames", "probe"]


def probe(path: str | Path) -> VideoInfo:
    """Size, frame rate, codec and rotation of a video, from its header and its first frame.

    Args:
        path: a video file.

    Raises:
        UnreadableVideoError: the file is missing, empty, no video, or has no frame that decodes.
    """
    with VideoDecoder(path) as decoder:
        return decoder.info


def count_frames(path: str | Path) -> int:
    """How many frames a video has by its packets, without decoding: nearly always what decoding gives.

    It differs where a file is damaged or its packets do not hold one frame each, so who relies on it counts along.

    Args:
        path: a video file.

    Raises:
        UnreadableVideoError: the file is missing, empty or no video.
    """
    num_packets = 0
    with open_container(path) as container:
        try:
            for packet in container.demux(video_stream(container, path)):
                num_packets += packet.size > 0 and not packet.is_discard
        except (av.error.FFmpegError, OSError):
            return num_packets  # damaged from here on
    return num_packets
