"""A picture that explains the two views: which frames of a video make its sparse and its dense clip."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.sampling import FrameIndices, centre_view_pair
from sparsedense.data.store import FrameStore

SHOWN_FRAMES = 8
FRAME_HEIGHT = 96
MARGIN, TITLE_HEIGHT, BAR_HEIGHT = 12, 26, 16
INK, PALE, SPARSE_COLOUR, DENSE_COLOUR = (40, 40, 40), (225, 225, 225), (178, 114, 0), (0, 94, 213)  # BGR


def draw_views(store: FrameStore, video_id: int, clips: ClipConfig, out_png: Path) -> Path:
    """Draw the centred sparse and dense clip of a video, each with its place on the video's time line, as PNG."""
    num_frames = int(store.num_frames[video_id])
    views = centre_view_pair(num_frames, clip_length=clips.length, skip_ratio=clips.skip_ratio)
    rows = []
    for name, indices, colour in (("sparse", views.sparse, SPARSE_COLOUR), ("dense", views.dense, DENSE_COLOUR)):
        stride_frames = (indices[-1] - indices[0]) / (len(indices) - 1)
        title = f"{name} clip: {len(indices)} frames, one in {stride_frames:.1f}, of a video of {num_frames}"
        strip = _strip(store, video_id, indices)
        bar = _time_line(indices, num_frames, strip.shape[1], colour)
        rows += [_title(title, strip.shape[1], colour), bar, strip, _blank(MARGIN, strip.shape[1])]
    body = np.vstack(rows)
    picture = cv2.copyMakeBorder(body, MARGIN, 0, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.imwrite(str(out_png), picture)
    return out_png


def _strip(store: FrameStore, video_id: int, indices: FrameIndices) -> NDArray[np.uint8]:
    shown = indices[np.linspace(0, len(indices) - 1, SHOWN_FRAMES).round().astype(np.int64)]
    frames = store.read(video_id, shown).permute(1, 2, 3, 0).numpy()[..., ::-1]
    width = round(frames.shape[2] * FRAME_HEIGHT / frames.shape[1])
    scaled = [cv2.resize(frame, (width, FRAME_HEIGHT), interpolation=cv2.INTER_CUBIC) for frame in frames]
    return np.hstack(scaled).astype(np.uint8)


def _time_line(indices: FrameIndices, num_frames: int, width: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The whole video as a pale bar, the chosen frames as ticks on it."""
    bar = _blank(BAR_HEIGHT, width)
    cv2.rectangle(bar, (0, 3), (width - 1, BAR_HEIGHT - 5), PALE, cv2.FILLED)
    for index in indices:
        left = int(index / num_frames * width)
        cv2.rectangle(bar, (left, 1), (left + 3, BAR_HEIGHT - 3), colour, cv2.FILLED)
    return bar


def _title(text: str, width: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    title = _blank(TITLE_HEIGHT, width)
    cv2.rectangle(title, (0, 6), (10, 18), colour, cv2.FILLED)
    cv2.putText(title, text, (18, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    return title


def _blank(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 255, dtype=np.uint8)
