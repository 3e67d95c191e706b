"""Curves of one run over its epochs (Figures 5 to 10 of the paper)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from sparsedense.report.canvas import (
    PALETTE,
    LineEnd,
    Picture,
    drawing,
    epoch_axis,
    label_line_ends,
    percent_axis,
    to_svg,
)
from sparsedense.report.read_run import Curve, Run
from sparsedense.report.wording import key_name, percent, short_number

_WEIGHTS = (
    ("weight_speed", "speed", "speed", "-"),
    ("weight_consistency", "consistency", "consistency", "--"),
    ("weight_alignment", "alignment", "violet", "-"),
    ("weight_contrast", "contrast", "teal", "--"),
    ("weight_generator", "generator", "crimson", "-."),
    ("weight_classification", "classification", "classification", "-."),
)
_LOSSES = {
    "loss_speed": ("speed", "Speed loss: is the clip sparse or dense? (Figure 8 of the paper)"),
    "loss_consistency": ("consistency", "Consistency loss: do the trends agree? (Figures 9 and 10 of the paper)"),
    "loss_alignment": ("violet", "Alignment loss: in which interval of the sparse clip does the dense clip lie?"),
    "loss_contrast": ("teal", "Contrast loss: are these two clips of the same video?"),
    "loss_generator": ("crimson", "Generator loss: what do the dense maps of all intervals look like?"),
    "loss_classification": ("classification", "Classification loss of the labelled clips"),
}
_FEW_EPOCHS = 40  # up to here every epoch gets its own dot


@dataclass(frozen=True, slots=True)
class Line:
    """A curve to draw: its label, its colour (a name of the palette) and its dashes."""

    curve: Curve
    label: str
    colour: str
    dashes: str = "-"


def weight_schedule(run: Run, *, name: str = "weights") -> Picture | None:
    """The weights of the losses over the epochs, as recorded (Figure 5)."""
    lines = [Line(run.train_curve(key), label, colour, dashes) for key, label, colour, dashes in _WEIGHTS]
    lines = [line for line in lines if any(line.curve.values)]  # a loss that never counts gets no line
    if not lines:
        return None
    with drawing() as figure:
        axes = figure.subplots()
        for line in lines:
            plot_curve(axes, line)
        axes.set_ylabel("weight of the loss")
        axes.set_ylim(-0.04, max(1.0, *(value for line in lines for value in line.curve.values)) * 1.06)
        epoch_axis(axes)
        label_line_ends(axes, [LineEnd(line.curve.last, line.label, line.colour) for line in lines])
        description = "weights of " + ", ".join(line.label for line in lines) + " over the epochs"
        return Picture(
            to_svg(figure, name=name, description=description),
            "Which loss counts when: the weight schedule (Figure 5 of the paper).",
        )


def score_pictures(run: Run) -> list[Picture]:
    """Accuracy and macro-F1 of the validation videos over the epochs (Figures 6 and 7)."""
    accuracy = [
        Line(run.validation_curve("accuracy"), "top-1", "accent"),
        Line(run.validation_curve("accuracy_top5"), "top-5", "muted", "--"),
    ]
    f1 = [Line(run.validation_curve("f1"), "macro-F1", "accent")]
    start = run.first_supervised_epoch()
    pictures = [
        _percent_picture(accuracy, name="accuracy", label="accuracy", start=start,
                         caption="Accuracy after each epoch (Figure 6 of the paper)."),
        _percent_picture(f1, name="f1", label="macro-F1", start=start,
                         caption="Macro-F1 after each epoch (Figure 7 of the paper)."),
    ]  # fmt: skip
    return [picture for picture in pictures if picture is not None]


def loss_pictures(run: Run, *, prefix: str = "") -> list[Picture]:
    """One figure for each loss that was recorded, then the total."""
    keys = [key for key in _LOSSES if key in run.train]
    keys += sorted(key for key in run.train if key.startswith("loss_") and key not in _LOSSES)
    pictures = []
    for key in keys:
        colour, caption = _LOSSES.get(key, ("accent", f"{key_name(key).capitalize()}."))
        guesses = run.train_curve(f"guess_{key.removeprefix('loss_')}")
        chance = guesses.last if guesses else math.log(2) if key == "loss_speed" else None
        line = Line(run.train[key], short_number(run.train[key].last), colour)
        pictures.append(_value_picture([line], name=prefix + key, label="loss", caption=caption, chance=chance))
    totals = [
        Line(run.train_curve("loss"), "training", "accent"),
        Line(run.validation_curve("loss"), "validation", "muted", "--"),
    ]
    pictures.append(_value_picture(totals, name=prefix + "loss", label="loss", caption="Total loss: the weighted sum."))
    return [picture for picture in pictures if picture is not None]


def speed_accuracy_picture(run: Run, *, prefix: str = "") -> Picture | None:
    """How often the speed head tells sparse from dense, against the 50 % of guessing."""
    line = Line(run.train_curve("speed_accuracy"), "", "speed")
    caption = "Training clips whose speed was told right; guessing gives 50 %."
    return _percent_picture([line], name=prefix + "speed-accuracy", label="speed accuracy", caption=caption, chance=0.5)


def machine_pictures(run: Run) -> list[Picture]:
    """Learning rate, throughput and the share of time spent waiting for data."""
    rate, clips = run.train_curve("learning_rate"), run.train_curve("clips_per_second")
    pictures = [
        _value_picture([Line(rate, "", "accent")], name="learning-rate", label="learning rate",
                       caption="Learning rate."),
        _value_picture([Line(clips, "", "accent")], name="throughput", label="clips per second",
                       caption="Throughput of training."),
        _percent_picture([Line(run.train_curve("data_wait"), "", "accent")], name="data-wait", label="share of time",
                         caption="Time spent waiting for data."),
    ]  # fmt: skip
    return [picture for picture in pictures if picture is not None]


def plot_curve(axes: Axes, line: Line, *, width: float = 2.0, alpha: float = 1.0) -> None:
    """Draw one curve; few epochs get a dot each, so that a single one is visible too."""
    marker = "o" if len(line.curve.epochs) <= _FEW_EPOCHS else ""
    axes.plot(line.curve.epochs, line.curve.values, color=PALETTE[line.colour], linestyle=line.dashes, linewidth=width,
              alpha=alpha, marker=marker, markersize=1.8 * width)  # fmt: skip


def mark_epoch(axes: Axes, epoch: int, text: str) -> None:
    """A thin vertical line with a note at its top."""
    axes.axvline(epoch, color=PALETTE["muted"], linewidth=0.8, linestyle=":")
    axes.text(epoch, 1.03, f" {text}", transform=axes.get_xaxis_transform(), color=PALETTE["muted"], size=9, ha="left")


def _percent_picture(
    lines: Sequence[Line], *, name: str, label: str, caption: str, start: int | None = None, chance: float | None = None
) -> Picture | None:
    lines = [line for line in lines if line.curve]
    if not lines:
        return None
    with drawing() as figure:
        axes = figure.subplots()
        for line in lines:
            plot_curve(axes, line)
        top = max(0.05, *(value for line in lines for value in line.curve.values if math.isfinite(value)), chance or 0)
        axes.set_ylim(0, min(1.02, 1.12 * top))
        _decorate(axes, label=label, chance=chance)
        percent_axis(axes)
        if start is not None:
            mark_epoch(axes, start, f"labels from epoch {start}")
        ends = [LineEnd(line.curve.last, f"{line.label} {percent(line.curve.last)}".strip(), line.colour)
                for line in lines]  # fmt: skip
        label_line_ends(axes, ends)
        return Picture(to_svg(figure, name=name, description=f"{label} over the epochs"), caption)


def _value_picture(
    lines: Sequence[Line], *, name: str, label: str, caption: str, chance: float | None = None
) -> Picture | None:
    lines = [line for line in lines if line.curve]
    if not lines:
        return None
    with drawing() as figure:
        axes = figure.subplots()
        for line in lines:
            plot_curve(axes, line)
        values = [value for line in lines for value in line.curve.values if math.isfinite(value)]
        axes.set_ylim(min(0.0, *values, 0.0), 1.1 * max(*values, chance or 0.0, 1e-12) if values else 1.0)
        _decorate(axes, label=label, chance=chance)
        ends = [LineEnd(line.curve.last, line.label or short_number(line.curve.last), line.colour) for line in lines]
        label_line_ends(axes, ends)
        return Picture(to_svg(figure, name=name, description=f"{caption} over the epochs"), caption)


def _decorate(axes: Axes, *, label: str, chance: float | None) -> None:
    axes.set_ylabel(label)
    epoch_axis(axes)
    if chance is not None:
        axes.axhline(chance, color=PALETTE["muted"], linewidth=1.0, linestyle=":")
        axes.annotate("guessing", (1, chance), xycoords=axes.get_yaxis_transform(), xytext=(-2, 3), ha="right", size=9,
                      textcoords="offset points", color=PALETTE["muted"])  # fmt: skip
