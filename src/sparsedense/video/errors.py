"""What can be wrong with a video file."""

from __future__ import annotations

from pathlib import Path


class UnreadableVideoError(ValueError):
    """No frame can be had from a file.

    Args:
        path: the file.
        reason: a short phrase for people, such as "file is empty" or "no video stream".
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(path, reason)  # both as arguments, so that the exception survives pickling between processes
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class DamagedVideoError(UnreadableVideoError):
    """A file stops decoding somewhere; raised after the frames before the damage were given out.

    Args:
        path: the file.
        reason: what the decoder said.
        num_frames: number of good frames before the damage.
    """

    def __init__(self, path: str | Path, reason: str, num_frames: int) -> None:
        super().__init__(path, reason)
        self.args = (path, reason, num_frames)
        self.num_frames = num_frames

    def __str__(self) -> str:
        return f"{self.path}: damaged after frame {self.num_frames} ({self.reason})"
