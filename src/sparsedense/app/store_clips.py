"""Pictures and small videos of a store's videos, made when they are asked for and kept for a while."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from sparsedense.app.limits import RefusedError
from sparsedense.app.playback import even_sided
from sparsedense.data.errors import StoreError
from sparsedense.data.store import FrameStore
from sparsedense.video.write import write_video

_UNKNOWN_FPS = 25.0
_PREVIEW_SECONDS = 6.0
_FRAMES_AT_ONCE = 64
_MOST_FILES = 300


class StoreClips:
    """Videos of a store as files that browsers play.

    Args:
        store: where the frames lie.
        folder: where to keep the files.
    """

    def __init__(self, store: FrameStore, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._reading, self._encoding = threading.Lock(), threading.Lock()
        self._kept: OrderedDict[Path, None] = OrderedDict()

    def poster(self, video_id: int) -> bytes:
        """The middle frame as JPEG.

        Raises:
            RefusedError: there is no such video, or it has no frames.
        """
        middle = np.array([self._num_frames(video_id) // 2])
        try:
            with self._reading:
                if self._store.codec == "jpeg":
                    return self._store.stored_bytes(video_id, middle)[0].tobytes()
                frame_HWC = self._store.read(video_id, middle)[:, 0].permute(1, 2, 0).numpy()
        except StoreError as error:
            raise RefusedError(422, "This video of the store is damaged.") from error
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(frame_HWC), quality=85))

    def clip(self, video_id: int) -> Path:
        """The whole video as an MP4 file.

        Raises:
            RefusedError: there is no such video, or it has no frames.
        """
        return self._file(video_id, f"clip-{video_id}.mp4", 0, self._num_frames(video_id))

    def preview(self, video_id: int) -> Path:
        """A few seconds of the middle of a video as an MP4 file.

        Raises:
            RefusedError: there is no such video, or it has no frames.
        """
        num_frames = self._num_frames(video_id)
        length = min(num_frames, round(_PREVIEW_SECONDS * self.fps(video_id)))
        return self._file(video_id, f"preview-{video_id}.mp4", (num_frames - length) // 2, length)

    def write(self, video_id: int, path: Path) -> None:
        """Write the whole video to a file, nearly without loss.

        Raises:
            RefusedError: there is no such video, or it has no frames.
        """
        self._encode(video_id, path, 0, self._num_frames(video_id), crf=12)

    def fps(self, video_id: int) -> float:
        """Frame rate of a video, where the store does not know it a usual one."""
        told = float(self._store.fps[video_id])
        return told if np.isfinite(told) and told > 0 else _UNKNOWN_FPS

    def frames(self, video_id: int, first: int, count: int) -> Iterator[NDArray[np.uint8]]:
        """Frames (H, W, 3) of a video, a few read at a time."""
        for begin in range(first, first + count, _FRAMES_AT_ONCE):
            numbers = np.arange(begin, min(begin + _FRAMES_AT_ONCE, first + count))
            with self._reading:
                frames_THWC = self._store.read(video_id, numbers).permute(1, 2, 3, 0).numpy()
            yield from frames_THWC

    def _num_frames(self, video_id: int) -> int:
        if not 0 <= video_id < len(self._store):
            raise RefusedError(404, "The store has no such video.")
        num_frames = self._store.length_frames(video_id)
        if not num_frames:
            raise RefusedError(422, "This file was rejected when the store was made; there are no frames of it.")
        return num_frames

    def _file(self, video_id: int, name: str, first: int, count: int) -> Path:
        path = self._folder / name
        with self._encoding:
            if not path.exists():
                self._encode(video_id, path, first, count, crf=20)
            self._kept[path] = None
            self._kept.move_to_end(path)
            while len(self._kept) > _MOST_FILES:
                self._kept.popitem(last=False)[0].unlink(missing_ok=True)
        return path

    def _encode(self, video_id: int, path: Path, first: int, count: int, *, crf: int) -> None:
        fps = self.fps(video_id)
        frames = (even_sided(frame_HWC) for frame_HWC in self.frames(video_id, first, count))
        try:
            write_video(path, frames, fps=fps, crf=crf, preset="ultrafast", keyframe_interval=max(1, round(fps / 2)))
        except StoreError as error:
            raise RefusedError(422, "This video of the store is damaged.") from error
