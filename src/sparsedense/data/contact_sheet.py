"""A picture of a store: a row of evenly spaced frames for each of some videos, class by class."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsedense.data.errors import StoreError
from sparsedense.data.remote_store import open_store
from sparsedense.data.store import FrameStore

_MARGIN = 8  # pixels around everything
_GAP = 4  # pixels between frames
_TEXT_WIDTH = 210  # pixels left of the frames
_INK, _GREY = (20, 20, 20), (110, 110, 110)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def contact_sheet(
    store: FrameStore | str | Path,
    out_png: str | Path,
    *,
    rows: int = 16,
    columns: int = 6,
    split: str | None = None,
    frame_height: int = 96,
    seed: int = 0,
) -> Path:
    """Draw a contact sheet as PNG.

    Rows are dealt to the classes in turn, unlabelled videos counting as a class; with more classes than rows, classes
    at even distances are shown.

    Args:
        store: a frame store, or its folder or URL.
        out_png: the picture to write.
        rows: most videos to show.
        columns: frames of each video, evenly spaced from its first to its last.
        split: show only videos of this split.
        frame_height: height of a frame in the picture, in pixels.
        seed: seed of the choice of videos.

    Returns:
        the path of the picture.

    Raises:
        StoreError: the store holds no video of the split.
        ValueError: a number is not positive.
    """
    for name, value in (("rows", rows), ("columns", columns), ("frame_height", frame_height)):
        if value < 1:
            raise ValueError(f"{name} ({value}) must be at least 1")
    store = store if isinstance(store, FrameStore) else open_store(store)
    videos = _chosen_videos(store, rows=rows, split=split, seed=seed)
    aspects = [store.frame_size(video)[1] / store.frame_size(video)[0] for video in videos]
    cell = (frame_height, max(1, round(frame_height * float(np.median(aspects)))))
    sheet = np.vstack([_row(store, video, columns=columns, cell=cell) for video in videos])
    margins = (_MARGIN, _MARGIN - _GAP)  # a gap is there already, below and right
    sheet = np.pad(sheet, (margins, margins, (0, 0)), constant_values=255)
    out_png = Path(out_png)
    out_png.parent.mkdir(parents=True, exist_ok=True)
    # Encoded here and written by Python, because OpenCV's writer fails on some names without an error.
    out_png.write_bytes(cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes())
    return out_png


def _chosen_videos(store: FrameStore, *, rows: int, split: str | None, seed: int) -> list[int]:
    """Ids of the videos to show, class by class."""
    readable = store.videos(split=split)
    if not len(readable):
        raise StoreError(
            f"{store.location} has no videos of split {split!r}; see `sparsedense inspect {store.location}`"
        )
    shuffled = np.random.default_rng(seed).permutation(readable)
    labels = store.label_ids[shuffled]
    class_ids = sorted(set(labels.tolist()), key=lambda label: label if label >= 0 else len(store.class_names))
    if len(class_ids) > rows:
        class_ids = [class_ids[index] for index in np.linspace(0, len(class_ids) - 1, rows).round().astype(int)]
    queues = [shuffled[labels == label].tolist() for label in class_ids]
    taken: list[list[int]] = [[] for _ in queues]
    while rows and any(queues):
        for queue, chosen in zip(queues, taken, strict=True):
            if queue and rows:
                chosen.append(queue.pop(0))
                rows -= 1
    return [video for chosen in taken for video in chosen]


def _row(store: FrameStore, video_id: int, *, columns: int, cell: tuple[int, int]) -> NDArray[np.uint8]:
    """One video: a text and its frames (H, W, 3)."""
    indices = np.linspace(0, store.num_frames[video_id] - 1, columns).round().astype(np.int64)
    frames = store.read(video_id, indices).permute(1, 2, 3, 0).numpy()
    cells = [_fitted(frame, cell, str(index)) for frame, index in zip(frames, indices.tolist(), strict=True)]
    gap = np.full((cell[0], _GAP, 3), 255, dtype=np.uint8)
    strip = np.hstack([_text(store, video_id, cell[0]), *(part for picture in cells for part in (picture, gap))])
    return np.vstack([strip, np.full((_GAP, strip.shape[1], 3), 255, dtype=np.uint8)])


def _fitted(frame: NDArray[np.uint8], cell: tuple[int, int], number: str) -> NDArray[np.uint8]:
    """A frame, with its number in a corner, scaled to fit a cell of a height and width, in the middle of grey."""
    scale = min(cell[0] / frame.shape[0], cell[1] / frame.shape[1])
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    resized = cv2.resize(np.ascontiguousarray(frame), (width, height), interpolation=cv2.INTER_AREA)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):  # readable on any background
        cv2.putText(resized, number, (4, height - 5), _FONT, 0.38, colour, thickness, cv2.LINE_AA)
    picture = np.full((*cell, 3), 225, dtype=np.uint8)
    top, left = (cell[0] - height) // 2, (cell[1] - width) // 2
    picture[top : top + height, left : left + width] = resized
    return picture


def _text(store: FrameStore, video_id: int, height: int) -> NDArray[np.uint8]:
    """The panel left of a video's frames: class, file, split and length."""
    panel = np.full((height, _TEXT_WIDTH, 3), 255, dtype=np.uint8)
    label = store.label_ids[video_id]
    name = store.class_names[label] if label >= 0 else "unlabelled"
    fps = store.fps[video_id]
    rate = "" if np.isnan(fps) else f", {fps:.4g} fps"
    split = "" if label < 0 else f"{store.splits[video_id]}, "
    lines = (
        (name, 0.5, _INK),
        (Path(store.paths[video_id]).name, 0.38, _GREY),
        (f"{split}{store.num_frames[video_id]} frames{rate}", 0.38, _GREY),
    )
    for number, (text, scale, colour) in enumerate(lines):
        line = _shortened(_drawable(text), scale)
        cv2.putText(panel, line, (0, 18 + 18 * number), _FONT, scale, colour, 1, cv2.LINE_AA)
    return panel


def _shortened(text: str, scale: float) -> str:
    """A text cut in its middle until it fits the panel."""
    if cv2.getTextSize(text, _FONT, scale, 1)[0][0] <= _TEXT_WIDTH - _MARGIN:
        return text
    keep = len(text) - 1
    while keep > 2 and cv2.getTextSize(_cut(text, keep), _FONT, scale, 1)[0][0] > _TEXT_WIDTH - _MARGIN:
        keep -= 1
    return _cut(text, keep)


def _cut(text: str, keep: int) -> str:
    return f"{text[: (keep + 1) // 2]}..{text[len(text) - keep // 2 :]}"


def _drawable(text: str) -> str:
    """A text in the ASCII that OpenCV's fonts have; accents are dropped, other letters become question marks."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return plain.encode("ascii", "replace").decode("ascii")
