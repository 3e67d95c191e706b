"""What a person looks like, and the person's joints as shaded limbs."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from sparsedense.actors.scene import Camera, View
from sparsedense.actors.shapes import CORNERS, Colour, Layer, capsules, fixed_order
from sparsedense.actors.skeleton import JOINT_INDEX, SIDES, Body, Floats

Rng = np.random.Generator

_SKINS: tuple[Colour, ...] = (
    (244, 208, 177),
    (224, 172, 105),
    (198, 134, 66),
    (141, 85, 36),
    (92, 58, 38),
    (255, 219, 190),
)
_HAIRS: tuple[Colour, ...] = ((28, 22, 20), (70, 45, 28), (120, 80, 40), (200, 165, 95), (150, 60, 30), (165, 165, 165))
# Saturation and value of clothes, and the least mean of a skin's colour, in the light.
_CLOTHES = ((0.1, 0.9), (0.15, 0.98))
_LIT_CLOTHES = ((0.1, 0.5), (0.75, 0.98))
_LIT_SKIN = 150.0
# Clothes keep this distance in RGB from the mean of the background, so that a viewer can see the limbs.
_LEAST_CONTRAST = 75.0

# (name, joints, radii in body heights, garment)
_LIMBS: tuple[tuple[str, str, str, float, float, str], ...] = tuple(
    (f"{s}_{name}", f"{s}_{a}", f"{s}_{b}", ra, rb, garment)
    for s in SIDES
    for name, a, b, ra, rb, garment in (
        ("upper_arm", "shoulder", "elbow", 0.042, 0.033, "shirt"),
        ("forearm", "elbow", "wrist", 0.033, 0.025, "sleeve"),
        ("hand", "wrist", "hand", 0.028, 0.024, "skin"),
        ("thigh", "hip", "knee", 0.062, 0.045, "trousers"),
        ("shin", "knee", "ankle", 0.045, 0.031, "trouser_leg"),
        ("foot", "ankle", "toe", 0.034, 0.024, "shoes"),
    )
)
_TORSO = (
    ("left_shoulder", 0.046),
    ("right_shoulder", 0.046),
    ("left_hip", 0.062),
    ("right_hip", 0.062),
    ("waist", 0.075),
)


@dataclass(frozen=True, slots=True)
class Look:
    """Colours (RGB) of a person's skin, hair and clothes."""

    skin: Colour
    hair: Colour
    shirt: Colour
    sleeve: Colour
    trousers: Colour
    trouser_leg: Colour
    shoes: Colour
    long_hair: bool


def draw_head(rng: Rng) -> tuple[Colour, Colour, bool]:
    """Draw what stays with a person: skin, hair and whether the hair is long."""
    return _SKINS[rng.integers(len(_SKINS))], _HAIRS[rng.integers(len(_HAIRS))], bool(rng.random() < 0.4)


def draw_cloth(rng: Rng, background: Floats, *, lit: bool = False) -> Colour:
    """Draw a colour that stands out from the mean colour of the background; a bright one for somebody in the light."""
    saturation, value = _LIT_CLOTHES if lit else _CLOTHES
    colour: Colour = (0.0, 0.0, 0.0)
    for _ in range(20):
        red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
        colour = (255 * red, 255 * green, 255 * blue)
        if np.linalg.norm(np.array(colour) - background) > _LEAST_CONTRAST:
            break
    return colour


def _lit_skin(skin: Colour) -> Colour:
    factor = max(1.0, 3 * _LIT_SKIN / sum(skin))
    red, green, blue = (min(255.0, factor * channel) for channel in skin)
    return (red, green, blue)


def draw_look(rng: Rng, head: tuple[Colour, Colour, bool], background: Floats, *, lit: bool) -> Look:
    """Dress a person for one video: long or short sleeves and trousers, one piece now and then."""
    skin, hair, long_hair = head
    if lit:
        skin = _lit_skin(skin)
    shirt, trousers = draw_cloth(rng, background, lit=lit), draw_cloth(rng, background, lit=lit)
    if rng.random() < 0.15:
        trousers = shirt
    return Look(
        skin=skin,
        hair=hair,
        shirt=shirt,
        sleeve=shirt if rng.random() < 0.5 else skin,
        trousers=trousers,
        trouser_leg=trousers if rng.random() < 0.7 else skin,
        shoes=draw_cloth(rng, background, lit=lit),
        long_hair=long_hair,
    )


def _limb_parts(body: Body, look: Look) -> list[tuple[str, str, float, float, Colour]]:
    parts = [(a, b, ra * body.girth, rb * body.girth, getattr(look, garment)) for _, a, b, ra, rb, garment in _LIMBS]
    hair_end = "neck" if look.long_hair else "crown"
    return [
        *parts,
        ("neck", "head", 0.032, 0.032, look.skin),
        ("crown", hair_end, body.head * 1.02, body.head * (0.6 if look.long_hair else 1.02), look.hair),
        ("head", "head", body.head, body.head, look.skin),
        ("nose", "nose", 0.018, 0.018, look.skin),
    ]


