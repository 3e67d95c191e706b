"""Convex shapes that move: the only thing that is drawn over the background.

Shapes: T frames, P shapes, V corners. Points are in pixels of the frame, x right and y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsedense.actors.skeleton import Floats

Image = NDArray[np.uint8]
Colour = tuple[float, float, float]

# Fractional bits of the coordinates given to OpenCV: shapes move by a sixteenth of a pixel.
_SHIFT = 4
#: Corners of every shape, so that shapes stack.
CORNERS = 14


@dataclass(frozen=True, slots=True)
class Layer:
    """Moving shapes that are drawn one over the other.

    Args:
        corners: `(T, P, V, 2)` in pixels.
        colours: `(T, P, 3)` RGB in [0, 255].
        order: `(T, P)` which shape is drawn when, first to last.
    """

    corners: Floats
    colours: Floats
    order: NDArray[np.int64]


def capsules(start: Floats, end: Floats, start_radius: Floats, end_radius: Floats) -> Floats:
    """Outlines `(..., V, 2)` of the hulls of two discs each, from their centres `(..., 2)` and radii `(...)`."""
    axis = end - start
    length = np.linalg.norm(axis, axis=-1)
    heading = np.arctan2(axis[..., 1], axis[..., 0])
    # Where one disc holds the other, the hull is the larger disc: both caps open to it.
    taper = np.arcsin(np.clip((start_radius - end_radius) / np.maximum(length, 1e-6), -1.0, 1.0))
    sweep = np.linspace(-1.0, 1.0, CORNERS // 2)
    front = heading[..., None] + sweep * (np.pi / 2 - taper[..., None])
    back = heading[..., None] + np.pi + sweep * (np.pi / 2 + taper[..., None])
    caps = [
        centre[..., None, :] + radius[..., None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        for centre, radius, angle in ((end, end_radius, front), (start, start_radius, back))
    ]
    return np.concatenate(caps, axis=-2)


def fixed_order(num_frames: int, num_shapes: int) -> NDArray[np.int64]:
    """The drawing order in which shapes are listed, in every frame."""
    return np.broadcast_to(np.arange(num_shapes), (num_frames, num_shapes))


class Brush:
    """A layer made ready to be drawn frame by frame."""

    def __init__(self, layer: Layer) -> None:
        self._corners = np.ascontiguousarray(np.rint(layer.corners * (1 << _SHIFT)).astype(np.int32))
        self._colours: list[list[Sequence[int]]] = np.clip(layer.colours, 0, 255).astype(np.uint8).tolist()
        self._order: list[list[int]] = layer.order.tolist()

    def draw(self, frame: Image, index: int) -> None:
        """Draw the shapes as they are in frame `index`."""
        corners, colours = self._corners[index], self._colours[index]
        for shape in self._order[index]:
            cv2.fillConvexPoly(frame, corners[shape], colours[shape], cv2.LINE_AA, _SHIFT)
