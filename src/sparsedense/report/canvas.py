"""Draw with matplotlib, get inline SVG whose colours and fonts are the page's own.

Figures are drawn in the light palette below; each of its colours is then replaced by the CSS variable of the same name,
so that one picture serves light mode, dark mode and print. matplotlib's global state is left as it was.
"""

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

# Colour-blind safe (blue against vermilion) and at least 4.5:1 against white, as labels are written in them too.
PALETTE = {
    "ink": "#1b1f24",
    "muted": "#5d6670",
    "grid": "#dce1e6",
    "surface": "#fffffd",
    "scratch": "#c04f00",
    "pretrained": "#0069a6",
    "speed": "#00795a",
    "consistency": "#a3458e",
    "classification": "#8a6100",
    "accent": "#3d5a80",
    "violet": "#6a4bc4",
    "teal": "#00707a",
    "crimson": "#b3203a",
    "olive": "#59690a",
}
_ARM_COLOURS = {"scratch": "scratch", "random": "scratch", "untrained": "scratch", "pretrained": "pretrained"}
_FURTHER_ARMS = ("consistency", "classification", "speed")
_STUDY_ARMS = (
    "pretrained", "speed", "consistency", "violet", "classification", "teal", "crimson", "olive", "accent",
)  # fmt: skip

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": PALETTE["muted"],
    "axes.labelcolor": PALETTE["muted"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlecolor": PALETTE["ink"],
    "axes.unicode_minus": True,
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "grid.color": PALETTE["grid"],
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "sparsedense",
    "text.color": PALETTE["ink"],
    "text.parse_math": False,  # a class may be called "$5"
    "text.usetex": False,
    "xtick.color": PALETTE["muted"],
    "xtick.major.size": 0.0,
    "ytick.color": PALETTE["muted"],
    "ytick.major.size": 0.0,
}
_PAGE_FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
_MAX_PIXELS_PER_INCH = 115  # larger than this a figure looks coarse beside the text
_NO_METADATA: dict[str, str | None] = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn figure: safe SVG markup and what stands below it."""

    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class LineEnd:
    """A label to write beside the last point of a line, in the line's colour (a name of the palette)."""

    y: float
    text: str
    colour: str


def arm_colour(arm: str, index: int = 0) -> str:
    """Palette name of an arm, the same on every figure; `index` picks among further arms."""
    return _ARM_COLOURS.get(arm, _FURTHER_ARMS[index % len(_FURTHER_ARMS)])


def study_colours(arms: Sequence[str], baseline: str) -> dict[str, str]:
    """Palette name of every arm of a study; beyond ten arms they repeat."""
    others = [arm for arm in arms if arm != baseline]
    return {baseline: "scratch"} | {arm: _STUDY_ARMS[i % len(_STUDY_ARMS)] for i, arm in enumerate(others)}


@contextmanager
def drawing(width_inches: float = 5.4, height_inches: float = 3.0) -> Iterator[Figure]:
    """A figure in the page's style; what matplotlib was set to before holds again afterwards."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", message="Glyph")  # the browser has the font, not matplotlib
        yield Figure(figsize=(width_inches, height_inches), layout="constrained")


def to_svg(figure: Figure, *, name: str, description: str) -> Markup:
    """Inline SVG of a figure; call it inside `drawing`.

    Args:
        figure: what to render.
        name: unique on the page; it prefixes every id, as inline figures share one name space.
        description: what a screen reader says.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(\bid=\"|url\(#|href=\"#)", rf"\1{name}-", svg)
    svg = re.sub(r"#[0-9a-f]{6}\b", _as_variable, svg)
    svg = svg.replace("'DejaVu Sans'", _PAGE_FONT)
    view_box = re.search(r'viewBox="[^"]*"', svg)
    size = (
        f'{view_box.group() if view_box else ""} style="max-width:{_MAX_PIXELS_PER_INCH * figure.get_figwidth():.0f}px"'
    )
    opening = f'<svg {size} role="img" aria-label="{escape(description)}">'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1))


def _as_variable(match: re.Match[str]) -> str:
    colour = match.group()
    return next((f"var(--{name})" for name, value in PALETTE.items() if value == colour), colour)


def label_line_ends(axes: Axes, ends: Sequence[LineEnd], *, line_height: float = 0.09) -> None:
    """Write labels right of the axes at the height of the lines' ends, moved apart where they would touch.

    Fix the limits of the y axis before.

    Args:
        axes: where the lines are.
        ends: the labels.
        line_height: height of a line of text as a share of the axes' height.
    """
    low, high = axes.get_ylim()
    ordered = sorted((end for end in ends if math.isfinite(end.y)), key=lambda end: end.y)
    num_lines = max((end.text.count("\n") + 1 for end in ordered), default=1)
    heights = spread_apart([(end.y - low) / (high - low) for end in ordered], gap=line_height * num_lines)
    for end, height in zip(ordered, heights, strict=True):
        axes.text(1.015, height, end.text, transform=axes.transAxes, color=PALETTE[end.colour], va="center")


def spread_apart(heights: Sequence[float], *, gap: float) -> list[float]:
    """Ascending heights moved as little upwards as keeps them `gap` apart, the whole stack pulled back below 1."""
    spread: list[float] = []
    for height in heights:
        spread.append(height if not spread else max(height, spread[-1] + gap))
    ceiling = 1.0
    for index in reversed(range(len(spread))):
        spread[index] = min(spread[index], ceiling)
        ceiling = spread[index] - gap
    return spread


def epoch_axis(axes: Axes) -> None:
    """Label the x axis with whole epochs."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.grid(visible=False, axis="x")


def percent_axis(axes: Axes, *, horizontal: bool = False) -> None:
    """Write fractions as percentages on the y axis (or the x axis)."""
    axis = axes.xaxis if horizontal else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
