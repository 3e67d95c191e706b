"""Figures of a study: accuracy against labels, what the encoders know without labels, and how they were pretrained."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from sparsedense.report.canvas import (
    PALETTE,
    LineEnd,
    Picture,
    drawing,
    epoch_axis,
    label_line_ends,
    percent_axis,
    study_colours,
    to_svg,
)
from sparsedense.report.comparison_figures import mean_curve
from sparsedense.report.curve_figures import Line, plot_curve
from sparsedense.report.read_run import Curve
from sparsedense.report.read_study import Estimate, Study
from sparsedense.report.wording import key_name, percent, short_number

_MOMENT_TITLES = {"first_epoch": "after the first supervised epoch", "end": "at the end of the fine-tuning"}
_LINE_INCHES = 0.24  # of a label beside a curve
_ALL_LABELS = "all"
_UNTRAINED = "untrained weights"


@dataclass(frozen=True, slots=True)
class _Point:
    """Accuracy with one number of labels: its place on the axis, and the estimate."""

    videos_per_class: float
    test: Estimate


def efficiency_pictures(study: Study) -> list[Picture]:
    """Accuracy against labelled videos a class, after the first epoch and at the end."""
    pictures = []
    for moment, title in _MOMENT_TITLES.items():
        points = {arm: _points(study, arm, moment) for arm in study.arms}
        points = {arm: found for arm, found in points.items() if found}
        if points:
            draw = _draw_curves if len(study.labels) > 1 else _draw_dots
            pictures.append(draw(study, points, moment, title))
    return pictures


def probe_pictures(study: Study) -> list[Picture]:
    """KNN and linear probe of every arm's encoder beside an untrained network, each run a circle."""
    found = (
        ("knn", study.knn, "Nearest labelled video by frozen features"),
        ("linear", study.linear, "Linear classifier on frozen features"),
    )
    return [
        _draw_probe(
            study, name, probes, f"{title}: bar = mean, circle = one run. Nothing but the classifier saw a label."
        )
        for name, probes, title in found
        if any(probes.values())
    ]


def pretraining_pictures(study: Study) -> list[Picture]:
    """Each loss of the pretrainings over the epochs with its level of guessing, then the features' effective rank."""
    names = {name for runs in study.pretraining.values() for run in runs for name in run}
    losses = sorted(name for name in names if name.startswith("loss_"))
    captions = {
        name: f"{key_name(name.removeprefix('loss_')).capitalize()} loss, mean over the runs." for name in losses
    }
    captions["effective_rank"] = "Effective rank of the features: how many directions they use. 1 is collapse."
    return [_draw_log(study, name, caption) for name, caption in captions.items() if name in names]


def _points(study: Study, arm: str, moment: str) -> list[_Point]:
    found = [(videos, study.summary(arm, labels, moment)) for labels, videos in study.labels]
    return [_Point(videos, summary.test) for videos, summary in found if summary is not None]


def _draw_curves(study: Study, points: Mapping[str, list[_Point]], moment: str, title: str) -> Picture:
    colours = study_colours(study.arms, study.baseline)
    height = max(3.2, 0.9 + _LINE_INCHES * len(points))
    with drawing(5.6, height) as figure:
        axes = figure.subplots()
        for arm, found in points.items():
            _draw_arm(axes, found, PALETTE[colours[arm]], dashed=arm == study.baseline, opacity=0.5 / (3 + len(points)))
        _labels_axis(axes, study)
        _mark_guessing(axes, study)
        axes.set_ylim(0, _top(points))
        percent_axis(axes)
        ends = [
            LineEnd(f[-1].test.mean, f"{arm} {percent(f[-1].test.mean)}", colours[arm]) for arm, f in points.items()
        ]
        label_line_ends(axes, ends, line_height=_LINE_INCHES / (height - 0.6))
        svg = to_svg(figure, name=f"efficiency-{moment}", description=f"accuracy against labels a class, {title}")
    return Picture(svg, f"Accuracy {title}, mean over the pairs; the band is the 95 % interval.")


def _draw_arm(axes: Axes, points: Sequence[_Point], colour: str, *, dashed: bool, opacity: float) -> None:
    places, means = [point.videos_per_class for point in points], [point.test.mean for point in points]
    axes.plot(places, means, color=colour, marker="o", markersize=4.5, linestyle="--" if dashed else "-", zorder=3)
    sure = [p for p in points if p.test.low is not None and p.test.high is not None]
    lows, highs = [p.test.low or 0.0 for p in sure], [p.test.high or 0.0 for p in sure]
    axes.fill_between([p.videos_per_class for p in sure], lows, highs, color=colour, alpha=opacity, linewidth=0)


def _draw_dots(study: Study, points: Mapping[str, list[_Point]], moment: str, title: str) -> Picture:
    """With a single number of labels: one row an arm, the dot its mean, the bar its interval."""
    colours = study_colours(study.arms, study.baseline)
    with drawing(5.6, 0.9 + 0.36 * len(points)) as figure:
        axes = figure.subplots()
        for row, (arm, (point, *_)) in enumerate(points.items()):
            colour, test = PALETTE[colours[arm]], point.test
            if test.low is not None and test.high is not None:
                axes.hlines(row, test.low, test.high, color=colour, linewidth=5, alpha=0.3)
            axes.plot([test.mean], [row], marker="o", markersize=7, color=colour)
            axes.text(1.015, row, percent(test.mean), transform=axes.get_yaxis_transform(), color=colour, va="center")
        _arm_rows(axes, list(points), colours)
        axes.set_xlim(0, _top(points))
        axes.set_xlabel("accuracy")
        percent_axis(axes, horizontal=True)
        _mark_guessing(axes, study, vertical=True)
        svg = to_svg(figure, name=f"efficiency-{moment}", description=f"accuracy of the arms {title}")
    return Picture(svg, f"Accuracy {title}: dot = mean over the pairs, bar = 95 % interval.")


