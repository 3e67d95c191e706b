"""Windows of frames resized to the size of a clip, the same wherever clips are made.

Up to 1.5 times smaller, a pixel is interpolated between the four nearest ones; beyond that between all that it covers
(antialiased), because the four would miss others. On real video the four come nearer to Lanczos up to there: 39.2 to
40.3 dB against 37.9 to 39.4. OpenCV's kernel for them needs a third of the time of torch's antialiased one on a
single frame, and no copy of the window; and torch's takes ten times as long where it cannot use AVX2.

Shapes: B clips, C = 3 channels (RGB), T frames, H x W pixels.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sparsedense.data.augment import CropBox

MOST_SHRUNK_PLAINLY = 1.5


def needs_antialias(height: int, width: int, size: int) -> bool:
    """Whether a window is so much larger than size x size that four pixels are not enough for one."""
    return max(height, width) > MOST_SHRUNK_PLAINLY * size


def cut(frame_HWC: NDArray[np.uint8], box: CropBox) -> NDArray[np.uint8]:
    """A window of a frame, as a view of it."""
    return frame_HWC[box.top : box.top + box.height, box.left : box.left + box.width]


def resize_plainly(window_HWC: NDArray[np.uint8], target_HWC: NDArray[np.uint8]) -> None:
    """Resize a window, which may be a view, into an array that is there."""
    height, width = target_HWC.shape[:2]
    # Intel's kernels take half of the time and are no farther from the formula; OpenCV leaves them out unless asked,
    # because they round otherwise than its own. The switch is of this thread, and nothing where there are none.
    cv2.ipp.setUseIPP_NotExact(True)
    try:
        cv2.resize(window_HWC, (width, height), dst=target_HWC, interpolation=cv2.INTER_LINEAR)
    finally:
        cv2.ipp.setUseIPP_NotExact(False)


def crop_and_resize(clip_CTHW: Tensor, box: CropBox, size: int) -> Tensor:
    """Cut a window out of every frame and resize it to size x size; uint8 in, uint8 out, (C, T, size, size)."""
    return resize_frames(clip_CTHW[:, :, box.top : box.top + box.height, box.left : box.left + box.width], size)


def resize_frames(clip_CTHW: Tensor, size: int) -> Tensor:
    """Resize every frame to size x size; uint8 in, uint8 out, (C, T, size, size), stored (T, size, size, C)."""
    channels, num_frames, height, width = clip_CTHW.shape
    if (height, width) == (size, size):
        return clip_CTHW
    if needs_antialias(height, width, size):
        # uint8 with channels last has a fast antialiased kernel, and the store's frames lie in memory that way.
        frames_TCHW = clip_CTHW.transpose(0, 1)
        resized = F.interpolate(frames_TCHW, size=(size, size), mode="bilinear", antialias=True)
        return resized.transpose(0, 1)
    frames_THWC = clip_CTHW.permute(1, 2, 3, 0).numpy()
    resized_THWC = np.empty((num_frames, size, size, channels), dtype=np.uint8)
    for frame, target in zip(frames_THWC, resized_THWC, strict=True):
        resize_plainly(frame, target)
    return torch.from_numpy(resized_THWC).permute(3, 0, 1, 2)


def resize_clips(clips_BCTHW: Tensor, size: int) -> Tensor:
    """Resize square float clips to (B, C, T, size, size), as `crop_and_resize` does it."""
    side = clips_BCTHW.shape[-1]
    if side == size:
        return clips_BCTHW
    frames_NCHW = clips_BCTHW.transpose(1, 2).flatten(0, 1)
    antialias = needs_antialias(side, side, size)
    resized = F.interpolate(frames_NCHW, size=(size, size), mode="bilinear", antialias=antialias)
    return resized.view(len(clips_BCTHW), -1, *resized.shape[1:]).transpose(1, 2)
