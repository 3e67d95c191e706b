"""Drawings follow the page's colours and do not clash with one another."""

import math
import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sparsedense.report.canvas import PALETTE, LineEnd, arm_colour, drawing, label_line_ends, spread_apart, to_svg


def svg_of(name: str, *, title: str = "title") -> str:
    with drawing() as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=PALETTE["speed"], marker="o")
        axes.set_title(title)
        return str(to_svg(figure, name=name, description='a "b" <c>'))


def test_every_colour_is_a_variable_of_the_page() -> None:
    svg = svg_of("one")
    assert "var(--speed)" in svg
    assert "var(--muted)" in svg
    styles = " ".join(re.findall(r'style="[^"]*"', svg))
    assert not re.search(r"#[0-9a-f]{6}", styles)


def test_ids_of_two_drawings_differ() -> None:
    first, second = (set(re.findall(r'id="([^"]*)"', svg_of(name))) for name in ("one", "two"))
    assert first
    assert not first & second


def test_the_description_is_escaped_and_text_stays_text() -> None:
    svg = svg_of("one", title="<i>$x$</i>")
    assert 'aria-label="a &quot;b&quot; &lt;c&gt;"' in svg
    assert "&lt;i&gt;$x$&lt;/i&gt;" in svg


def test_the_palette_tells_its_colours_apart() -> None:
    assert len(set(PALETTE.values())) == len(PALETTE)
    assert arm_colour("scratch", 3) == arm_colour("random", 0) == "scratch"
    assert arm_colour("pretrained", 1) == "pretrained"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.12))
def test_labels_keep_their_order_and_distance_below_the_top(heights: list[float], gap: float) -> None:
    spread = spread_apart(sorted(heights), gap=gap)
    assert len(spread) == len(heights)
    assert spread[-1] <= 1
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(spread))


def test_a_line_that_ends_in_nan_gets_no_label() -> None:
    with drawing() as figure:
        axes = figure.subplots()
        label_line_ends(axes, [LineEnd(math.nan, "lost", "speed"), LineEnd(0.5, "kept", "accent")])
        assert [text.get_text() for text in axes.texts] == ["kept"]


def test_labels_that_do_not_touch_stay() -> None:
    assert spread_apart([0.1, 0.5, 0.9], gap=0.1) == [0.1, 0.5, 0.9]
