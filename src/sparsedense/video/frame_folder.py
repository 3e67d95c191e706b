"""A folder of pictures read as the frames of one video, as Jester and many frame extractors leave them."""

from __future__ import annotations

import errno
import io
import re
from pathlib import Path
from typing import BinaryIO

from sparsedense.video.errors import UnreadableVideoError

_PICTURE = re.compile(r"(?P<series>.*?)(?P<number>\d+)\.(?:jpg|jpeg)", re.IGNORECASE)
_START, _END = b"\xff\xd8", b"\xff\xd9"
_TRAILER_BYTES = 1024  # what some writers put behind the end


def frame_paths(folder: Path) -> list[Path]:
    """The numbered JPEG files of a folder (00001.jpg, img_00001.jpg), by their numbers; other files are left out.

    Raises:
        UnreadableVideoError: it holds several series, such as img_00001.jpg beside flow_x_00001.jpg.
        OSError: the folder cannot be listed.
    """
    numbered = [(_PICTURE.fullmatch(path.name), path) for path in folder.iterdir()]
    found = [(int(match["number"]), path.name, path) for match, path in numbered if match is not None]
    series = sorted({match["series"] for match, _ in numbered if match is not None})
    if len(series) > 1:
        raise UnreadableVideoError(folder, f"holds several series of pictures: {series[0]!r} and {series[1]!r}")
    return [path for _, _, path in sorted(found)]


class FrameFolderStream(io.RawIOBase, BinaryIO):
    """The JPEG files of a folder one behind the other, which FFmpeg reads as Motion JPEG; one file in memory at a time.

    Args:
        paths: the files, in the order of the frames.
    """

    def __init__(self, paths: list[Path]) -> None:
        self._paths = iter(paths)
        self._rest = b""

    def readable(self) -> bool:
        """It can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the file that is being read; none at the end of the last one.

        Raises:
            OSError: a file cannot be read, or is not a complete JPEG file.
        """
        while not self._rest:
            path = next(self._paths, None)
            if path is None:
                return b""
            self._rest = path.read_bytes()
            # FFmpeg would skip an incomplete picture without a word, and the video would be a frame shorter.
            if not self._rest.startswith(_START) or _END not in self._rest[-_TRAILER_BYTES:]:
                raise OSError(errno.EIO, f"{path.name} is not a complete JPEG file")
        size = len(self._rest) if size < 0 else size
        part, self._rest = self._rest[:size], self._rest[size:]
        return part
