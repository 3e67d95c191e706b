"""Where an action is filmed: the settings of all nuisances, the camera's path and the light.

Base coordinates are pixels of the frame as a camera at rest would see it; the camera maps them to pixels of each frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsedense.actors.skeleton import Floats

Rng = np.random.Generator

# How far from the middle a person may be whom the camera follows, as a part of the frame's width.
_FARTHEST_OFF_CENTRE = 0.25


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """How much varies that says nothing of the class. Ranges are (least, most), drawn for each video.

    Args:
        figure_height: height of a standing person, as a part of the frame's height.
        yaw_degrees: how far the person is turned from the camera (0 faces it, 90 is a profile).
        both_sides: people face the left or the right of the picture; without it all face the right.
        elevation_degrees: how far the camera looks down.
        off_centre: how far the person stands from the middle, as a part of the frame's width, to either side.
        spotlight: people stand in the light, what is behind them in the shade: a limb is the brighter of both.
        camera_follow: part of the way of a person who walks that the camera goes too.
        camera_pan: size of the camera's slow wandering, as a part of the frame's width.
        camera_zoom: size of the slow zoom, 0.1 is 10 per cent in and out.
        camera_roll_degrees: size of the slow roll.
        camera_shake: size of the fast shaking of a hand-held camera, as a part of the frame's width.
        light_change: size of the slow change of the light, as a part of its strength.
        texture: strength of the background's texture, 1 is full contrast.
        clutter: number of still things in the background.
        distractors: number of moving balls, bars, birds and patches.
        distractor_speed: their speed in frame widths a second.
        passer_by_probability: part of the videos in which another, smaller person walks past behind.
        occluder_probability: part of the videos in which a post or plant stands before the person.
    """

    figure_height: tuple[float, float] = (0.7, 0.8)
    yaw_degrees: tuple[float, float] = (28.0, 42.0)
    both_sides: bool = False
    elevation_degrees: tuple[float, float] = (4.0, 16.0)
    off_centre: float = 0.05
    spotlight: bool = True
    camera_follow: float = 0.6
    camera_pan: float = 0.003
    camera_zoom: float = 0.005
    camera_roll_degrees: float = 0.3
    camera_shake: float = 0.0003
    light_change: float = 0.03
    texture: float = 0.45
    clutter: tuple[int, int] = (2, 7)
    distractors: tuple[int, int] = (0, 0)
    distractor_speed: tuple[float, float] = (0.04, 0.25)
    passer_by_probability: float = 0.0
    occluder_probability: float = 0.0


#: What `actors` draws its scenes from, by difficulty. In the hard ones the background says more, and more of it moves.
DIFFICULTIES: dict[str, SceneSettings] = {
    "default": SceneSettings(),
    "hard": SceneSettings(
        yaw_degrees=(20.0, 50.0),
        both_sides=True,
        spotlight=False,
        camera_follow=1.0,
        camera_pan=0.006,
        camera_zoom=0.01,
        distractors=(0, 1),
        passer_by_probability=0.05,
        occluder_probability=0.05,
    ),
}


@dataclass(frozen=True, slots=True)
class View:
    """How a person in space appears in base coordinates: a weak perspective.

    Args:
        yaw: angle of the person's facing to the camera, radians.
        elevation: angle by which the camera looks down, radians.
        scale: pixels a body height.
        ground: base coordinates of the point where the person stands at first.
    """

    yaw: float
    elevation: float
    scale: float
    ground: tuple[float, float]

    def project(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Project points `(..., 3)` in body heights.

        Returns:
            Base coordinates `(..., 2)`, pixels a body height there `(...)`, how far behind the person it is `(...)`.
        """
        x = np.cos(self.yaw) * points[..., 0] + np.sin(self.yaw) * points[..., 2]
        z = np.cos(self.yaw) * points[..., 2] - np.sin(self.yaw) * points[..., 0]
        up = np.cos(self.elevation) * points[..., 1] - np.sin(self.elevation) * z
        behind = -np.cos(self.elevation) * z - np.sin(self.elevation) * points[..., 1]
        # A camera five body heights away; far travel would break a perspective that is meant for limbs.
        scale = self.scale / (1.0 + np.clip(behind, -1.0, 1.0) / 5.0)
        return np.stack([self.ground[0] + scale * x, self.ground[1] - scale * up], -1), scale, behind


