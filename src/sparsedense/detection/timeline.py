"""A picture of what happens when in a video: thumbnails over bars, a row for each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sparsedense.data.preparation.durable_files import complete_file
from sparsedense.detection.segments import DetectedSegment
from sparsedense.detection.thumbnails import Thumbnails

FORMATS = (".png", ".svg")

_WIDTH, _LABEL_WIDTH, _RIGHT = 12.0, 1.9, 0.3  # inches
_ROW_HEIGHT, _TITLE_HEIGHT, _AXIS_HEIGHT, _STRIP_GAP = 0.30, 0.42, 0.55, 0.10
_MOST_STRIP_HEIGHT = 1.1
_INK, _MUTED, _GRID = "#1b1f24", "#5d6670", "#dce1e6"
# Colour-blind safe; rows have labels, so that colours may come again.
_COLOURS = ("#0069a6", "#c04f00", "#00795a", "#a3458e", "#8a6100", "#6a4bc4", "#00707a", "#b3203a")
_FAINTEST = 0.3
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "sparsedense",
    "text.parse_math": False,  # a class may be called "$5"
    "text.usetex": False,
}


def write_timeline(
    path: Path,
    segments: Sequence[DetectedSegment],
    *,
    duration_seconds: float,
    thumbnails: Thumbnails | None = None,
    title: str = "",
) -> None:
    """Draw segments over time; the fuller the colour, the higher the score.

    Args:
        path: .png or .svg to write.
        segments: what happens.
        duration_seconds: length of the video.
        thumbnails: pictures of the video, for a strip above.
        title: what stands above everything.

    Raises:
        ValueError: the ending is neither .png nor .svg.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: a timeline is written as {' or '.join(FORMATS)}; choose one by the ending")
    duration_seconds = max(duration_seconds, 1e-3)
    with mpl.rc_context(_STYLE):
        figure = _draw(segments, duration_seconds, thumbnails, title)
        with complete_file(path) as partial:
            metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
            figure.savefig(partial, format=path.suffix.lower()[1:], dpi=120, metadata=metadata)


def _draw(
    segments: Sequence[DetectedSegment], duration_seconds: float, thumbnails: Thumbnails | None, title: str
) -> Figure:
    labels = list(dict.fromkeys(each.label for each in sorted(segments, key=lambda each: each.start_seconds)))
    strip_width = _WIDTH - _LABEL_WIDTH - _RIGHT
    first = thumbnails.nearest(0.0) if thumbnails else None
    aspect = 1.0 if first is None else first.picture_HWC.shape[1] / first.picture_HWC.shape[0]
    count = max(1, round(strip_width / (_MOST_STRIP_HEIGHT * aspect)))
    strip_height = 0.0 if first is None else strip_width / count / aspect
    rows_height = _ROW_HEIGHT * max(1, len(labels)) + 0.1
    height = _TITLE_HEIGHT + strip_height + _STRIP_GAP + rows_height + _AXIS_HEIGHT
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    left, width = _LABEL_WIDTH / _WIDTH, strip_width / _WIDTH
    figure.text(left, 1 - 0.26 / height, title, size=11, weight="bold", color=_INK, va="center")
    if thumbnails is not None and first is not None:
        axes = figure.add_axes((left, (_AXIS_HEIGHT + rows_height + _STRIP_GAP) / height, width, strip_height / height))
        _strip(axes, thumbnails, count, duration_seconds)
    axes = figure.add_axes((left, _AXIS_HEIGHT / height, width, rows_height / height))
    _rows(axes, segments, labels, duration_seconds)
    return figure


def _strip(axes: Axes, thumbnails: Thumbnails, count: int, duration_seconds: float) -> None:
    """Pictures side by side, each the one nearest to the middle of its place."""
    axes.set_axis_off()
    axes.set_xlim(0, count)
    axes.set_ylim(0, 1)
    for place in range(count):
        nearest = thumbnails.nearest((place + 0.5) / count * duration_seconds)
        if nearest is not None:
            axes.imshow(np.asarray(nearest.picture_HWC), extent=(place + 0.01, place + 0.99, 0, 1), aspect="auto")
    axes.set_xlim(0, count)


def _rows(axes: Axes, segments: Sequence[DetectedSegment], labels: Sequence[str], duration_seconds: float) -> None:
    axes.set_xlim(0, duration_seconds)
    axes.set_ylim(max(1, len(labels)) - 0.5, -0.5)
    for row in range(len(labels)):
        axes.axhline(row, color=_GRID, linewidth=0.8, zorder=0)
    for each in sorted(segments, key=lambda each: each.score):
        row = labels.index(each.label)
        colour = _faded(_COLOURS[row % len(_COLOURS)], _FAINTEST + (1 - _FAINTEST) * each.score)
        axes.barh(
            row, each.end_seconds - each.start_seconds, left=each.start_seconds, height=0.62, color=colour,
            edgecolor="white", linewidth=1.2, zorder=2,  # so that bars that overlap are told apart
        )  # fmt: skip
    if not labels:
        axes.text(duration_seconds / 2, 0, "nothing was found", ha="center", va="center", color=_MUTED)
    axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
    axes.tick_params(axis="y", length=0, labelcolor=_INK)
    axes.tick_params(axis="x", color=_MUTED, labelcolor=_MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 1.5, 2, 3, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _clock(seconds, duration_seconds)))
    axes.grid(axis="x", color=_GRID, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_MUTED)


def _faded(colour: str, strength: float) -> tuple[float, ...]:
    """A colour mixed with white; transparency would show the grid through the bars."""
    return tuple(1 - strength * (1 - part) for part in to_rgb(colour))


def _short(label: str, most: int = 22) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _clock(seconds: float, duration_seconds: float) -> str:
    """A time as 7.5 s, 2:05 or 1:02:05, as the length of the video wants it."""
    if duration_seconds < 60:
        return f"{seconds:g} s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
