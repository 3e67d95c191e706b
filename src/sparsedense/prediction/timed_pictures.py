"""The frames of a video with their times, each decoded once, and cropped only where it is called for."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from sparsedense.detection.held_frames import TimedPicture
from sparsedense.detection.thumbnails import Thumbnails
from sparsedense.prediction.clips import crop_frame
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.errors import DamagedVideoError, UnreadableVideoError
from sparsedense.video.scale import FrameScaler


class TimedPictures:
    """One reading of a video, to be iterated over once.

    Args:
        source: what to read.
        short_side: shorter side in pixels that frames are scaled down to before they are cropped.
        size: of the square that is cropped, in pixels.
        fps: frame rate of an array or of a file that does not tell; None takes that of the file.

    Attributes:
        thumbnails: a few small pictures of those that were called for.
        damage: where and why decoding ended before the end of the file.
    """

    def __init__(self, source: VideoSource, *, short_side: int, size: int, fps: float | None) -> None:
        self._source, self._short_side, self._size, self._fps = source, short_side, size, fps
        self.thumbnails = Thumbnails()
        self.damage: str | None = None

    def __iter__(self) -> Generator[TimedPicture, None, None]:
        """The frames in order.

        Raises:
            UnreadableVideoError: no frame can be had, or the frame rate is not known.
        """
        media = self._source.media
        if media is None:
            raise UnreadableVideoError(self._source.name, self._source.problem or "there is nothing to read")
        if isinstance(media, np.ndarray):
            yield from self._array_pictures(media)
            return
        with VideoDecoder(media) as decoder:
            yield from self._file_pictures(decoder, media)

    def _file_pictures(self, decoder: VideoDecoder, media: Path | str) -> Iterator[TimedPicture]:
        fps = self._fps or decoder.info.fps
        if fps is None:
            raise UnreadableVideoError(media, "it does not tell its frame rate; give fps (--fps)")
        first_seconds: float | None = None
        try:
            for number, picture in enumerate(decoder.pictures(short_side=self._short_side)):
                seconds = number / fps
                # Where times are told they count, because the frame rate of some videos varies.
                if self._fps is None and decoder.frame_seconds is not None:
                    first_seconds = decoder.frame_seconds if first_seconds is None else first_seconds
                    seconds = decoder.frame_seconds - first_seconds
                yield TimedPicture(seconds, self._cropped(seconds, picture))
        except DamagedVideoError as error:
            self.damage = f"damaged after frame {error.num_frames} ({error.reason})"

    def _array_pictures(self, frames_THWC: NDArray[np.uint8]) -> Iterator[TimedPicture]:
        if self._fps is None:
            raise UnreadableVideoError(self._source.name, "an array does not tell its frame rate; give fps (--fps)")
        height, width = frames_THWC.shape[1:3]
        scale = FrameScaler(width, height, short_side=self._short_side)
        for number in range(len(frames_THWC)):

            def picture(number: int = number) -> NDArray[np.uint8]:
                frame = np.ascontiguousarray(frames_THWC[number])
                return np.ascontiguousarray(scale(av.VideoFrame.from_ndarray(frame, format="rgb24")))

            seconds = number / self._fps
            yield TimedPicture(seconds, self._cropped(seconds, picture))

    def _cropped(self, seconds: float, picture: Callable[[], NDArray[np.uint8]]) -> Callable[[], NDArray[np.uint8]]:
        def cropped() -> NDArray[np.uint8]:
            frame_HWC = picture()
            self.thumbnails.offer(seconds, frame_HWC)
            return crop_frame(frame_HWC, self._size)

        return cropped
