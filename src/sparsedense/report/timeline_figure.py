"""The drawing that explains sparse and dense clips."""

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from sparsedense.report.canvas import PALETTE, Picture, drawing, to_svg

# As in the paper: 16 frames a clip, the dense stride a quarter of the sparse one; the video's length is an example.
_VIDEO_FRAMES, _CLIP_FRAMES, _NUM_INTERVALS = 128, 16, 4
_SPARSE_STRIDE_FRAMES = _VIDEO_FRAMES // _CLIP_FRAMES
_DENSE_STRIDE_FRAMES = _SPARSE_STRIDE_FRAMES // 4
_DENSE_START_FRAME = 54


def sparse_and_dense() -> Picture:
    """A video of 128 frames and the frames that a sparse and a dense clip take of it."""
    sparse = [_SPARSE_STRIDE_FRAMES * i + 3 for i in range(_CLIP_FRAMES)]
    dense = [_DENSE_START_FRAME + _DENSE_STRIDE_FRAMES * i for i in range(_CLIP_FRAMES)]
    with drawing(5.8, 3.0) as figure:
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(-1, _VIDEO_FRAMES + 1)
        axes.set_ylim(-0.6, 4.95)
        _bar(axes, 4.0, f"video: {_VIDEO_FRAMES} frames", range(_VIDEO_FRAMES), colour="muted", alpha=0.45)
        title = f"sparse clip: {_CLIP_FRAMES} frames, every {_SPARSE_STRIDE_FRAMES}th, the whole video at speed"
        _bar(axes, 2.2, title, sparse, colour="speed")
        _intervals(axes, 2.2)
        title = f"dense clip: {_CLIP_FRAMES} frames, every {_DENSE_STRIDE_FRAMES}nd, a stretch of it in detail"
        _bar(axes, 0.0, title, dense, colour="consistency")
        centre = (dense[0] + dense[-1] + 1) / 2
        axes.annotate("", (centre, 1.45), xytext=(centre, 0.98),
                      arrowprops={"arrowstyle": "->", "color": PALETTE["consistency"], "linewidth": 1.2})  # fmt: skip
        axes.text(centre, -0.18, "which of the 4 intervals does it resemble?", ha="center", va="top", size=9,
                  color=PALETTE["consistency"])  # fmt: skip
        svg = to_svg(figure, name="timeline", description="frames that a sparse and a dense clip take of one video")
    return Picture(svg, "Two views of one video, of equal shape.")


def _bar(axes: Axes, bottom: float, title: str, frames: list[int] | range, *, colour: str, alpha: float = 1.0) -> None:
    axes.add_patch(Rectangle((0, bottom), _VIDEO_FRAMES, 0.5, color=PALETTE["grid"], linewidth=0))
    for frame in frames:
        axes.add_patch(Rectangle((frame + 0.1, bottom), 0.8, 0.5, color=PALETTE[colour], alpha=alpha, linewidth=0))
    axes.text(0, bottom + 0.62, title, color=PALETTE["ink" if colour == "muted" else colour])


def _intervals(axes: Axes, bottom: float) -> None:
    length = _VIDEO_FRAMES / _NUM_INTERVALS
    for interval in range(_NUM_INTERVALS):
        left, right = interval * length + 0.8, (interval + 1) * length - 0.8
        axes.plot([left, left, right, right], [bottom - 0.08, bottom - 0.2, bottom - 0.2, bottom - 0.08],
                  color=PALETTE["muted"], linewidth=1.0)  # fmt: skip
        axes.text((left + right) / 2, bottom - 0.28, f"interval {interval + 1}", ha="center", va="top", size=9,
                  color=PALETTE["muted"])  # fmt: skip
