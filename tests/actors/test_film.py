import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.actors.film import compose, draw_actor, film_action
from sparsedense.actors.motions import ACTIONS
from sparsedense.actors.scene import SceneSettings, draw_camera, draw_view
from sparsedense.actors.skeleton import CHANNEL_INDEX

STILL = SceneSettings(
    camera_pan=0,
    camera_zoom=0,
    camera_roll_degrees=0,
    camera_shake=0,
    light_change=0,
    distractors=(0, 0),
    passer_by_probability=0,
    occluder_probability=0,
)


def _film(seed: int, action: str, scene: SceneSettings | None = None, size: tuple[int, int] = (96, 72)):  # type: ignore[no-untyped-def]  # noqa: ANN202
    actor = draw_actor(np.random.default_rng(seed))
    return film_action(np.random.SeedSequence(seed), actor, ACTIONS[action], scene or SceneSettings(), *size)


def test_frames_have_the_size_and_number_asked_for() -> None:
    frames = list(_film(1, "wave").frames())
    assert 100 <= len(frames) <= 200
    assert all(frame.shape == (72, 96, 3) and frame.dtype == np.uint8 for frame in frames)
    assert frames[0] is not frames[1]


def test_same_seed_gives_the_same_frames_and_another_seed_others() -> None:
    first, again, other = (np.stack(list(_film(seed, "kick").frames())[:20]) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_length_background_camera_and_light_do_not_depend_on_the_class(action: str) -> None:
    reference, film = _film(5, "wave"), _film(5, action)
    assert len(film.to_background) == len(reference.to_background)
    np.testing.assert_array_equal(film.background, reference.background)
    np.testing.assert_array_equal(film.light, reference.light)
    if not action.startswith("walk"):  # the camera follows those who go away
        np.testing.assert_allclose(film.to_background, reference.to_background, atol=1e-9)


def test_clothes_do_not_depend_on_the_class() -> None:
    colours = [_film(5, action).layers[-2]._colours[0] for action in ("wave", "wave", "push")]
    # Depth shades the limbs, so hues are compared: the ratio of the channels.
    hues = [np.array(c)[:, 0] / np.maximum(np.array(c).sum(axis=1), 1) for c in colours]
    np.testing.assert_allclose(hues[0], hues[1])
    assert np.median(np.abs(hues[0] - hues[2])) < 0.02


def test_a_still_scene_moves_only_where_the_person_is() -> None:
    frames = np.stack(list(_film(6, "jumping_jacks", STILL).frames())).astype(int)
    change = np.abs(np.diff(frames, axis=0)).max(axis=(0, 3))
    assert change.max() > 50
    # Arms and shadow reach far, but not to the upper corners.
    assert (change[:36, :6] == 0).all()
    assert (change[:36, -6:] == 0).all()


def test_the_camera_follows_who_goes_away() -> None:
    film = _film(7, "walk_forward", STILL)
    shift = film.to_background[:, 0, 2]
    assert np.ptp(shift) > 20  # background pixels
    assert np.ptp(_film(7, "wave", STILL).to_background[:, 0, 2]) < 1e-9


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_camera_maps_base_points_as_its_matrices_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    camera = draw_camera(rng, SceneSettings(), np.zeros((50, 2)), 160, 120)
    points = rng.uniform(0, 100, (50, 4, 2))
    placed = camera.place(points)
    homogeneous = np.concatenate([points, np.ones((50, 4, 1))], axis=-1)
    np.testing.assert_allclose(placed, np.einsum("tij,tpj->tpi", camera.matrices, homogeneous))
    length = np.linalg.norm(placed[:, 0] - placed[:, 1], axis=-1)
    np.testing.assert_allclose(length, camera.zoom * np.linalg.norm(points[:, 0] - points[:, 1], axis=-1))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_view_shows_the_person_in_the_frame_from_both_sides(seed: int) -> None:
    view = draw_view(np.random.default_rng(seed), SceneSettings(), 160, 120)
    feet, head = view.project(np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))[0]
    assert 0.45 * 120 < feet[1] - head[1] < 0.9 * 120
    assert 0 <= head[1] < feet[1] <= 120
    assert 0.3 * 160 < feet[0] < 0.7 * 160


@pytest.mark.parametrize(("both_sides", "expected"), [(False, {1.0}), (True, {-1.0, 1.0})])
def test_people_face_one_side_or_both(both_sides: bool, expected: set[float]) -> None:
    scene = SceneSettings(both_sides=both_sides)
    views = [draw_view(np.random.default_rng(seed), scene, 160, 120) for seed in range(20)]
    assert {float(np.sign(view.yaw)) for view in views} == expected


def test_in_the_spotlight_a_person_is_brighter_than_what_is_behind() -> None:
    for seed in range(6):
        film = _film(seed, "wave")
        assert np.median(np.array(film.layers[-2]._colours[0]).mean(axis=-1)) > film.background.mean() + 30


@settings(max_examples=30, deadline=None)
@given(follow=st.floats(0, 1), steps=st.lists(st.floats(-5, 5), min_size=2, max_size=300))
def test_nobody_who_walks_leaves_the_frame(follow: float, steps: list[float]) -> None:
    followed = np.zeros((len(steps) + 200, 2))
    followed[100:-100, 0] = np.cumsum(steps)
    followed[-100:, 0] = followed[-101, 0]
    scene = dataclasses.replace(STILL, camera_follow=follow)
    camera = draw_camera(np.random.default_rng(0), scene, followed, 160, 120)
    person = camera.place(np.stack([80 + followed[:, 0], np.full(len(followed), 60.0)], -1)[:, None])
    assert (np.abs(person[[0, -1], 0, 0] - 80) < 0.25 * 160 + 2).all()


def test_any_pose_track_can_be_filmed() -> None:
    poses = np.zeros((3, len(CHANNEL_INDEX)))
    film = compose(np.random.default_rng(0), draw_actor(np.random.default_rng(0)), poses, SceneSettings(), 64, 48)
    assert len(list(film.frames())) == 3
