"""Still backgrounds: rooms, parks, streets and halls, with things standing in them."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

from sparsedense.actors.scene import SceneSettings
from sparsedense.actors.shapes import Colour, Image
from sparsedense.actors.skeleton import Floats

Rng = np.random.Generator


def _colour(rng: Rng, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return (255 * red, 255 * green, 255 * blue)


def _near(rng: Rng, colour: Colour, spread: float = 25.0) -> Colour:
    red, green, blue = (float(np.clip(c + rng.normal(0, spread), 0, 255)) for c in colour)
    return (red, green, blue)


def _noise(rng: Rng, width: int, height: int, cells: float) -> Floats:
    """Smooth noise `(H, W)` around 0 with two octaves; `cells` blobs over the width."""
    total = np.zeros((height, width))
    for octave in (1, 3):
        columns = max(2, round(cells * octave))
        rows = max(2, round(cells * octave * height / width))
        grid = rng.standard_normal((rows, columns)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / octave
    return total


def _wall(rng: Rng, width: int, rows: int) -> Floats:
    """A wall: a gradient, with stripes, panels, bricks or nothing on it."""
    base = np.array(_colour(rng, (0.05, 0.45), (0.45, 0.95)))
    wall = (
        np.broadcast_to(base, (rows, width, 3))
        * np.linspace(rng.uniform(0.8, 1.1), rng.uniform(0.8, 1.1), rows)[:, None, None]
    )
    y, x = np.mgrid[:rows, :width]
    pattern, size = rng.integers(5), rng.uniform(9, 30)
    if pattern == 0:
        wall = wall * (1.0 - 0.12 * ((x // size) % 2))[..., None]
    elif pattern == 1:
        wall = wall * (1.0 - 0.2 * ((x % size < 1) | (y % (1.4 * size) < 1)))[..., None]
    elif pattern == 2:
        course = y // (size / 2)
        joint = (y % (size / 2) < 1) | ((x + (course % 2) * size / 2) % size < 1)
        wall = wall * (1.0 - 0.22 * joint)[..., None]
    return np.asarray(wall * (1.0 + 0.03 * _noise(rng, width, rows, 12))[..., None])


def _floor(rng: Rng, width: int, rows: int, colour: Colour, pattern: int) -> Floats:
    """A floor in perspective: planks, tiles or noise that widens towards the viewer."""
    y, x = np.mgrid[:rows, :width].astype(np.float64)
    depth = 1.0 / (y / rows + 0.12)
    u, v = (x - width / 2) / width * depth * 9, depth * 4
    if pattern == 0:
        shade = rng.uniform(0.85, 1.1, 512)[(np.floor(u * 1.6).astype(int)) % 512]
    elif pattern == 1:
        shade = 1.0 - 0.16 * ((np.floor(u) + np.floor(v)) % 2)
    else:
        grain = _noise(rng, width, rows, 40).astype(np.float32)
        shade = 1.0 + 0.08 * cv2.remap(
            grain,
            ((u * 12) % (width - 1)).astype(np.float32),
            ((v * 8) % (rows - 1)).astype(np.float32),
            cv2.INTER_LINEAR,
        )
    light = 0.8 + 0.3 * y / rows
    return np.asarray(np.array(colour) * (shade * light)[..., None])


def _box(image: Image, rng: Rng, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    """A rectangle with a lit and a dark edge."""
    corners = [(round(left), round(top)), (round(right), round(bottom))]
    cv2.rectangle(image, corners[0], corners[1], colour, -1)
    cv2.line(image, corners[0], (corners[1][0], corners[0][1]), [min(255.0, 1.2 * c) for c in colour], 1)
    cv2.line(image, (corners[1][0], corners[0][1]), corners[1], [0.7 * c for c in colour], 1)
    if rng.random() < 0.5:
        x = round((left + right) / 2)
        cv2.line(image, (x, corners[0][1]), (x, corners[1][1]), [0.75 * c for c in colour], 1)


def _window(image: Image, rng: Rng, x: float, horizon: float) -> None:
    w, h = rng.uniform(18, 50), rng.uniform(20, 45)
    y = rng.uniform(2, max(3.0, horizon - h - 12))
    _box(image, rng, x, y, x + w, y + h, _near(rng, (190, 205, 220)))
    cv2.rectangle(image, (round(x), round(y)), (round(x + w), round(y + h)), _colour(rng, (0, 0.3), (0.3, 0.95)), 2)


def _picture(image: Image, rng: Rng, x: float, horizon: float) -> None:
    w, h = rng.uniform(8, 26, 2)
    y = rng.uniform(3, max(4.0, horizon - h - 15))
    _box(image, rng, x - 2, y - 2, x + w + 2, y + h + 2, _colour(rng, (0.1, 0.5), (0.2, 0.8)))
    _box(image, rng, x, y, x + w, y + h, _colour(rng, (0.1, 0.7), (0.3, 0.9)))


def _cupboard(image: Image, rng: Rng, x: float, horizon: float) -> None:
    w, h = rng.uniform(14, 45), rng.uniform(14, 70)
    _box(image, rng, x, horizon + 5 - h, x + w, horizon + rng.uniform(3, 9), _colour(rng, (0.1, 0.55), (0.25, 0.85)))


def _bush(image: Image, rng: Rng, x: float, horizon: float) -> None:
    size, green = rng.uniform(5, 14), _near(rng, (60, 110, 50))
    for _ in range(7):
        centre = (round(x + rng.normal(0, size * 0.7)), round(horizon - size * 0.5 + rng.normal(0, size * 0.35)))
        cv2.circle(image, centre, round(size * rng.uniform(0.35, 0.7)), _near(rng, green, 12), -1, cv2.LINE_AA)


def _tree(image: Image, rng: Rng, x: float, horizon: float) -> None:
    height, size, green = rng.uniform(30, 70), rng.uniform(9, 20), _near(rng, (70, 120, 55))
    trunk = _near(rng, (90, 65, 45), 15)
    cv2.line(
        image, (round(x), round(horizon + 4)), (round(x), round(horizon - height)), trunk, round(rng.uniform(2, 6))
    )
    for _ in range(9):
        centre = (round(x + rng.normal(0, size * 0.6)), round(horizon - height + rng.normal(0, size * 0.5)))
        cv2.circle(image, centre, round(size * rng.uniform(0.4, 0.7)), _near(rng, green, 12), -1, cv2.LINE_AA)


def _house(image: Image, rng: Rng, x: float, horizon: float) -> None:
    w, h = rng.uniform(25, 70), rng.uniform(30, 90)
    wall = _colour(rng, (0.05, 0.4), (0.4, 0.85))
    _box(image, rng, x, horizon - h, x + w, horizon + 3, wall)
    dark = [0.55 * c for c in wall]
    step = rng.uniform(9, 14)
    for wy in np.arange(horizon - h + 5, horizon - 8, step):
        for wx in np.arange(x + 4, x + w - 6, step):
            cv2.rectangle(image, (round(wx), round(wy)), (round(wx + 4), round(wy + 5)), dark, -1)


Thing = Callable[[Image, Rng, float, float], None]
_INDOORS: tuple[Thing, ...] = (_window, _picture, _cupboard, _cupboard, _bush)
_OUTDOORS: tuple[Thing, ...] = (_tree, _bush, _bush, _house)
_TOWN: tuple[Thing, ...] = (_house, _house, _house, _tree)


def _indoors(rng: Rng, width: int, height: int, horizon: int) -> Floats:
    floor = _floor(rng, width, height - horizon, _colour(rng, (0.1, 0.5), (0.3, 0.8)), int(rng.integers(3)))
    image = np.concatenate([_wall(rng, width, horizon), floor])
    image[horizon - 3 : horizon] *= rng.uniform(0.6, 1.2)
    return image


def _sky(rng: Rng, width: int, rows: int) -> Floats:
    sky = np.array(_near(rng, (140, 180, 225), 25)) * np.linspace(0.85, 1.12, rows)[:, None, None]
    return np.asarray(sky + np.clip(_noise(rng, width, rows, 5), 0, 1.5)[..., None] * 35)


def _outdoors(rng: Rng, width: int, height: int, horizon: int) -> Floats:
    ground = _near(rng, [(95, 135, 65), (190, 170, 120), (120, 120, 120)][rng.integers(3)], 15)
    image = np.concatenate([_sky(rng, width, horizon), _floor(rng, width, height - horizon, ground, 2)])
    hills = horizon - 14 - 10 * _noise(rng, width, 2, rng.uniform(2, 5))[0]
    far = np.arange(horizon)[:, None] > hills
    image[:horizon][far] = 0.4 * image[:horizon][far] + 0.6 * np.array(_near(rng, (95, 120, 100), 20))
    return image


def _town(rng: Rng, width: int, height: int, horizon: int) -> Floats:
    pavement = _floor(rng, width, height - horizon, _near(rng, (150, 145, 140), 20), int(rng.integers(1, 3)))
    image = np.concatenate([_sky(rng, width, horizon), pavement])
    x = 0
    while x < width:  # a row of fronts
        wide, high = int(rng.integers(30, 80)), int(rng.integers(horizon // 3, horizon))
        wall = _wall(rng, wide, high)
        image[horizon - high : horizon, x : x + wide] = wall[:, : max(0, width - x)]
        x += wide
    return image


def paint_background(rng: Rng, settings: SceneSettings, width: int, height: int, horizon: int) -> Image:
    """Paint a background `(height, width, 3)`.

    Args:
        rng: the generator.
        settings: `texture` and `clutter` are used.
        width: in pixels.
        height: in pixels.
        horizon: row where the floor meets the wall or the sky.
    """
    kind = rng.integers(3)
    still = (_indoors, _outdoors, _town)[kind](rng, width, height, horizon)
    image = np.ascontiguousarray(np.clip(still, 0, 255).astype(np.uint8))
    things = (_INDOORS, _OUTDOORS, _TOWN)[kind]
    for _ in range(int(rng.integers(settings.clutter[0], settings.clutter[1] + 1))):
        things[rng.integers(len(things))](image, rng, rng.uniform(-0.05, 0.95) * width, horizon)
    mean = image.mean(axis=(0, 1))
    return np.asarray(np.clip(mean + settings.texture * (image - mean), 0, 255), np.uint8)
