import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.losses.consistency import (
    ConsistencyLoss,
    Trends,
    as_distribution,
    cosine_divergence,
    jensen_shannon_divergence,
    min_max,
    trends,
)
from sparsedense.models.encoder import Encoder, EncoderConfig
from tests.losses.slow_consistency import distribution, jensen_shannon, slow_consistency
from tests.losses.slow_consistency import trend as slow_trend

SEEDS = st.integers(0, 10_000)
KINDS = st.sampled_from(["jsd", "cosine"])

LAW = settings(deadline=None, max_examples=50)  # the first call of an operator may take a second


class Batch(NamedTuple):
    dense_map: torch.Tensor
    sparse_map: torch.Tensor
    dense_frame: torch.Tensor
    sparse_frames: torch.Tensor
    dense_position: torch.Tensor
    interval_positions: torch.Tensor

    def pick(self, rows: torch.Tensor) -> "Batch":
        return Batch(*(value[rows] for value in self))


def batch(seed: int = 0, *, videos: int = 5, intervals: int = 4, size: int = 8) -> Batch:
    """Positive maps; the first video's dense centre lies before, the second's behind all interval centres."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    lengths = 100 + 100 * rand(videos, 1)
    centres = (torch.arange(intervals) + 0.5) / intervals * lengths
    position = rand(videos) * lengths[:, 0]
    position[0] = 0.0
    position[1:2] = 250.0
    return Batch(
        rand(videos, 6, 3, 2, 2),
        rand(videos, 6, intervals, 2, 2),
        rand(videos, 3, size, size),
        rand(videos, intervals, 3, size, size),
        position,
        centres,
    )


def distributions(seed: int, rows: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    p, q = (torch.randn(2, rows, 5, generator=generator) * 4).softmax(dim=-1)
    return p, q


@pytest.mark.parametrize("kind", ["jsd", "cosine"])
@pytest.mark.parametrize("temperatures", [(0.05, 0.1), (0.02, 0.5), (None, None), (0.1, None)])
@pytest.mark.parametrize("intervals", [2, 4, 7])
@pytest.mark.parametrize("size", [8, 7])
def test_value_and_gradient_are_the_slow_references(
    kind: str, temperatures: tuple[float | None, float | None], intervals: int, size: int
) -> None:
    data = batch(intervals, intervals=intervals, size=size)
    fast = [value.clone().requires_grad_() for value in data[:2]]
    slow = [value.double().requires_grad_() for value in data[:2]]
    loss_module = ConsistencyLoss(kind, rgb_temperature=temperatures[0], latent_temperature=temperatures[1])
    loss = loss_module(*fast, *data[2:])
    expected = slow_consistency(
        kind,
        (slow[0], slow[1]),
        (data.dense_frame.double(), data.sparse_frames.double()),
        data.dense_position.double().tolist(),
        data.interval_positions.double().tolist(),
        temperatures,
    )
    assert loss.item() == pytest.approx(expected.item(), rel=2e-4, abs=1e-7)
    loss.backward()
    torch.autograd.backward(expected)
    for ours, reference in zip(fast, slow, strict=True):
        assert ours.grad is not None
        assert reference.grad is not None
        torch.testing.assert_close(ours.grad.double(), reference.grad, rtol=1e-3, atol=1e-6)


def test_divergences_that_the_method_states() -> None:
    rgb = torch.tensor([[0.97, 0.95, 0.92, 0.90]])
    valid = torch.ones(1, 4, dtype=torch.bool)
    for temperature, to_uniform, to_reversed in ((None, 0.0001, 0.0004), (0.05, 0.033, 0.126)):
        p = as_distribution(rgb, valid, temperature)
        assert jensen_shannon_divergence(p, torch.full_like(p, 0.25)).item() == pytest.approx(to_uniform, rel=0.5)
        assert jensen_shannon_divergence(p, p.flip(1)).item() == pytest.approx(to_reversed, rel=0.2)


@pytest.mark.parametrize("kind", ["jsd", "cosine"])
def test_gradient_reaches_the_stem_of_the_encoder_and_not_the_frames(kind: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(depth=10, width=0.125))
    clips = torch.rand(6, 3, 16, 32, 32)  # three dense and three sparse clips in one batch
    data = batch(videos=3)
    frames = [value.clone().requires_grad_() for value in (data.dense_frame, data.sparse_frames)]
    dense_map, sparse_map = encoder(clips).chunk(2)
    dense_map.retain_grad()
    sparse_map.retain_grad()
    loss: torch.Tensor = ConsistencyLoss(kind)(dense_map, sparse_map, *frames, *data[4:])
    torch.autograd.backward(loss)
    stem = dict(encoder.named_parameters())["backbone.stem.0.weight"]
    for reached in (dense_map, sparse_map, stem):
        assert reached.grad is not None
        assert reached.grad.abs().sum() > 0
    assert all(frame.grad is None for frame in frames)


@LAW
@given(SEEDS, KINDS)
def test_order_of_the_videos_does_not_matter(seed: int, kind: str) -> None:
    data = batch(seed)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    loss = ConsistencyLoss(kind)
    torch.testing.assert_close(loss(*data.pick(order)), loss(*data), rtol=1e-4, atol=1e-6)


@LAW
@given(SEEDS, KINDS)
def test_loss_is_the_mean_over_the_videos(seed: int, kind: str) -> None:
    data = batch(seed)
    loss = ConsistencyLoss(kind)
    alone = torch.stack([loss(*data.pick(torch.tensor([video]))) for video in range(5)])
    torch.testing.assert_close(loss(*data), alone.mean(), rtol=1e-4, atol=1e-6)


@LAW
@given(SEEDS, KINDS, st.floats(0.01, 100.0), st.floats(0.01, 100.0), st.floats(0.1, 1.0))
def test_scale_of_maps_and_brightness_of_frames_do_not_matter(
    seed: int, kind: str, dense: float, sparse: float, brightness: float
) -> None:
    data = batch(seed)
    scaled = (data.dense_map * dense, data.sparse_map * sparse, data.dense_frame * brightness, data.sparse_frames)
    loss = ConsistencyLoss(kind)
    torch.testing.assert_close(loss(*scaled, *data[4:]), loss(*data), rtol=1e-3, atol=1e-5)


@LAW
@given(SEEDS)
def test_jsd_is_zero_where_both_trends_are_one(seed: int) -> None:
    data = batch(seed)
    frames = torch.cat([data.dense_frame[:, None], data.sparse_frames], dim=1)
    # Maps that hold the half-sized frames themselves, (B, C, K, H, W): their trends are the same.
    maps = frames.reshape(5, 5, 3, 4, 2, 4, 2).mean(dim=(4, 6)).transpose(1, 2)
    loss = ConsistencyLoss("jsd", rgb_temperature=0.1, latent_temperature=0.1)
    assert loss(maps[:, :, :1], maps[:, :, 1:], *data[2:]).item() == pytest.approx(0.0, abs=1e-6)
    apart = loss(maps[:, :, :1], maps[:, :, 1:].flip(2), *data[2:])
    assert apart.item() > 1e-6


@LAW
@given(SEEDS)
def test_jensen_shannon_is_symmetric_bounded_and_zero_where_equal(seed: int) -> None:
    p, q = distributions(seed)
    forth, back = jensen_shannon_divergence(p, q), jensen_shannon_divergence(q, p)
    torch.testing.assert_close(forth, back)
    assert (forth > 0).all()
    assert (forth <= math.log(2) + 1e-6).all()
    torch.testing.assert_close(jensen_shannon_divergence(p, p), torch.zeros(4))


def test_jensen_shannon_of_disjoint_rows_is_ln_2_with_finite_gradient() -> None:
    p = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    divergence = jensen_shannon_divergence(p, torch.tensor([[0.0, 0.5, 0.5]]))
    assert divergence.item() == pytest.approx(math.log(2))
    torch.autograd.backward(divergence.sum())
    assert p.grad is not None
    assert p.grad.isfinite().all()


@LAW
@given(SEEDS, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_jensen_shannon_grows_on_the_way_away(seed: int, one: float, other: float) -> None:
    p, q = distributions(seed)
    near, far = (jensen_shannon_divergence(p, (1 - way) * p + way * q) for way in sorted((one, other)))
    assert (near <= far + 1e-6).all()


@LAW
@given(SEEDS, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_cosine_form_grows_on_the_way_from_the_target_to_its_reverse(seed: int, one: float, other: float) -> None:
    rgb = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed))
    valid = torch.ones_like(rgb, dtype=torch.bool)
    target = min_max(rgb, valid)
    ways = [(1 - way) * target + way * (1 - target) for way in sorted((one, other))]
    near, far = (cosine_divergence(Trends(rgb, latent, valid)) for latent in ways)
    assert (near <= far + 1e-5).all()
    assert (cosine_divergence(Trends(rgb, target, valid)) < 1e-4).all()


@LAW
@given(SEEDS, st.floats(0.01, 1.0))
def test_softmax_is_sharper_at_a_lower_temperature(seed: int, temperature: float) -> None:
    similarities = torch.rand(3, 5, generator=torch.Generator().manual_seed(seed))
    valid = torch.tensor([[True] * 5, [True] * 4 + [False], [True] * 5])
    warm, cold = (as_distribution(similarities, valid, value) for value in (temperature, temperature / 2))
    plain = as_distribution(similarities, valid, None)
    for probabilities in (warm, cold, plain):
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))
        assert probabilities[1, 4] == 0.0
    assert (cold.amax(dim=1) >= warm.amax(dim=1) - 1e-6).all()
    torch.testing.assert_close(plain[0], similarities[0] / similarities[0].sum(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["jsd", "cosine"])
@pytest.mark.parametrize("temperature", [0.01, None])
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_black_still_and_dead_input_gives_finite_numbers(kind: str, temperature: float | None, value: float) -> None:
    data = batch()
    loss_module = ConsistencyLoss(kind, rgb_temperature=temperature, latent_temperature=temperature)
    constant = [torch.full_like(part, value) for part in data[:4]]
    for maps, frames in ((constant[:2], data[2:4]), (data[:2], constant[2:]), (constant[:2], constant[2:])):
        leaves = [part.clone().requires_grad_() for part in maps]
        loss = loss_module(*leaves, *frames, *data[4:])
        loss.backward()
        assert loss.isfinite()
        for leaf in leaves:
            assert leaf.grad is not None
            assert leaf.grad.isfinite().all()
            assert leaf.grad.abs().max() < 100


def test_the_extra_entry_is_there_where_the_dense_centre_lies_between() -> None:
    data = batch(videos=6)
    centres = torch.tensor([10.0, 20.0, 30.0, 40.0]).expand(6, 4)
    position = torch.tensor([9.0, 10.0, 10.5, 35.0, 40.0, 41.0])
    both = trends(*data[:4], position, centres)
    assert both.valid_BE[:, :4].all()
    assert both.valid_BE[:, 4].tolist() == [False, False, True, True, False, False]
    middle = (data.sparse_map[3, :, 2] + data.sparse_map[3, :, 3]) / 2
    expected = torch.cosine_similarity(data.dense_map[3].mean(dim=1).flatten(), middle.flatten(), dim=0)
    torch.testing.assert_close(both.latent_BE[3, 4], expected)


def test_the_extra_entry_moves_continuously_with_the_dense_centre() -> None:
    data = batch(videos=2, seed=3).pick(torch.zeros(400, dtype=torch.long))
    centres = torch.tensor([10.0, 20.0, 30.0, 40.0]).expand(400, 4)
    both = trends(*data[:4], torch.linspace(10.01, 39.99, 400), centres)
    for trend in (both.rgb_BE, both.latent_BE):
        assert trend[:, 4].diff().abs().max() < 0.02
        torch.testing.assert_close(trend[0, 4], trend[0, 0], atol=1e-3, rtol=0.0)
        torch.testing.assert_close(trend[-1, 4], trend[-1, 3], atol=1e-3, rtol=0.0)


@LAW
@given(SEEDS)
def test_memory_format_does_not_matter(seed: int) -> None:
    data = batch(seed)
    channels_last = [value.to(memory_format=torch.channels_last_3d) for value in data[:2]]
    torch.testing.assert_close(ConsistencyLoss()(*channels_last, *data[2:]), ConsistencyLoss()(*data))


def test_one_interval_has_nothing_to_interpolate() -> None:
    both = trends(*batch(intervals=1))
    assert both.valid_BE.tolist() == [[True, False]] * 5
    assert both.latent_BE.isfinite().all()


def test_autocast_does_not_lower_the_precision() -> None:
    data = batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = ConsistencyLoss()(*data)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, ConsistencyLoss()(*data))
    rounded = [value.bfloat16() for value in data[:2]]
    assert ConsistencyLoss()(*rounded, *data[2:]).dtype == torch.float32


@pytest.mark.parametrize(
    ("part", "shape", "message"),
    [
        ("dense_map", (5, 7, 3, 2, 2), r"maps must have shape \(B, C, K, H, W\) and agree but in K: \(5, 7, 3, 2, 2\)"),
        ("sparse_map", (4, 6, 4, 2, 2), r"agree but in K: \(5, 6, 3, 2, 2\), \(4, 6, 4, 2, 2\)"),
        ("sparse_frames", (5, 3, 3, 8, 8), r"5 videos and 4 intervals need frames of shapes.*\(5, 3, 3, 8, 8\)"),
        ("dense_position", (4,), r"dense_position must have shape \(B,\), got \(4,\)"),
        ("interval_positions", (5, 3), r"interval_positions must have shape \(B, K\), got \(5, 3\)"),
    ],
)
def test_wrong_shapes_are_named(part: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConsistencyLoss()(*batch()._replace(**{part: torch.zeros(shape)}))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"kind \('kl'\) must be one of jsd, cosine"):
        ConsistencyLoss("kl")
    with pytest.raises(ValueError, match=r"latent_temperature \(0.0\) must be above 0, or None"):
        ConsistencyLoss(latent_temperature=0.0)


def test_min_max_stretches_the_valid_entries_and_takes_rounding_for_flat() -> None:
    trend = torch.tensor([[0.9, 0.8, 0.7, 0.0], [0.5, 0.5 + 1e-7, 0.5, 9.0]])
    valid = torch.tensor([[True, True, True, False]] * 2)
    expected = torch.tensor([[1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(min_max(trend, valid), expected)


def test_cosine_form_has_a_finite_gradient_at_its_minimum() -> None:
    valid = torch.ones(1, 3, dtype=torch.bool)
    target = torch.tensor([[0.0, 0.5, 1.0]])
    latent = target.clone().requires_grad_()
    torch.autograd.backward(cosine_divergence(Trends(target, latent, valid)).sum())
    assert latent.grad is not None
    assert latent.grad.isfinite().all()


def teacher_maps(data: Batch) -> dict[str, torch.Tensor]:
    """Maps of another network on the same clips: other channels, other size."""
    generator = torch.Generator().manual_seed(1)
    videos, intervals = data.interval_positions.shape
    return {
        "teacher_dense_map_BCKHW": torch.rand(videos, 4, 2, 3, 3, generator=generator),
        "teacher_sparse_map_BCKHW": torch.rand(videos, 4, intervals, 3, 3, generator=generator),
    }


@pytest.mark.parametrize("intervals", [2, 4])
def test_loss_with_a_teacher_is_the_slow_reference(intervals: int) -> None:
    data = batch(2, intervals=intervals)
    maps = teacher_maps(data)
    expected = []
    for video, centres in enumerate(data.interval_positions.double().tolist()):
        position = data.dense_position[video].double().item()
        both = []
        for temperature, (dense_map, sparse_map) in ((0.05, tuple(maps.values())), (0.1, data[:2])):
            slices = [sparse_map[video, :, k].double().flatten() for k in range(intervals)]
            dense = dense_map[video].double().mean(dim=1).flatten()
            both.append(distribution(slow_trend(dense, slices, position, centres), temperature))
        expected.append(jensen_shannon(both[0], both[1]))
    loss = ConsistencyLoss()(*data[:2], None, None, *data[4:], **maps)
    assert loss.item() == pytest.approx(torch.stack(expected).mean().item(), rel=2e-4, abs=1e-7)


@pytest.mark.parametrize("kind", ["jsd", "cosine"])
def test_gradient_reaches_the_student_and_not_the_teacher(kind: str) -> None:
    data = batch()
    maps = {name: value.requires_grad_() for name, value in teacher_maps(data).items()}
    student = [value.clone().requires_grad_() for value in data[:2]]
    torch.autograd.backward(ConsistencyLoss(kind)(*student, None, None, *data[4:], **maps))
    for leaf in student:
        assert leaf.grad is not None
        assert leaf.grad.abs().sum() > 0
    assert all(value.grad is None for value in maps.values())


@LAW
@given(SEEDS)
def test_a_teachers_trend_takes_the_place_of_the_frames(seed: int) -> None:
    data = batch(seed)
    maps = teacher_maps(data)
    with_frames, without = trends(*data, **maps), trends(*data[:2], None, None, *data[4:], **maps)
    own = trends(maps["teacher_dense_map_BCKHW"], maps["teacher_sparse_map_BCKHW"], *data[2:])
    assert torch.equal(with_frames.rgb_BE, without.rgb_BE)
    assert torch.equal(without.rgb_BE, own.latent_BE)
    assert torch.equal(without.latent_BE, trends(*data).latent_BE)
    assert torch.equal(without.valid_BE, own.valid_BE)


def test_a_student_that_is_its_teacher_costs_nothing() -> None:
    data = batch()
    loss = ConsistencyLoss(rgb_temperature=0.1, latent_temperature=0.1)
    maps = {"teacher_dense_map_BCKHW": data.dense_map, "teacher_sparse_map_BCKHW": data.sparse_map}
    assert loss(*data[:2], None, None, *data[4:], **maps).item() == pytest.approx(0.0, abs=1e-7)


def test_an_incomplete_target_is_named() -> None:
    data = batch()
    maps = teacher_maps(data)
    with pytest.raises(ValueError, match="needs the frames of both clips, or a teacher's maps of both"):
        ConsistencyLoss()(*data[:2], None, data.sparse_frames, *data[4:])
    with pytest.raises(ValueError, match="needs its maps of both the dense and the sparse clips; one is None"):
        ConsistencyLoss()(*data, teacher_dense_map_BCKHW=maps["teacher_dense_map_BCKHW"])
    fewer = {name: value[:, :, :2] for name, value in maps.items()}
    with pytest.raises(ValueError, match=r"must have 5 videos and 4 intervals like the other, got \(5, 4, 2, 3, 3\)"):
        ConsistencyLoss()(*data, **fewer)
