"""Things that move and say nothing: balls, bars, birds, patches of cloth, and posts that hide a part of the person."""

from __future__ import annotations

import numpy as np

from sparsedense.actors.figure import draw_cloth
from sparsedense.actors.scene import Camera, SceneSettings
from sparsedense.actors.shapes import CORNERS, Layer, capsules, fixed_order
from sparsedense.actors.skeleton import Floats

Rng = np.random.Generator


def _disc(centre: Floats, radius: float) -> Floats:
    size = np.full(len(centre), radius)
    return capsules(centre, centre, size, size)


def _path(rng: Rng, settings: SceneSettings, num_frames: int, width: int, height: int) -> Floats:
    """A straight way `(T, 2)` through the frame, in base coordinates; it comes back after leaving."""
    speed = rng.uniform(*settings.distractor_speed) * width / 25.0 * rng.choice([-1.0, 1.0])
    x = (rng.uniform(0, 1.6 * width) + speed * np.arange(num_frames)) % (1.6 * width) - 0.3 * width
    y = rng.uniform(0.05, 0.9) * height + rng.normal(0, 0.15) * np.arange(num_frames)
    return np.stack([x, y], -1)


def _ball(rng: Rng, path: Floats, height: int) -> list[Floats]:
    bounce = rng.uniform(0.1, 0.4) * height
    period = rng.uniform(14, 40)
    path = path.copy()
    path[:, 1] = height * 0.93 - bounce * np.abs(np.sin(np.pi * np.arange(len(path)) / period + rng.uniform(0, np.pi)))
    radius = rng.uniform(0.02, 0.05) * height
    return [_disc(path, radius), _disc(path - 0.3 * radius, 0.5 * radius)]


def _bar(rng: Rng, path: Floats, height: int) -> list[Floats]:
    angle = rng.uniform(0, np.pi) + rng.normal(0, 0.04) * np.arange(len(path))
    reach = rng.uniform(0.08, 0.22) * height * np.stack([np.cos(angle), np.sin(angle)], -1)
    size = np.full(len(path), rng.uniform(0.012, 0.03) * height)
    bar = capsules(path - reach, path + reach, size, size)
    return [bar, bar]


def _bird(rng: Rng, path: Floats, height: int) -> list[Floats]:
    flap = np.sin(2 * np.pi * np.arange(len(path)) / rng.uniform(7, 16))
    span = rng.uniform(0.03, 0.07) * height
    path = path * [1.0, 0.5]
    size = np.full(len(path), 0.012 * height)
    return [
        capsules(path, path + np.stack([np.full(len(path), sign * span), -span * flap], -1), size, 0.3 * size)
        for sign in (-1.0, 1.0)
    ]


def _patch(rng: Rng, path: Floats, height: int) -> list[Floats]:
    angle = np.arange(CORNERS) * 2 * np.pi / CORNERS
    reach = rng.uniform(0.04, 0.12, 2) * height
    size = 1 + 0.25 * np.sin(2 * np.pi * np.arange(len(path)) / rng.uniform(20, 60))
    circle = np.stack([np.cos(angle) * reach[0], np.sin(angle) * reach[1]], -1)
    outline = path[:, None] + size[:, None, None] * circle
    return [outline, path[:, None] + 0.6 * size[:, None, None] * circle]


_KINDS = (_ball, _bar, _bird, _patch)


def _layer(outlines: list[Floats], colours: list[tuple[float, float, float]], camera: Camera) -> Layer:
    num_frames = len(camera.zoom)
    corners = np.stack(outlines, axis=1) if outlines else np.zeros((num_frames, 0, CORNERS, 2))
    colour = np.broadcast_to(np.array(colours).reshape(-1, 3), (num_frames, len(colours), 3))
    return Layer(camera.place(corners), colour, fixed_order(num_frames, len(outlines)))


def distractor_layers(
    rng: Rng, settings: SceneSettings, camera: Camera, background: Floats, width: int, height: int
) -> tuple[Layer, Layer]:
    """Draw the moving things behind the person, and those (with posts) before the person.

    Args:
        rng: the generator.
        settings: number, speed and probabilities.
        camera: its path.
        background: mean colour (3,), things stand out from it.
        width: of the frame, pixels.
        height: of the frame, pixels.
    """
    num_frames = len(camera.zoom)
    outlines: tuple[list[Floats], list[Floats]] = ([], [])
    colours: tuple[list[tuple[float, float, float]], list[tuple[float, float, float]]] = ([], [])
    for _ in range(int(rng.integers(settings.distractors[0], settings.distractors[1] + 1))):
        path = _path(rng, settings, num_frames, width, height)
        shapes = _KINDS[rng.integers(len(_KINDS))](rng, path, height)
        before = int(rng.random() < 0.25)
        red, green, blue = draw_cloth(rng, background)
        outlines[before].extend(shapes)
        colours[before].extend([(0.75 * red, 0.75 * green, 0.75 * blue), (red, green, blue)])
    if rng.random() < settings.occluder_probability:
        x = (0.5 + rng.choice([-1.0, 1.0]) * rng.uniform(0.06, 0.3)) * width
        top = rng.uniform(-0.3, 0.7) * height
        size = np.full(num_frames, rng.uniform(0.012, 0.035) * width)
        ends = (np.tile([x, top], (num_frames, 1)), np.tile([x, 1.4 * height], (num_frames, 1)))
        outlines[1].append(capsules(*ends, size, size))
        colours[1].append(draw_cloth(rng, background))
    return _layer(outlines[0], colours[0], camera), _layer(outlines[1], colours[1], camera)
