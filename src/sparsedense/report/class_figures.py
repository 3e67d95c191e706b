"""Figures by class: the confusion matrix and the gain of each class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from sparsedense.report.canvas import PALETTE, Picture, drawing, percent_axis, to_svg
from sparsedense.report.read_comparison import Comparison
from sparsedense.report.read_run import Evaluation
from sparsedense.report.wording import signed_points

_MAX_NUMBERED_CLASSES = 20  # up to here the counts are written into the cells
_MAX_CLASS_TICKS = 34  # more names than this do not fit beside the matrix
_MAX_CLASS_ROWS = 40  # of the class comparison; beyond it only the ends are drawn
_MAX_NAME = 22
_MAX_LETTERS_ACROSS = 30  # of all class names together, to be written side by side


@dataclass(frozen=True, slots=True)
class Confusion:
    """One frequent mistake: `videos` of class `label` were taken for `predicted`, `share` of that class."""

    label: str
    predicted: str
    videos: int
    share: float


def confusion_matrix(evaluation: Evaluation, *, name: str = "confusion") -> Picture | None:
    """Share of each true class (row) that was predicted as each class (column)."""
    if not evaluation.confusion:
        return None
    counts = np.asarray(evaluation.confusion, dtype=np.float64)
    num_classes = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(6.8, 3.0 + 0.14 * num_classes)
    with drawing(size + 0.6, size) as figure:
        axes = figure.subplots()
        _draw_cells(axes, shares)
        _class_ticks(axes, evaluation.class_names)
        if num_classes <= _MAX_NUMBERED_CLASSES:
            _write_counts(axes, counts, shares)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        svg = to_svg(figure, name=name, description=f"confusion matrix of {num_classes} classes")
    return Picture(svg, "One row for each true class; the darker a cell, the larger its share of the row.")


def frequent_confusions(evaluation: Evaluation, *, most: int = 10) -> list[Confusion]:
    """The mistakes with the most videos, the largest first."""
    names, mistakes = evaluation.class_names, []
    for i, row in enumerate(evaluation.confusion):
        total = sum(row)
        mistakes += [Confusion(names[i], names[j], int(n), n / total) for j, n in enumerate(row) if n > 0 and i != j]
    return sorted(mistakes, key=lambda mistake: (-mistake.videos, -mistake.share))[:most]


def class_comparison(comparison: Comparison) -> Picture | None:
    """F1 of every class in both arms, each the mean over the arm's runs, sorted by the gain."""
    scores = {name: _mean_f1(comparison, name) for name in ("scratch", "pretrained")}
    shared = [name for name in scores["scratch"] if name in scores["pretrained"]]
    if not shared:
        return None
    shared.sort(key=lambda name: scores["pretrained"][name] - scores["scratch"][name])
    rows, note = shared, ""
    if len(shared) > _MAX_CLASS_ROWS:
        half = _MAX_CLASS_ROWS // 2
        rows, note = shared[:half] + shared[-half:], f" Of {len(shared)} classes, the {half} at either end."
    with drawing(5.8, 1.1 + 0.25 * len(rows)) as figure:
        axes = figure.subplots()
        _dumbbells(axes, rows, scores["scratch"], scores["pretrained"])
        svg = to_svg(figure, name="class-gain", description="F1 of each class for both arms")
    return Picture(svg, f"F1 of every class, mean over the seeds, and the gain in points.{note}")


def _dumbbells(axes: Axes, rows: Sequence[str], scratch: dict[str, float], pretrained: dict[str, float]) -> None:
    heights = list(range(len(rows)))
    start, end = [scratch[name] for name in rows], [pretrained[name] for name in rows]
    axes.hlines(heights, start, end, color=PALETTE["muted"], linewidth=1.2)
    axes.scatter(start, heights, color=PALETTE["scratch"], marker="D", s=22, zorder=3)
    axes.scatter(end, heights, color=PALETTE["pretrained"], s=30, zorder=3)
    axes.set_yticks(heights, [_shortened(name) for name in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("F1")
    percent_axis(axes, horizontal=True)
    for height, name in enumerate(rows):
        gain = signed_points(pretrained[name] - scratch[name])
        axes.text(1.02, height, gain, transform=axes.get_yaxis_transform(), color=PALETTE["muted"], va="center", size=9)
    for x, text, colour in ((0.0, "◆ random weights", "scratch"), (0.5, "● pretrained weights", "pretrained")):
        axes.annotate(text, (x, 1), xytext=(0, 5), xycoords="axes fraction", textcoords="offset points",
                      color=PALETTE[colour])  # fmt: skip


def _mean_f1(comparison: Comparison, arm_name: str) -> dict[str, float]:
    arm = comparison.arm(arm_name)
    collected: dict[str, list[float]] = {}
    for run in arm.runs if arm is not None else []:
        for score in run.evaluation.per_class if run.evaluation is not None else []:
            collected.setdefault(score.name, []).append(score.f1)
    return {name: fmean(values) for name, values in collected.items()}


def _class_ticks(axes: Axes, class_names: Sequence[str]) -> None:
    step = math.ceil(len(class_names) / _MAX_CLASS_TICKS)
    places = list(range(0, len(class_names), step))
    names = [_shortened(class_names[place]) for place in places]
    size = 10 if len(places) <= 12 else 8 if len(places) <= 24 else 7
    across = sum(map(len, names)) <= _MAX_LETTERS_ACROSS
    axes.set_xticks(places, names, rotation=0 if across else 90, size=size)
    axes.set_yticks(places, names, size=size)


def _draw_cells(axes: Axes, shares: NDArray[np.float64]) -> None:
    rows, columns = np.nonzero(shares)
    cells = [Rectangle((j - 0.5, i - 0.5), 1, 1) for i, j in zip(rows.tolist(), columns.tolist(), strict=True)]
    # Opacity carries the share, so that the picture suits a light and a dark page.
    colours = [(PALETTE["pretrained"], share**0.7) for share in shares[rows, columns].tolist()]
    axes.add_collection(PatchCollection(cells, facecolors=colours, linewidths=0))
    axes.set_aspect("equal")
    axes.set_xlim(-0.5, len(shares) - 0.5)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.grid(visible=False)


def _write_counts(axes: Axes, counts: NDArray[np.float64], shares: NDArray[np.float64]) -> None:
    size = 9 if len(counts) <= 12 else 7
    for i, j in zip(*np.nonzero(counts), strict=True):
        colour = PALETTE["surface" if shares[i, j] > 0.6 else "ink"]
        axes.text(float(j), float(i), f"{counts[i, j]:g}", ha="center", va="center", color=colour, size=size)


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