def draw_view(rng: Rng, settings: SceneSettings, width: int, height: int) -> View:
    """Draw where the person stands and from where we look."""
    yaw = np.deg2rad(rng.uniform(*settings.yaw_degrees)) * (rng.choice([-1.0, 1.0]) if settings.both_sides else 1.0)
    scale = rng.uniform(*settings.figure_height) * height
    # Taller people stand lower, so that raised hands stay in the frame; but their feet stay in it too.
    ground_y = min(height, 0.5 * height + 0.5 * scale + rng.uniform(0.06, 0.14) * height)
    ground_x = width * (0.5 + rng.uniform(-settings.off_centre, settings.off_centre))
    return View(yaw, np.deg2rad(rng.uniform(*settings.elevation_degrees)), scale, (ground_x, ground_y))


def wander(rng: Rng, num_frames: int, shortest: float, longest: float, waves: int = 3) -> Floats:
    """A smooth random path `(T,)` of unit size: a few sines with periods in frames."""
    time = np.arange(num_frames)[:, None]
    period, phase = rng.uniform(shortest, longest, waves), rng.uniform(0, 2 * np.pi, waves)
    return np.asarray(np.sin(2 * np.pi * time / period + phase).sum(axis=1) * np.sqrt(2 / waves))


def smooth(values: Floats, width_frames: float) -> Floats:
    """A Gaussian mean over time `(T,)`, ends repeated."""
    reach = int(3 * width_frames)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width_frames) ** 2)
    return np.convolve(np.pad(values, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


@dataclass(frozen=True, slots=True)
class Camera:
    """The camera's path: `matrices` `(T, 2, 3)` map base coordinates to pixels, `zoom` `(T,)` scales lengths."""

    matrices: Floats
    zoom: Floats

    def place(self, points: Floats) -> Floats:
        """Pixels of base coordinates `(T, ..., 2)`."""
        matrix = self.matrices.reshape(len(self.matrices), *([1] * (points.ndim - 2)), 2, 3)
        return np.asarray((matrix[..., :2] @ points[..., None])[..., 0] + matrix[..., 2])


def draw_camera(rng: Rng, settings: SceneSettings, followed: Floats, width: int, height: int) -> Camera:
    """Draw a camera that wanders, zooms, rolls and shakes, and follows a person who goes away but stays in the frame.

    Args:
        rng: the generator.
        settings: the sizes.
        followed: `(T, 2)` how far the person went to the right and down, in base pixels.
        width: of the frame, pixels.
        height: of the frame, pixels.
    """
    n = len(followed)
    path = _followed_path(followed[:, 0], settings.camera_follow, _FARTHEST_OFF_CENTRE * width)
    amount = rng.uniform(0.2, 1.6, 4)  # some cameras stand nearly still
    pan_x = settings.camera_pan * width * amount[0] * wander(rng, n, 90, 300)
    pan_y = 0.4 * settings.camera_pan * width * amount[0] * wander(rng, n, 90, 300)
    shake = settings.camera_shake * width * amount[3]
    centre_x = width / 2 + pan_x + shake * wander(rng, n, 5, 20, 5) + smooth(path, 12.0)
    centre_y = height / 2 + pan_y + shake * wander(rng, n, 5, 20, 5) + smooth(followed[:, 1], 12.0)
    zoom = np.exp(settings.camera_zoom * amount[1] * wander(rng, n, 90, 300) / np.sqrt(2))
    roll = np.deg2rad(settings.camera_roll_degrees) * amount[2] * wander(rng, n, 90, 300) / np.sqrt(2)
    turn = zoom[:, None, None] * np.stack(
        [np.stack([np.cos(roll), -np.sin(roll)], -1), np.stack([np.sin(roll), np.cos(roll)], -1)], -2
    )
    shift = np.array([width / 2, height / 2]) - (turn @ np.stack([centre_x, centre_y], -1)[..., None])[..., 0]
    return Camera(np.concatenate([turn, shift[..., None]], axis=-1), zoom)


def _followed_path(way: Floats, follow: float, farthest: float) -> Floats:
    """Where a camera looks `(T,)` that goes a part of somebody's way, but lets nobody be farther than that from it."""
    behind = (1.0 - follow) * (way - way.mean())
    return np.asarray(way - farthest * np.tanh(behind / farthest))


def draw_light(rng: Rng, settings: SceneSettings, num_frames: int) -> Floats:
    """Draw the strength of the light over time as a factor for each colour `(T, 3)`."""
    strength = 1.0 + settings.light_change * rng.uniform(0.1, 1.0) * wander(rng, num_frames, 40, 250) / 2
    tint = 1.0 + rng.uniform(-0.07, 0.07, 3)
    return np.asarray(rng.uniform(0.85, 1.08) * strength[:, None] * tint)
