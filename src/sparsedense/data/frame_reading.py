"""Frames of one video out of its mapped shard: decoded, cut and resized.

JPEG frames are decoded whole and at full size: decoding them at 1/2 saves 13 %, at 1/4 20 % of the time (most of it is
spent on reading Huffman codes), and moves the resized pixels by 2 to 4 levels on average. One frame at a time is
decoded, cut and resized, while it is in the processor's cache.

Shapes: V clips, T frames, H x W pixels, C = 3 channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from sparsedense.data.augment import CropBox
from sparsedense.data.resize import cut, needs_antialias, resize_frames
from sparsedense.data.video_columns import FramePlace

Frame = NDArray[np.uint8]


def resize_plainly(window_HWC: NDArray[np.uint8], target_HWC: NDArray[np.uint8]) -> None:
    """Resize a window, which may be a view, between the four nearest pixels, into an array that is there.

    To rounding it is what `resize_frames` gives, which needs a call and a copy for a frame where this needs none.
    """
    height, width = target_HWC.shape[:2]
    # Intel's kernels take half of the time and are no farther from the formula; OpenCV leaves them out unless asked,
    # because they round otherwise than its own. The switch is of this thread, and nothing where there are none.
    cv2.ipp.setUseIPP_NotExact(True)
    try:
        cv2.resize(window_HWC, (width, height), dst=target_HWC, interpolation=cv2.INTER_LINEAR)
    finally:
        cv2.ipp.setUseIPP_NotExact(False)


class MappedShard(NamedTuple):
    """A shard and its index, both mapped into memory."""

    data: NDArray[np.uint8]  # the whole file, mapped
    spans: NDArray[np.int64]  # offset and length of each frame (N, 2), mapped


class StoredVideo:
    """A video in a shard; indices are checked by who makes it.

    Args:
        shard: the shard.
        place: where the video lies in it.
        codec: "jpeg" or "raw".
    """

    def __init__(self, shard: MappedShard, place: FramePlace, codec: str) -> None:
        self._shard, self._place, self._codec = shard, place, codec
        self.frame_size = (place.height, place.width)

    def stored_bytes(self, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Frames as they lie in the shard, as views."""
        spans = self._shard.spans[indices + self._place.index_start].tolist()
        return [self._shard.data[start : start + length] for start, length in spans]

    def windows(self, indices: NDArray[np.int64], box: CropBox) -> NDArray[np.uint8]:
        """A window of frames, (T, H, W, C).

        Raises:
            IndexError: the window is not inside the frame.
            ValueError: a frame is damaged.
        """
        self._check(box)
        frames = np.empty((len(indices), box.height, box.width, 3), dtype=np.uint8)
        if self._codec == "raw":
            video = self._raw_video()
            for target, index in zip(frames, indices.tolist(), strict=True):
                target[:] = cut(video[index], box)
            return frames
        if (box.height, box.width) == self.frame_size:
            self._decode_whole(indices, frames)
            return frames
        for (first, *others), (window,) in self._each_once(indices, [box]):
            frames[first] = window
            frames[others] = window
        return frames

    def write_clips(
        self, indices_VT: NDArray[np.int64], boxes: Sequence[CropBox], targets_VTHWC: Sequence[NDArray[np.uint8]]
    ) -> None:
        """Write a window of each clip's own, resized, into arrays (T, size, size, C).

        Raises:
            IndexError: a window is not inside the frame.
            ValueError: a frame is damaged.
        """
        clip_length, size = targets_VTHWC[0].shape[:2]
        for box in boxes:
            self._check(box)
        # Where to put the windows of each clip: into the clip, or beside it, to be resized together.
        large = {
            clip: np.empty((clip_length, box.height, box.width, 3), dtype=np.uint8)
            for clip, box in enumerate(boxes)
            if needs_antialias(box.height, box.width, size)
        }
        places = [(clip, target) for clip, targets in enumerate(targets_VTHWC) for target in targets]
        for wanted, windows in self._each_once(indices_VT.reshape(-1), boxes):
            for place in wanted:
                clip, target = places[place]
                if clip in large:
                    large[clip][place % clip_length] = windows[clip]
                else:
                    resize_plainly(windows[clip], target)
        for clip, windows_THWC in large.items():
            resized = resize_frames(torch.from_numpy(windows_THWC).permute(3, 0, 1, 2), size)
            targets_VTHWC[clip][:] = resized.permute(1, 2, 3, 0).numpy()

    def _each_once(
        self, indices: NDArray[np.int64], boxes: Sequence[CropBox]
    ) -> Iterator[tuple[list[int], Sequence[Frame]]]:
        """Windows of each different frame, with the places where it is wanted; the next one may overwrite them."""
        places: dict[int, list[int]] = {}
        for place, index in enumerate(indices.tolist()):
            places.setdefault(index, []).append(place)
        if self._codec == "raw":
            video = self._raw_video()
            for index, wanted in places.items():
                yield wanted, [cut(video[index], box) for box in boxes]
            return
        frame = np.empty((*self.frame_size, 3), dtype=np.uint8)
        windows = [cut(frame, box) for box in boxes]
        stored = self.stored_bytes(np.fromiter(places, dtype=np.int64, count=len(places)))
        for data, wanted in zip(stored, places.values(), strict=True):
            simplejpeg.decode_jpeg(data, "RGB", buffer=frame)
            yield wanted, windows

    def _decode_whole(self, indices: NDArray[np.int64], frames: NDArray[np.uint8]) -> None:
        """Whole JPEG frames, each decoded into its place."""
        first_positions: dict[int, int] = {}
        for position, (index, data) in enumerate(zip(indices.tolist(), self.stored_bytes(indices), strict=True)):
            decoded = first_positions.setdefault(index, position)
            if decoded == position:
                simplejpeg.decode_jpeg(data, "RGB", buffer=frames[position])
            else:
                frames[position] = frames[decoded]

    def _raw_video(self) -> NDArray[np.uint8]:
        """The frames of a raw video lie one behind the other, so it is one array (T, H, W, C)."""
        place = self._place
        start = int(self._shard.spans[place.index_start, 0])
        shape = (place.num_frames, place.height, place.width, 3)
        return self._shard.data[start : start + int(np.prod(shape))].reshape(shape)

    def _check(self, box: CropBox) -> None:
        height, width = self.frame_size
        if box.top < 0 or box.left < 0 or box.top + box.height > height or box.left + box.width > width:
            raise IndexError(f"{box} does not lie in the frames, {height} x {width},")