def _draw_probe(study: Study, name: str, probes: Mapping[str, Sequence[Mapping[str, float]]], caption: str) -> Picture:
    values = {arm: [probe["model"] for probe in found] for arm, found in probes.items() if found}
    # Every arm's probes have the same untrained networks beside them.
    values[_UNTRAINED] = [probe["untrained"] for probe in max(probes.values(), key=len)]
    colours = study_colours(study.arms, study.baseline) | {_UNTRAINED: "scratch"}
    values = dict(sorted(values.items(), key=lambda item: -fmean(item[1])))
    with drawing(5.6, 0.9 + 0.36 * len(values)) as figure:
        axes = figure.subplots()
        for row, (arm, found) in enumerate(values.items()):
            colour = PALETTE[colours[arm]]
            axes.barh(row, fmean(found), height=0.72, color=colour, alpha=0.85)
            if len(found) > 1:
                axes.scatter(found, [row] * len(found), s=18, facecolor=PALETTE["surface"], edgecolor=colour, zorder=3)
            axes.text(
                1.015, row, percent(fmean(found)), transform=axes.get_yaxis_transform(), color=colour, va="center"
            )
        _arm_rows(axes, list(values), colours)
        axes.set_xlim(0, min(1.0, 1.08 * max(value for found in values.values() for value in found) or 1.0))
        axes.set_xlabel("accuracy")
        percent_axis(axes, horizontal=True)
        return Picture(to_svg(figure, name=f"probe-{name}", description=f"{name} accuracy of the arms"), caption)


def _draw_log(study: Study, name: str, caption: str) -> Picture:
    colours = study_colours(study.arms, study.baseline)
    curves = {arm: _mean_of(runs, name) for arm, runs in study.pretraining.items()}
    curves = {arm: curve for arm, curve in curves.items() if curve}
    guess = _guess(study, name)
    height = max(3.0, 0.9 + _LINE_INCHES * len(curves))
    with drawing(5.4, height) as figure:
        axes = figure.subplots()
        for arm, curve in curves.items():
            plot_curve(axes, Line(curve, arm, colours[arm]))
        values = [v for curve in curves.values() for v in curve.values if math.isfinite(v)] + [guess or 0.0]
        axes.set_ylim(min(0.0, *values), 1.1 * max(*values, 1e-12))
        axes.set_ylabel(key_name(name))
        epoch_axis(axes)
        if guess is not None:
            axes.axhline(guess, color=PALETTE["muted"], linewidth=1.0, linestyle=":")
            axes.annotate("guessing", (1, guess), xycoords=axes.get_yaxis_transform(), xytext=(-2, 3), ha="right",
                          size=9, textcoords="offset points", color=PALETTE["muted"])  # fmt: skip
        ends = [LineEnd(c.last, f"{arm} {short_number(c.last)}", colours[arm]) for arm, c in curves.items()]
        label_line_ends(axes, ends, line_height=_LINE_INCHES / (height - 0.6))
        return Picture(to_svg(figure, name=f"pretraining-{name}", description=caption), caption)


def _mean_of(runs: Sequence[Mapping[str, Curve]], name: str) -> Curve:
    found = [run[name] for run in runs if name in run]
    return mean_curve(found) if found else Curve()


def _guess(study: Study, loss: str) -> float | None:
    """The loss of guessing, where all pretrainings that have one agree; with other batch sizes it differs."""
    name = f"guess_{loss.removeprefix('loss_')}"
    values = [run[name].last for runs in study.pretraining.values() for run in runs if name in run]
    if not values or max(values) - min(values) > 0.02 * max(map(abs, values)):
        return None
    return fmean(values)


def _labels_axis(axes: Axes, study: Study) -> None:
    places = [videos for _, videos in study.labels]
    names = [
        f"{_ALL_LABELS}\n({short_number(videos)})" if labels is None else str(labels) for labels, videos in study.labels
    ]
    axes.set_xscale("log")
    axes.set_xlim(places[0] / 1.12, places[-1] * 1.12)
    axes.set_xticks(places, names)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("labelled videos a class")
    axes.set_ylabel("accuracy")


def _mark_guessing(axes: Axes, study: Study, *, vertical: bool = False) -> None:
    """A dotted line at the accuracy of guessing, where all stores have the same number of classes."""
    classes = {store.classes for store in study.stores}
    if len(classes) != 1:
        return
    (chance,) = (1 / number for number in classes)
    style: dict[str, Any] = {"color": PALETTE["muted"], "linewidth": 1.0, "linestyle": ":"}
    if vertical:
        axes.axvline(chance, **style)
        axes.text(
            chance, 1.0, " guessing", transform=axes.get_xaxis_transform(), size=9, color=PALETTE["muted"], va="top"
        )
    else:
        axes.axhline(chance, **style)
        axes.text(1.0, chance, "guessing", transform=axes.get_yaxis_transform(), size=9, color=PALETTE["muted"],
                  ha="right", va="bottom")  # fmt: skip


def _arm_rows(axes: Axes, arms: Sequence[str], colours: Mapping[str, str]) -> None:
    axes.set_yticks(range(len(arms)), arms)
    for label, arm in zip(axes.get_yticklabels(), arms, strict=True):
        label.set_color(PALETTE[colours[arm]])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _top(points: Mapping[str, Sequence[_Point]]) -> float:
    """Upper end of an accuracy axis."""
    tests = [point.test for found in points.values() for point in found]
    values = [value for test in tests for value in (test.mean, test.high) if value is not None]
    return min(1.0, 1.08 * max([*values, 0.05]))