def _shade(colours: Floats, behind: Floats) -> Floats:
    """Darken what is farther away, so that crossing limbs tell apart."""
    return colours * (0.92 - 0.6 * np.clip(behind, -0.35, 0.35))[..., None]


def person_layer(
    body: Body, look: Look, joints: Floats, view: View, camera: Camera, light: tuple[float, float]
) -> Layer:
    """The person as shapes: every limb a dark capsule with a lighter core shifted towards the light.

    Args:
        body: proportions.
        look: colours.
        joints: `(T, J, 3)`.
        view: from where we look.
        camera: its path.
        light: direction of the light in the frame, unit length.
    """
    base, scale, behind = view.project(joints)
    pixels, scale = camera.place(base), scale * camera.zoom[:, None]
    parts = _limb_parts(body, look)
    a = [JOINT_INDEX[p[0]] for p in parts]
    b = [JOINT_INDEX[p[1]] for p in parts]
    radius_a, radius_b = scale[:, a] * [p[2] for p in parts], scale[:, b] * [p[3] for p in parts]
    outline = capsules(pixels[:, a], pixels[:, b], radius_a, radius_b)
    towards = np.array(light) * 0.30 * radius_a[..., None]
    towards_b = np.array(light) * 0.30 * radius_b[..., None]
    core = capsules(pixels[:, a] + towards, pixels[:, b] + towards_b, 0.62 * radius_a, 0.62 * radius_b)
    torso = _torso_outline(body, pixels, scale)
    middle = torso.mean(axis=1, keepdims=True)
    torso_core = middle + 0.66 * (torso - middle) + np.array(light) * 0.02 * scale[:, :1, None]

    depth = (behind[:, a] + behind[:, b]) / 2
    torso_depth = behind[:, [JOINT_INDEX[name] for name, _ in _TORSO]].mean(axis=1)[:, None] + 0.015
    depth = np.concatenate([depth, torso_depth], axis=1)
    colour = _shade(np.broadcast_to([*(p[4] for p in parts), look.shirt], (*depth.shape, 3)), depth - torso_depth)
    rank = np.argsort(-depth, axis=1, kind="stable")
    corners = np.concatenate([outline, torso[:, None], core, torso_core[:, None]], axis=1)
    order = np.stack([rank, rank + depth.shape[1]], axis=-1).reshape(len(joints), -1)
    return Layer(corners, np.concatenate([0.66 * colour, 1.06 * colour], axis=1), order)


def _torso_outline(body: Body, pixels: Floats, scale: Floats) -> Floats:
    """Hull of shoulders, waist and hips `(T, V, 2)`: the farthest point of these discs in each of V directions."""
    rows = [JOINT_INDEX[name] for name, _ in _TORSO]
    radii = scale[:, rows] * np.array([r * body.girth for _, r in _TORSO])
    angle = np.arange(CORNERS) * (2 * np.pi / CORNERS)
    direction = np.stack([np.cos(angle), np.sin(angle)], -1)
    farthest = (pixels[:, rows] @ direction.T + radii[..., None]).argmax(axis=1)
    centre = np.take_along_axis(pixels[:, rows], farthest[..., None], axis=1)
    return np.asarray(centre + np.take_along_axis(radii, farthest, axis=1)[..., None] * direction)


def shadow_layer(
    body: Body, joints: Floats, view: View, camera: Camera, slant: tuple[float, float], strength: float
) -> Layer:
    """The person's shadow on the floor as grey shapes on white, to be multiplied with the frame.

    Args:
        body: proportions.
        joints: `(T, J, 3)`.
        view: from where we look.
        camera: its path.
        slant: how far the shadow of a point one body height up falls, along x and z in body heights.
        strength: 0 no shadow, 1 black.
    """
    floor = joints.copy()
    floor[..., 0] += slant[0] * joints[..., 1]
    floor[..., 2] += slant[1] * joints[..., 1]
    floor[..., 1] = 0.0
    base, scale, _ = view.project(floor)
    pixels, scale = camera.place(base), scale * camera.zoom[:, None]
    parts = [(p[1], p[2], p[3], p[4]) for p in _LIMBS if not p[0].endswith(("hand", "foot"))]
    parts += [("pelvis", "neck", 0.10, 0.10), ("head", "head", 0.06, 0.06)]
    a, b = [JOINT_INDEX[p[0]] for p in parts], [JOINT_INDEX[p[1]] for p in parts]
    corners = capsules(
        pixels[:, a], pixels[:, b], scale[:, a] * [p[2] for p in parts], scale[:, b] * [p[3] for p in parts]
    )
    centre = corners.mean(axis=2, keepdims=True)
    # Thickness shrinks with the slope under which the floor is seen.
    corners[..., 1:] = centre[..., 1:] + (corners[..., 1:] - centre[..., 1:]) * 0.75
    value = np.full((len(joints), len(parts), 3), 255.0 * (1.0 - strength))
    return Layer(corners, value, fixed_order(len(joints), len(parts)))
