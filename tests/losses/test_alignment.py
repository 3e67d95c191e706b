import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.losses.alignment import AlignmentLoss, LocalContrastLoss, interval_weights
from tests.losses import slow_contrast

SEEDS = st.integers(0, 10_000)
SIZES = [(1, 1, 4), (3, 1, 4), (2, 3, 4), (3, 4, 4), (2, 2, 1), (2, 3, 2)]  # videos, dense clips, intervals

LAW = settings(deadline=None, max_examples=50)  # the first call of an operator may take a second


class Batch(NamedTuple):
    dense: torch.Tensor
    slices: torch.Tensor
    dense_positions: torch.Tensor
    interval_positions: torch.Tensor

    def pick(self, videos: torch.Tensor) -> "Batch":
        return Batch(*(value[videos] for value in self))


def batch(seed: int = 0, *, videos: int = 3, dense: int = 2, intervals: int = 4, length: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    frames = 100 + 100 * torch.rand(videos, 1, generator=generator)
    return Batch(
        torch.randn(videos, dense, length, generator=generator),
        torch.randn(videos, intervals, length, generator=generator),
        torch.rand(videos, dense, generator=generator) * frames,
        (torch.arange(intervals) + 0.5) / intervals * frames,
    )


def in_order(*, videos: int = 3, intervals: int = 4) -> Batch:
    """Clips at the interval centres, every embedding a direction of its own, that of its slice."""
    embeddings = torch.eye(videos * intervals).view(videos, intervals, -1)
    centres = (torch.arange(intervals) * 10.0).expand(videos, intervals)
    return Batch(embeddings, embeddings, centres, centres)


@LAW
@given(
    st.lists(st.floats(-50, 250), min_size=1, max_size=5),
    st.lists(st.integers(0, 200), min_size=1, max_size=6, unique=True).map(sorted),
)
def test_weights_are_linear_between_the_interval_centres(positions: list[float], centres: list[int]) -> None:
    weights = interval_weights(torch.tensor([positions]), torch.tensor([centres]))
    expected = [slow_contrast.interval_weights(position, centres) for position in positions]
    torch.testing.assert_close(weights, torch.tensor([expected]), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(1, len(positions)))


def test_each_video_has_its_own_intervals() -> None:
    weights = interval_weights(torch.tensor([[10.0], [10.0]]), torch.tensor([[0.0, 10.0, 20.0], [10.0, 30.0, 50.0]]))
    assert weights.tolist() == [[[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("across_videos", [True, False])
def test_value_and_gradient_are_the_slow_references(
    sizes: tuple[int, int, int], temperature: float, across_videos: bool
) -> None:
    videos, dense, intervals = sizes
    data = batch(sum(sizes), videos=videos, dense=dense, intervals=intervals)
    fast = [value.clone().requires_grad_() for value in data[:2]]
    slow = [value.double().requires_grad_() for value in data[:2]]
    loss: torch.Tensor = AlignmentLoss(temperature=temperature, across_videos=across_videos)(*fast, *data[2:])
    positions, centres = (value.double().tolist() for value in data[2:])
    weights = [
        [slow_contrast.interval_weights(position, centres[video]) for position in positions[video]]
        for video in range(videos)
    ]
    expected = slow_contrast.alignment(slow[0], slow[1], weights, temperature, across_videos=across_videos)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
    torch.autograd.backward(loss)
    torch.autograd.backward(expected)
    for ours, reference in zip(fast, slow, strict=True):
        assert ours.grad is not None
        assert reference.grad is not None
        torch.testing.assert_close(ours.grad.double(), reference.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("across_videos", [True, False])
@pytest.mark.parametrize("sizes", SIZES)
def test_embeddings_that_are_alike_cost_the_guess(sizes: tuple[int, int, int], across_videos: bool) -> None:
    videos, dense, intervals = sizes
    data = batch(videos=videos, dense=dense, intervals=intervals)
    loss = AlignmentLoss(across_videos=across_videos)
    alike = data._replace(dense=torch.ones_like(data.dense), slices=torch.ones_like(data.slices))
    assert loss(*alike).item() == pytest.approx(loss.guess(*sizes), abs=1e-5)


def test_guess_counts_the_candidates() -> None:
    assert AlignmentLoss().guess(8, 1, 4) == pytest.approx((math.log(32) + math.log(8)) / 2)
    assert AlignmentLoss(across_videos=False).guess(8, 4, 4) == pytest.approx(math.log(4))
    assert LocalContrastLoss.guess(4) == pytest.approx(math.log(7))


@LAW
@given(SEEDS, st.booleans(), st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_length_of_embeddings_and_unit_of_positions_do_not_matter(
    seed: int, across_videos: bool, scale: float, unit: float
) -> None:
    data = batch(seed)
    scaled = Batch(data.dense * scale, data.slices / scale, data.dense_positions * unit, data.interval_positions * unit)
    loss = AlignmentLoss(across_videos=across_videos)
    torch.testing.assert_close(loss(*scaled), loss(*data), rtol=1e-3, atol=1e-4)


@LAW
@given(SEEDS, st.booleans())
def test_order_of_videos_and_of_dense_clips_does_not_matter(seed: int, across_videos: bool) -> None:
    data = batch(seed, videos=5, dense=3)
    generator = torch.Generator().manual_seed(seed)
    videos, clips = torch.randperm(5, generator=generator), torch.randperm(3, generator=generator)
    moved = data.pick(videos)
    moved = moved._replace(dense=moved.dense[:, clips], dense_positions=moved.dense_positions[:, clips])
    loss = AlignmentLoss(across_videos=across_videos)
    torch.testing.assert_close(loss(*moved), loss(*data), rtol=1e-4, atol=1e-5)


@LAW
@given(SEEDS, st.booleans(), st.floats(0.05, 2.0))
def test_loss_lies_between_the_entropy_of_the_targets_and_the_farthest_from_it(
    seed: int, across_videos: bool, temperature: float
) -> None:
    data = batch(seed)
    value = AlignmentLoss(temperature=temperature, across_videos=across_videos)(*data).item()
    weights = interval_weights(*data[2:])
    entropy = torch.special.entr(weights).sum(dim=2).mean().item()
    guess = AlignmentLoss(across_videos=across_videos).guess(3, 2, 4)
    assert entropy / 2 - 1e-5 <= value <= guess + 2 / temperature + 1e-5  # of the second direction the entropy is >= 0


@LAW
@given(SEEDS)
def test_within_videos_the_other_videos_play_no_part(seed: int) -> None:
    data = batch(seed)
    loss = AlignmentLoss(across_videos=False)
    alone = torch.stack([loss(*data.pick(torch.tensor([video]))) for video in range(3)])
    torch.testing.assert_close(loss(*data), alone.mean(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(AlignmentLoss()(*data), alone.mean(), rtol=1e-2)


@pytest.mark.parametrize("across_videos", [True, False])
def test_clips_that_find_their_interval_cost_nothing_and_wrong_ones_much(across_videos: bool) -> None:
    data = in_order()
    loss = AlignmentLoss(temperature=0.05, across_videos=across_videos)
    assert loss(*data).item() < 1e-3
    assert loss(*data._replace(slices=data.slices.roll(1, dims=1))).item() > 10.0


def test_slices_of_other_videos_are_told_apart_across_videos_only() -> None:
    data = in_order()
    alike = data._replace(dense=data.dense[:1].expand(3, -1, -1), slices=data.slices[:1].expand(3, -1, -1))
    assert AlignmentLoss(temperature=0.05, across_videos=False)(*alike).item() < 1e-3
    assert AlignmentLoss(temperature=0.05)(*alike).item() == pytest.approx(math.log(3), abs=1e-3)


def test_a_slice_near_no_dense_clip_is_a_candidate_and_no_anchor() -> None:
    data = in_order(videos=2)
    one_clip = data._replace(dense=data.dense[:, :1], dense_positions=data.dense_positions[:, :1])
    # The last slice of the first video looks like the second video's clip. As an anchor it would be wrong.
    slices = data.slices.clone()
    slices[0, 3] = data.dense[1, 0] + data.dense[1, 1]
    loss = AlignmentLoss(temperature=0.05)(*one_clip._replace(slices=slices))
    found = math.log(1 + math.exp((math.sqrt(0.5) - 1) / 0.05))  # the second video's clip among all slices
    assert loss.item() == pytest.approx(found / 2 / 2, abs=1e-4)


def test_dead_embeddings_give_finite_gradients() -> None:
    data = batch()
    dense, slices = torch.zeros_like(data.dense).requires_grad_(), data.slices.clone().requires_grad_()
    torch.autograd.backward(AlignmentLoss()(dense, slices, *data[2:]))
    for leaf in (dense, slices):
        assert leaf.grad is not None
        assert leaf.grad.abs().max() < 1e3


@pytest.mark.parametrize("loss", [AlignmentLoss(), AlignmentLoss(across_videos=False)])
def test_autocast_does_not_lower_the_precision(loss: AlignmentLoss) -> None:
    data = batch()
    with torch.autocast("cpu", torch.bfloat16):
        lowered = loss(*data)
    assert torch.equal(lowered, loss(*data))
    assert loss(data.dense.bfloat16(), data.slices.bfloat16(), *data[2:]).dtype == torch.float32


@pytest.mark.parametrize("videos", [1, 3])
@pytest.mark.parametrize("intervals", [1, 2, 4])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_local_contrast_is_the_slow_reference(videos: int, intervals: int, temperature: float) -> None:
    torch.manual_seed(videos * intervals)
    views = torch.randn(2, videos, intervals, 5)
    fast, slow = views.clone().requires_grad_(), views.double().requires_grad_()
    loss: torch.Tensor = LocalContrastLoss(temperature=temperature)(fast[0], fast[1])
    directions = [
        slow_contrast.nt_xent(list(one), list(other), list(one), [], temperature)
        for video in range(videos)
        for one, other in ((slow[0, video], slow[1, video]), (slow[1, video], slow[0, video]))
    ]
    expected = torch.stack(directions).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
    torch.autograd.backward(loss)
    torch.autograd.backward(expected)
    assert fast.grad is not None
    assert slow.grad is not None
    torch.testing.assert_close(fast.grad.double(), slow.grad, rtol=1e-3, atol=1e-5)


@LAW
@given(SEEDS, st.floats(0.01, 100.0))
def test_local_contrast_knows_no_order_scale_or_other_video(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, 3, 4, 5, generator=generator)
    order = torch.randperm(4, generator=generator)
    loss = LocalContrastLoss()
    value = loss(first, second)
    torch.testing.assert_close(loss(second[:, order] * scale, first[:, order]), value, rtol=1e-4, atol=1e-5)
    alone = torch.stack([loss(first[[video]], second[[video]]) for video in range(3)])
    torch.testing.assert_close(alone.mean(), value, rtol=1e-4, atol=1e-5)
    assert loss(torch.ones_like(first), torch.ones_like(first)).item() == pytest.approx(loss.guess(4), abs=1e-5)


@pytest.mark.parametrize(
    ("part", "shape", "message"),
    [
        ("dense", (3, 6), r"shapes \(B, D, E\) and \(B, K, E\), got \(3, 6\), \(3, 4, 6\)"),
        ("slices", (2, 4, 6), r"got \(3, 2, 6\), \(2, 4, 6\)"),
        ("slices", (3, 4, 5), r"got \(3, 2, 6\), \(3, 4, 5\)"),
        ("dense_positions", (3,), r"positions must have shapes \(3, 2\) and \(3, 4\), got \(3,\) and \(3, 4\)"),
        ("interval_positions", (3, 5), r"got \(3, 2\) and \(3, 5\)"),
    ],
)
def test_wrong_shapes_are_named(part: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlignmentLoss()(*batch()._replace(**{part: torch.zeros(shape)}))


def test_wrong_arguments_are_named() -> None:
    for loss in (AlignmentLoss, LocalContrastLoss):
        with pytest.raises(ValueError, match=r"temperature \(0.0\) must be above 0"):
            loss(temperature=0.0)
    with pytest.raises(ValueError, match=r"\(B, D\) and \(B, K\), got \(3,\), \(3, 4\)"):
        interval_weights(torch.zeros(3), torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"got \(2, 4, 5\) and \(2, 3, 5\)"):
        LocalContrastLoss()(torch.zeros(2, 4, 5), torch.zeros(2, 3, 5))
