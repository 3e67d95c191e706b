"""A picture of what was found: frames of the query on top, and below a row for each of its neighbours.

|  query  clip.mp4               |  [frame] [frame] [frame] [frame] [frame] [frame]
|  ------------------------------------------------------------------------------
|  1  brush hair         0.973   |  [frame] [frame] [frame] [frame] [frame] [frame]
|     a/brush_hair_3.avi         |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from sparsedense.data.preparation.durable_files import complete_file
from sparsedense.data.remote_store import open_store
from sparsedense.retrieval.fingerprint import store_fingerprint
from sparsedense.retrieval.index import Index
from sparsedense.retrieval.index_files import IndexFileError
from sparsedense.retrieval.output import UNLABELLED
from sparsedense.retrieval.queries import Retrieval
from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.errors import DamagedVideoError
from sparsedense.video.probe import count_frames

Frames = Sequence[NDArray[np.uint8]]

_COLUMNS = 6
_FRAME_HEIGHT = 96
_MARGIN, _GAP, _TEXT_WIDTH = 20, 6, 260  # pixels
_ROW_HEIGHT = _FRAME_HEIGHT + 2 * _GAP
_BAR_WIDTH, _BAR_HEIGHT = 120, 6
_DPI = 100
_LARGE, _SMALL = 10.5, 8.5  # points
_INK, _MUTED, _LINE, _BAR, _LETTERBOX = "#1b1f24", "#5d6670", "#dce1e6", "#0069a6", 236
_STYLE: dict[Any, Any] = {"font.family": "DejaVu Sans", "text.parse_math": False, "text.usetex": False}


def write_sheets(
    out: Path, index: Index, retrievals: Sequence[Retrieval], *, store: str | Path | None = None, several: bool = False
) -> list[Path]:
    """Write a contact sheet for each video that could be read.

    Args:
        out: .png to write, or with `several` a folder for them.
        index: where it was found.
        retrievals: what was found.
        store: the store that was indexed; None takes the folder that the index names.
        several: whether `out` is a folder; videos of one name get a number.

    Returns:
        the pictures written.

    Raises:
        ValueError: `out` does not end with .png, or a query came through standard input.
        StoreError, IndexFileError: the store is not there, or was made anew since.
        UnreadableVideoError: a query cannot be read any more.
    """
    if not several and out.suffix.lower() != ".png":
        raise ValueError(f"{out}: a contact sheet is written as .png")
    frames = _StoredFrames(index, index.info.store if store is None else store)
    written: list[Path] = []
    for retrieval in retrievals:
        if retrieval.error is None:
            path = _free(out, Path(retrieval.query).stem, written) if several else out
            write_sheet(path, frames, retrieval)
            written.append(path)
    return written


def write_sheet(path: Path, stored: "_StoredFrames", retrieval: Retrieval) -> None:
    """Draw one contact sheet."""
    rows = [_query_row(stored, retrieval), *_neighbour_rows(stored, retrieval)]
    aspects = [frame.shape[1] / frame.shape[0] for row in rows for frame in row.frames[:1]]
    cell_width = round(_FRAME_HEIGHT * min(2.0, max(0.5, float(np.median(aspects)))))
    width = 2 * _MARGIN + _TEXT_WIDTH + _COLUMNS * (cell_width + _GAP) - _GAP
    height = 2 * _MARGIN + len(rows) * _ROW_HEIGHT + 2 * _GAP
    with mpl.rc_context(_STYLE):
        drawing = _Drawing(width, height)
        top = _MARGIN
        for number, row in enumerate(rows):
            drawing.row(row, top, cell_width)
            top += _ROW_HEIGHT
            if number == 0:
                drawing.line(top + _GAP // 2)
                top += 2 * _GAP
        drawing.save(path)


@dataclass(frozen=True)
class _Row:
    """What stands in one row of a sheet."""

    title: str
    lines: tuple[str, ...]
    frames: Frames
    similarity: float | None = None


class _StoredFrames:
    """Frames of the videos of an indexed store."""

    def __init__(self, index: Index, store: str | Path) -> None:
        self._store = open_store(store)
        if store_fingerprint(self._store.path) != index.info.store_fingerprint:
            raise IndexFileError(
                f"{store} is not the store that {index.path} was made of, or was changed since; make the index again"
            )

    def of(self, video_id: int) -> list[NDArray[np.uint8]]:
        """Evenly spaced frames of a video."""
        indices = _spread(self._store.length_frames(video_id))
        frames: NDArray[np.uint8] = self._store.read(video_id, indices).permute(1, 2, 3, 0).numpy()
        return list(frames)

    def label_of(self, video_id: int) -> str:
        """Class of a video."""
        label_id = self._store.label_id(video_id)
        return UNLABELLED if label_id < 0 else self._store.class_names[label_id]


def _query_row(stored: _StoredFrames, retrieval: Retrieval) -> _Row:
    name = Path(retrieval.query).name
    lines = (name, f"{retrieval.view} features")
    if retrieval.video_id is not None:
        return _Row(f"query  {stored.label_of(retrieval.video_id)}", lines, stored.of(retrieval.video_id))
    if retrieval.query == "-":
        raise ValueError("a contact sheet reads the query once more, which standard input cannot; give a file")
    return _Row("query", lines, _file_frames(retrieval.query))


def _neighbour_rows(stored: _StoredFrames, retrieval: Retrieval) -> list[_Row]:
    return [
        _Row(
            f"{rank}  {each.label or UNLABELLED}",
            (Path(each.path).name, each.split),
            stored.of(each.video_id),
            each.similarity,
        )
        for rank, each in enumerate(retrieval.neighbours, 1)
    ]


def _file_frames(video: str) -> list[NDArray[np.uint8]]:
    """Evenly spaced frames of a file; of a damaged one, those before the damage, the last one repeated."""
    wanted = _spread(count_frames(video)).tolist()
    frames: list[NDArray[np.uint8]] = []
    with VideoDecoder(video) as decoder:
        try:
            for number, picture in enumerate(decoder.pictures(short_side=_FRAME_HEIGHT)):
                while len(frames) < len(wanted) and wanted[len(frames)] <= number:
                    frames.append(picture())
        except DamagedVideoError:
            pass  # told with the answer
    return frames


def _spread(num_frames: int) -> NDArray[np.int64]:
    """Frame numbers in the middle of equal parts of a video."""
    return np.floor((np.arange(_COLUMNS) + 0.5) / _COLUMNS * max(num_frames, 1)).astype(np.int64)


def _free(folder: Path, stem: str, taken: Sequence[Path]) -> Path:
    """A path in a folder that no other sheet has."""
    path, number = folder / f"{stem or 'query'}.png", 1
    while path in taken:
        number += 1
        path = folder / f"{stem or 'query'}-{number}.png"
    return path


class _Drawing:
    """A white sheet with pixels as coordinates, counted from its upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)

    def row(self, row: _Row, top: int, cell_width: int) -> None:
        """Text on the left, frames on the right."""
        self._text(row.title, _MARGIN, top + 12, _LARGE, _INK, bold=True)
        line_top = top + 34
        if row.similarity is not None:
            self._similarity(row.similarity, line_top)
            line_top += 20
        for line in row.lines:
            self._text(line, _MARGIN, line_top, _SMALL, _MUTED)
            line_top += 17
        for column, frame in enumerate(row.frames):
            left = _MARGIN + _TEXT_WIDTH + column * (cell_width + _GAP)
            picture = _fitted(frame, _FRAME_HEIGHT, cell_width)
            self._figure.figimage(picture, left, self._height - top - _FRAME_HEIGHT, origin="upper")

    def line(self, top: int) -> None:
        """A thin line across."""
        self._box(_MARGIN, top, self._width - 2 * _MARGIN, 1, _LINE)

    def save(self, path: Path) -> None:
        """Write as PNG."""
        with complete_file(path) as partial:
            self._figure.savefig(partial, format="png", dpi=_DPI, metadata={"Software": None})

    def _similarity(self, similarity: float, top: int) -> None:
        self._box(_MARGIN, top - _BAR_HEIGHT // 2, _BAR_WIDTH, _BAR_HEIGHT, _LINE)
        self._box(
            _MARGIN, top - _BAR_HEIGHT // 2, round(_BAR_WIDTH * min(1.0, max(0.0, similarity))), _BAR_HEIGHT, _BAR
        )
        self._text(f"{similarity:.3f}", _MARGIN + _BAR_WIDTH + 10, top, _SMALL, _INK)

    def _box(self, left: int, top: int, width: int, height: int, colour: str) -> None:
        corner = (left / self._width, 1 - (top + height) / self._height)
        self._figure.add_artist(
            Rectangle(corner, width / self._width, height / self._height, color=colour, linewidth=0)
        )

    def _text(self, text: str, left: int, middle: int, size: float, colour: str, *, bold: bool = False) -> None:
        """A line of text, cut in its middle until it fits left of the frames."""
        artist = self._figure.text(
            left / self._width, 1 - middle / self._height, text, size=size, color=colour, va="center",
            weight="bold" if bold else "normal",
        )  # fmt: skip
        keep = len(text)
        while keep > 4 and artist.get_window_extent().width > _TEXT_WIDTH - 12:
            keep -= 1
            artist.set_text(f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}")


def _fitted(frame_HWC: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A frame scaled to fit a cell, in the middle of pale grey."""
    scale = min(height / frame_HWC.shape[0], width / frame_HWC.shape[1])
    size = (max(1, round(frame_HWC.shape[1] * scale)), max(1, round(frame_HWC.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(frame_HWC), size, interpolation=how)
    cell = np.full((height, width, 3), _LETTERBOX, dtype=np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = resized
    return cell
