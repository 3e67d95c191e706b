"""Figures of a comparison: every seed of every arm at a glance, and the arms over the epochs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.axes import Axes

from sparsedense.report.canvas import (
    PALETTE,
    LineEnd,
    Picture,
    arm_colour,
    drawing,
    epoch_axis,
    label_line_ends,
    percent_axis,
    to_svg,
)
from sparsedense.report.curve_figures import Line, plot_curve
from sparsedense.report.read_comparison import Comparison
from sparsedense.report.read_run import Curve
from sparsedense.report.wording import arm_name, percent, short_number


@dataclass(frozen=True, slots=True)
class _Bar:
    arm: str
    colour: str
    values: list[float]


def gain_picture(comparison: Comparison, *, chance: float | None) -> Picture | None:
    """Accuracy of the arms without training (kNN), after the first supervised epoch and at the end, seed by seed."""
    knn = [_Bar(name, arm_colour(name), [value]) for name, value in comparison.knn.items()]
    groups = [
        ("nearest neighbour\n(no labels trained on)", knn),
        ("after the first\nsupervised epoch", _bars(comparison, "accuracy_first_epoch")),
        ("at the end", _bars(comparison, "accuracy")),
    ]
    groups = [(title, bars) for title, bars in groups if bars]
    if not groups:
        return None
    num_bars = sum(len(bars) for _, bars in groups)
    with drawing(5.8, 0.75 + 0.36 * num_bars + 0.22 * len(groups)) as figure:
        axes = figure.subplots()
        _draw_groups(axes, groups, chance)
        svg = to_svg(figure, name="gain", description="accuracy of the arms")
    return Picture(svg, "Accuracy on the test videos: bar = mean, circle = one seed.")


def arm_scores_over_epochs(comparison: Comparison, *, metric: str, label: str) -> Picture | None:
    """A validation score over the epochs: thin lines are seeds, the thick line is the arm's mean."""
    curves = {arm.name: [run.validation_curve(metric) for run in arm.runs] for arm in comparison.arms}
    caption = f"{label[0].upper()}{label[1:]} after each epoch: thin = one seed, thick = mean."
    return _draw_arms(curves, name=f"arms-{metric}", label=label, caption=caption, is_share=True)


def arm_losses_over_epochs(comparison: Comparison) -> Picture | None:
    """The classification loss of training over the epochs, drawn like the scores."""
    curves = {arm.name: [run.train_curve("loss_classification") for run in arm.runs] for arm in comparison.arms}
    caption = "Classification loss of the labelled training clips: thin = one seed, thick = mean."
    return _draw_arms(curves, name="arms-loss", label="training loss", caption=caption, is_share=False)


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Mean over the curves at the epochs that all of them have."""
    tables = [dict(zip(curve.epochs, curve.values, strict=True)) for curve in curves]
    epochs = sorted(set(tables[0]).intersection(*tables[1:]))
    return Curve(epochs, [fmean(table[epoch] for table in tables) for epoch in epochs])


def _draw_arms(
    curves: dict[str, list[Curve]], *, name: str, label: str, caption: str, is_share: bool
) -> Picture | None:
    drawn = {arm: (arm_colour(arm, i), [c for c in found if c]) for i, (arm, found) in enumerate(curves.items())}
    drawn = {arm: (colour, found) for arm, (colour, found) in drawn.items() if found}
    if not drawn:
        return None
    values = [v for _, found in drawn.values() for curve in found for v in curve.values if math.isfinite(v)]
    top = 1.12 * max([*values, 0.05])
    with drawing() as figure:
        axes = figure.subplots()
        ends = [_draw_arm(axes, arm, found, colour, is_share=is_share) for arm, (colour, found) in drawn.items()]
        axes.set_ylim(0, min(1.02, top) if is_share else top)
        axes.set_ylabel(label)
        epoch_axis(axes)
        if is_share:
            percent_axis(axes)
        label_line_ends(axes, ends)
        return Picture(to_svg(figure, name=name, description=f"{label} of the arms over the epochs"), caption)


def _draw_arm(axes: Axes, arm: str, curves: Sequence[Curve], colour: str, *, is_share: bool) -> LineEnd:
    for curve in curves if len(curves) > 1 else []:
        axes.plot(curve.epochs, curve.values, color=PALETTE[colour], linewidth=0.8, alpha=0.55)
    mean = mean_curve(curves) or curves[0]
    plot_curve(axes, Line(mean, arm, colour), width=2.4)
    end = percent(mean.last) if is_share else short_number(mean.last)
    return LineEnd(mean.last, f"{arm_name(arm)}\n{end}", colour)


def _bars(comparison: Comparison, metric: str) -> list[_Bar]:
    return [
        _Bar(arm.name, arm_colour(arm.name, index), arm.scores[metric])
        for index, arm in enumerate(comparison.arms)
        if metric in arm.scores
    ]


def _draw_groups(axes: Axes, groups: Sequence[tuple[str, list[_Bar]]], chance: float | None) -> None:
    height, middles = 0.0, []
    for _, bars in groups:
        middles.append(height + (len(bars) - 1) / 2)
        for bar in bars:
            _draw_bar(axes, bar, height)
            height += 1
        height += 0.6
    axes.set_yticks(middles, [title for title, _ in groups])
    axes.tick_params(axis="y", labelcolor=PALETTE["ink"])
    axes.set_ylim(height - 0.9, -0.7)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(left=0)
    axes.set_xlabel("accuracy")
    percent_axis(axes, horizontal=True)
    if chance is not None:
        axes.axvline(chance, color=PALETTE["muted"], linewidth=1.0, linestyle=":")
        axes.text(chance, 1.01, f"guessing {percent(chance)}", transform=axes.get_xaxis_transform(), size=9,
                  color=PALETTE["muted"], ha="left")  # fmt: skip


def _draw_bar(axes: Axes, bar: _Bar, height: float) -> None:
    colour, mean = PALETTE[bar.colour], fmean(bar.values)
    axes.barh(height, mean, height=0.82, color=colour, alpha=0.85)
    if len(bar.values) > 1:
        axes.scatter(bar.values, [height] * len(bar.values), s=20, facecolor=PALETTE["surface"], edgecolor=colour,
                     linewidth=1.2, zorder=3)  # fmt: skip
    text = f"{percent(mean)}  {arm_name(bar.arm).removesuffix(' weights')}"
    axes.annotate(text, (max(bar.values), height), xytext=(7, 0), textcoords="offset points", va="center", color=colour)
