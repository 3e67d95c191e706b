"""Frames as a JPEG file keeps them, made of the decoder's own planes without RGB in between.

    decoder: any range, chroma anywhere -> scaled: full range, chroma at every pixel -> chroma halved

The chroma is scaled to every pixel and halved here, because swscale places halved chroma where the source had it, not
where JPEG has it (in the middle of four pixels), and stretches it where a side is odd. That would cost 3 to 4 dB.
"""

from __future__ import annotations

from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from sparsedense.video.scale import scaled_size

_UNSPECIFIED, _BT470BG, _SMPTE170M = 2, 5, 6
_JPEG_MATRICES = (_UNSPECIFIED, _BT470BG, _SMPTE170M)  # swscale, too, takes BT.601 where a file says nothing
_MOST_SCALE = 0.7  # nearer to the size of the source, swscale's way to interpolate chroma is seen: up to 1.5 dB


class JpegPlanes(NamedTuple):
    """A frame in BT.601, full range, as a JPEG file with 4:2:0 has it.

    Attributes:
        luma: uint8 (H, W); behind an odd side the memory holds the edge once more, because the encoder reads it there.
        cb: uint8, half as high and wide, rounded up, in the middle of four pixels.
        cr: the same.
    """

    luma: NDArray[np.uint8]
    cb: NDArray[np.uint8]
    cr: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width of the frame."""
        return self.luma.shape


class JpegPlaneScaler:
    """Scales frames down to a short side and gives them as JPEG keeps them, in this thread.

    It takes about half of the time of scaling to RGB and compressing that. Against exact arithmetic the frames are as
    good, on average within 0.1 dB, where it is used; other frames must go through RGB.

    Args:
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        short_side: shorter side in pixels to scale down to, aspect kept.

    Raises:
        ValueError: `short_side` is not positive.
    """

    def __init__(self, width: int, height: int, *, short_side: int) -> None:
        self._width, self._height = scaled_size(width, height, short_side=short_side)
        self._scaled_down = short_side <= _MOST_SCALE * min(width, height)
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, quarter_turns: int = 0) -> JpegPlanes | None:
        """A frame, turned counter-clockwise; None where it must go through RGB: other colours, or hardly scaled."""
        if not self._scaled_down or not _has_jpeg_colours(frame):
            return None
        scaled = self._reformatter.reformat(
            frame,
            width=self._width,
            height=self._height,
            format="yuv444p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.AREA,
            threads=1,
        )
        luma, cb, cr = (_pixels(plane, quarter_turns) for plane in scaled.planes)
        height, width = luma.shape
        return JpegPlanes(_even_sides(luma)[:height, :width], *(_halved(_even_sides(c)) for c in (cb, cr)))


def _has_jpeg_colours(frame: av.VideoFrame) -> bool:
    # Another matrix costs swscale a way over RGB, and chroma that is no longer at every pixel.
    kind = frame.format
    return kind.is_planar and not kind.is_rgb and frame.colorspace in _JPEG_MATRICES


def _pixels(plane: av.video.plane.VideoPlane, quarter_turns: int) -> NDArray[np.uint8]:
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
    pixels: NDArray[np.uint8] = rows[: plane.height, : plane.width]
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns)) if quarter_turns else pixels


def _even_sides(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The plane, with an odd last row or column twice, as JPEG encoders do it."""
    height, width = plane.shape
    if height % 2 == 0 and width % 2 == 0:
        return plane
    import cv2  # here and below: who only decodes needs it not, and it is slow to import

    even = cv2.copyMakeBorder(plane, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.asarray(even, dtype=np.uint8)


def _halved(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of 2 x 2 pixels of a plane with even sides, halves rounded up."""
    import cv2

    height, width = plane.shape
    # OpenCV has a kernel for just this; it takes a tenth of the time of numpy's sums.
    halved = cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(halved, dtype=np.uint8)
