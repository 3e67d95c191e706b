"""From a person, an action and a scene to frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from sparsedense.actors.background import paint_background
from sparsedense.actors.distractors import distractor_layers
from sparsedense.actors.figure import Look, draw_head, draw_look, person_layer, shadow_layer
from sparsedense.actors.motions import ACTIONS, Action
from sparsedense.actors.scene import Camera, SceneSettings, View, draw_camera, draw_light, draw_view
from sparsedense.actors.shapes import Brush, Colour, Image
from sparsedense.actors.skeleton import CHANNEL_INDEX, Body, Floats, draw_body, joint_positions

Rng = np.random.Generator

# Light of what lies behind a person in the spotlight.
_SHADE = 0.4
# The background is larger than the frame; beyond it, it is mirrored, so a camera may follow somebody for ever.
_BACKGROUND_SIZE = 1.6


@dataclass(frozen=True, slots=True)
class Actor:
    """A person who appears in several videos: the body and the head stay, the clothes change."""

    body: Body
    head: tuple[Colour, Colour, bool]


def draw_actor(rng: Rng) -> Actor:
    """Draw a person."""
    return Actor(draw_body(rng), draw_head(rng))


@dataclass(frozen=True, slots=True)
class Film:
    """All that is needed to draw the frames of one video.

    Args:
        background: image, larger than the frame.
        to_background: `(T, 2, 3)` pixels of each frame to pixels of the background.
        shadow: the person's shadow.
        layers: moving shapes, back to front.
        light: `(T, 256, 3)` what the light makes of each colour value.
        width: of the frame, pixels.
        height: of the frame, pixels.
    """

    background: Image
    to_background: Floats
    shadow: Brush
    layers: list[Brush]
    light: Image
    width: int
    height: int

    def frames(self) -> Iterator[Image]:
        """The frames `(H, W, 3)` RGB uint8, one after the other; each is a new array."""
        size = (self.width, self.height)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shade = np.empty((self.height, self.width, 3), np.uint8)
        for index, matrix in enumerate(self.to_background):
            frame = np.asarray(
                cv2.warpAffine(self.background, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.uint8
            )
            shade[:] = 255
            self.shadow.draw(shade, index)
            cv2.multiply(frame, cv2.blur(shade, (3, 3)), frame, 1 / 255)
            for layer in self.layers:
                layer.draw(frame, index)
            yield cv2.LUT(frame, self.light[index][None]).astype(np.uint8, copy=False)


def _to_background(camera: Camera, offset: tuple[float, float]) -> Floats:
    """Invert the camera's path and move the origin to the background's corner."""
    square = np.zeros((len(camera.zoom), 3, 3))
    square[:, :2] = camera.matrices
    square[:, 2, 2] = 1.0
    inverse = np.linalg.inv(square)[:, :2]
    inverse[:, :, 2] += offset
    return np.asarray(inverse)


def _passer_by(
    rng: Rng, view: View, num_frames: int, background: Floats, *, lit: bool
) -> tuple[Body, Look, Floats, View]:
    """Another person who walks through behind, smaller and higher up."""
    actor = draw_actor(rng)
    walk = ACTIONS[str(rng.choice(["walk_forward", "walk_backward"]))]
    joints = joint_positions(actor.body, walk.poses(rng, num_frames))
    joints[..., 2] += rng.uniform(-2.5, 0.5)
    scale = view.scale * rng.uniform(0.45, 0.7)
    ground = (view.ground[0] + rng.normal(0, 0.3) * view.scale, view.ground[1] - rng.uniform(0.12, 0.2) * view.scale)
    side = float(rng.choice([-1.0, 1.0])) * rng.uniform(1.2, 1.6)
    look = draw_look(rng, actor.head, background, lit=lit)
    return actor.body, look, joints, View(side, view.elevation, scale, ground)


def compose(rng: Rng, actor: Actor, poses: Floats, settings: SceneSettings, width: int, height: int) -> Film:
    """Draw a scene around a person's performance.

    Args:
        rng: for the scene; the performance changes nothing of what is drawn from it (the camera follows the person).
        actor: who acts.
        poses: pose track `(T, C)`.
        settings: sizes of all nuisances.
        width: of the frame, pixels.
        height: of the frame, pixels.
    """
    view_rng, camera_rng, ground_rng, look_rng, thing_rng, light_rng, passer_rng = rng.spawn(7)
    view = draw_view(view_rng, settings, width, height)
    joints = joint_positions(actor.body, poses)
    travelled = np.zeros((len(poses), 1, 3))
    travelled[:, 0, 2] = poses[:, CHANNEL_INDEX["travel"]]
    followed = view.project(travelled)[0][:, 0] - np.array(view.ground)
    camera = draw_camera(camera_rng, settings, followed, width, height)

    big_width, big_height = round(_BACKGROUND_SIZE * width), round(_BACKGROUND_SIZE * height)
    offset = ((big_width - width) / 2, (big_height - height) / 2)
    horizon = view.ground[1] - (0.12 + 0.9 * np.sin(view.elevation)) * view.scale * 0.8 + offset[1]
    background = paint_background(ground_rng, settings, big_width, big_height, round(horizon))
    if settings.spotlight:
        background = cv2.convertScaleAbs(background, alpha=_SHADE).astype(np.uint8, copy=False)
    mean = background.mean(axis=(0, 1))

    slant = (float(light_rng.uniform(-0.5, 0.5)), float(light_rng.uniform(-0.6, 0.3)))
    towards_light = (-np.sign(slant[0]) * 0.7, -0.7)
    shadow = shadow_layer(actor.body, joints, view, camera, slant, float(light_rng.uniform(0.2, 0.5)))
    look = draw_look(look_rng, actor.head, mean, lit=settings.spotlight)
    person = person_layer(actor.body, look, joints, view, camera, towards_light)
    behind, before = distractor_layers(thing_rng, settings, camera, mean, width, height)
    layers = [behind]
    if passer_rng.random() < settings.passer_by_probability:
        passer_by = _passer_by(passer_rng, view, len(poses), mean, lit=settings.spotlight)
        layers.append(person_layer(*passer_by, camera, towards_light))
    layers += [person, before]
    light = draw_light(light_rng, settings, len(poses))
    table = np.clip(np.arange(256)[None, :, None] * light[:, None, :], 0, 255).astype(np.uint8)
    brushes = [Brush(layer) for layer in layers]
    return Film(background, _to_background(camera, offset), Brush(shadow), brushes, table, width, height)


def film_action(
    seed: np.random.SeedSequence, actor: Actor, action: Action, settings: SceneSettings, width: int, height: int
) -> Film:
    """Draw one video of an action: 100 to 200 frames.

    The same seed gives the same length, scene and clothes whatever the action is.
    """
    length_seed, motion_seed, scene_seed = seed.spawn(3)
    num_frames = int(np.random.default_rng(length_seed).integers(100, 201))
    poses = action.poses(np.random.default_rng(motion_seed), num_frames)
    return compose(np.random.default_rng(scene_seed), actor, poses, settings, width, height)
