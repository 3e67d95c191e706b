"""Consistency: as two clips agree in RGB space, so shall their representations agree.

A sparse clip spans a whole video and its feature map has K temporal slices; a dense clip shows one part of it. How
similar the dense clip is to each slice is a *trend* over the video. Centre frames give the RGB trend, feature maps the
latent one, and the loss asks that the latent trend follow the RGB trend (L_con of Dave et al., 2020). The
latent trend of a teacher, a moving average of the encoder, may take the place of the RGB trend.

    sparse clip   |    S0    |    S1    |    S2    |    S3    |      K = 4 intervals and their centre frames
    dense clip                        |D|
    trend             .2        .8   .95   .7        .3              K similarities, and one to the interpolation of
                                                                     S1 and S2 at the centre of D, where it lies between

Shapes: B videos, K intervals, E = K + 1 entries of a trend, C channels, H x W positions or pixels, N = C * H * W.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

KINDS = ("jsd", "cosine")
COSINE_SHARE = 0.8  # of the cosine term in the "cosine" loss, the rest is the RMSE (the paper)
SQUARED_NORM_FLOOR = 1e-12  # vectors below have no direction: a black frame, a dead feature map
PROBABILITY_FLOOR = 1e-6  # plain normalisation of similarities that are 0 or negative
RANGE_FLOOR = 1e-6  # below lies the rounding of float32 cosines: such a trend is flat


@dataclass(frozen=True, slots=True)
class Trends:
    """Similarities of dense clips to the intervals of their sparse clips; the last entry is the interpolated one.

    Args:
        rgb_BE: the target, without gradient: cosine similarities of the centre frames, or of a teacher's feature maps.
        latent_BE: cosine similarities of the feature maps.
        valid_BE: false where the dense centre lies outside of the interval centres: there is no interpolated entry.
    """

    rgb_BE: torch.Tensor
    latent_BE: torch.Tensor
    valid_BE: torch.Tensor


class ConsistencyLoss(nn.Module):
    """Divergence of the latent trend from the RGB or a teacher's trend, a fixed target (no gradient flows into it).

    `jsd` is the Jensen-Shannon divergence of both trends read as distributions, at most ln 2. `cosine` is
    0.8 * (1 - cos(C_e, minmax(C_r))) + 0.2 * RMSE(C_e, minmax(C_r)) and takes no temperature.

    RGB cosines of one video differ by a few hundredths. Normalised by their sum they are nearly uniform, and so a
    collapsed latent trend would already be right: for [.97 .95 .92 .90] the divergence from uniform is 0.0001. A
    softmax at 0.05 makes that 0.033. The target has the smaller temperature of the two, as in distillation: at equal
    cosines it is the sharper one, so the latent trend must spread wider than the RGB trend, and cannot match by being
    flat. Still something else must hold off collapse.

    Args:
        kind: "jsd" or "cosine".
        rgb_temperature: of the softmax over the target, be it the RGB or a teacher's trend. None: plain normalisation
            by the sum, the paper's form.
        latent_temperature: the same for the latent trend.

    Raises:
        ValueError: an unknown kind or a temperature that is not above 0.
    """

    def __init__(
        self, kind: str = "jsd", *, rgb_temperature: float | None = 0.05, latent_temperature: float | None = 0.1
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind ({kind!r}) must be one of {', '.join(KINDS)}")
        for name, temperature in (("rgb", rgb_temperature), ("latent", latent_temperature)):
            if temperature is not None and not temperature > 0:
                raise ValueError(f"{name}_temperature ({temperature}) must be above 0, or None for plain normalisation")
        self.kind = kind
        self.rgb_temperature = rgb_temperature
        self.latent_temperature = latent_temperature

    def forward(
        self,
        dense_map_BCKHW: torch.Tensor,
        sparse_map_BCKHW: torch.Tensor,
        dense_frame_BCHW: torch.Tensor | None,
        sparse_frames_BKCHW: torch.Tensor | None,
        dense_position_B: torch.Tensor,
        interval_positions_BK: torch.Tensor,
        *,
        teacher_dense_map_BCKHW: torch.Tensor | None = None,
        teacher_sparse_map_BCKHW: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Scalar loss, the mean over the videos; for the arguments see `trends`."""
        both = trends(
            dense_map_BCKHW,
            sparse_map_BCKHW,
            dense_frame_BCHW,
            sparse_frames_BKCHW,
            dense_position_B,
            interval_positions_BK,
            teacher_dense_map_BCKHW=teacher_dense_map_BCKHW,
            teacher_sparse_map_BCKHW=teacher_sparse_map_BCKHW,
        )
        if self.kind == "cosine":
            return cosine_divergence(both).mean()
        rgb_BE = as_distribution(both.rgb_BE, both.valid_BE, self.rgb_temperature)
        latent_BE = as_distribution(both.latent_BE, both.valid_BE, self.latent_temperature)
        return jensen_shannon_divergence(rgb_BE, latent_BE).mean()


def trends(
    dense_map_BCKHW: torch.Tensor,
    sparse_map_BCKHW: torch.Tensor,
    dense_frame_BCHW: torch.Tensor | None,
    sparse_frames_BKCHW: torch.Tensor | None,
    dense_position_B: torch.Tensor,
    interval_positions_BK: torch.Tensor,
    *,
    teacher_dense_map_BCKHW: torch.Tensor | None = None,
    teacher_sparse_map_BCKHW: torch.Tensor | None = None,
) -> Trends:
    """Target and latent similarities of each dense clip to the intervals of its sparse clip, in float32.

    Args:
        dense_map_BCKHW: feature maps of the dense clips; averaged over their time.
        sparse_map_BCKHW: feature maps of the sparse clips; their K may differ from that of the dense maps.
        dense_frame_BCHW: the centre frame of each dense clip, floats in [0, 1]; resized to half inside.
        sparse_frames_BKCHW: the centre frame of each interval of the sparse clips.
        dense_position_B: position of the dense centre frame in the video, in frames.
        interval_positions_BK: positions of the interval centres in the video, in frames, increasing.
        teacher_dense_map_BCKHW: a teacher's feature maps of the dense clips. With the teacher's maps their trend is the
            target in place of the RGB trend; the frames are not looked at then and may be None.
        teacher_sparse_map_BCKHW: a teacher's feature maps of the sparse clips.

    Raises:
        ValueError: the shapes do not agree, or neither the frames nor the teacher's maps are complete.
    """
    _check_maps(dense_map_BCKHW, sparse_map_BCKHW)
    size_BK = sparse_map_BCKHW.shape[0], sparse_map_BCKHW.shape[2]
    if dense_position_B.shape != size_BK[:1]:
        raise ValueError(f"dense_position must have shape (B,), got {tuple(dense_position_B.shape)}")
    if interval_positions_BK.shape != torch.Size(size_BK):
        raise ValueError(f"interval_positions must have shape (B, K), got {tuple(interval_positions_BK.shape)}")
    between = _Between.locate(dense_position_B.float(), interval_positions_BK.float())
    with torch.autocast(device_type=dense_map_BCKHW.device.type, enabled=False):
        with torch.no_grad():
            if teacher_dense_map_BCKHW is None and teacher_sparse_map_BCKHW is None:
                target_BE = _rgb_similarities(dense_frame_BCHW, sparse_frames_BKCHW, size_BK, between)
            else:
                target_BE = _teacher_similarities(teacher_dense_map_BCKHW, teacher_sparse_map_BCKHW, size_BK, between)
        latent_BE = _map_similarities(dense_map_BCKHW, sparse_map_BCKHW, between)
    inside_BK = torch.ones_like(interval_positions_BK, dtype=torch.bool)
    return Trends(target_BE, latent_BE, torch.cat([inside_BK, between.valid_B[:, None]], dim=1))


def as_distribution(trend_BE: torch.Tensor, valid_BE: torch.Tensor, temperature: float | None) -> torch.Tensor:
    """Similarities as probabilities over the valid entries; invalid ones get 0.

    Args:
        trend_BE: similarities.
        valid_BE: which entries exist; at least one a row.
        temperature: of a softmax, or None to divide by the sum (similarities are lifted to at least 1e-6).
    """
    if temperature is None:
        positive_BE = trend_BE.clamp_min(PROBABILITY_FLOOR) * valid_BE
        return positive_BE / positive_BE.sum(dim=1, keepdim=True)
    return (trend_BE / temperature).masked_fill(~valid_BE, -torch.inf).softmax(dim=1)


def jensen_shannon_divergence(p_BE: torch.Tensor, q_BE: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon divergence of each row in nats, `(B,)`: symmetric, 0 where equal, at most ln 2."""
    # A floor under the logarithms alone: where a probability is 0 its term is 0, and so is its gradient.
    tiny = torch.finfo(p_BE.dtype).tiny
    log_middle_BE = ((p_BE + q_BE) / 2).clamp_min(tiny).log()
    divergence_p_B = (p_BE * (p_BE.clamp_min(tiny).log() - log_middle_BE)).sum(dim=1)
    divergence_q_B = (q_BE * (q_BE.clamp_min(tiny).log() - log_middle_BE)).sum(dim=1)
    return (divergence_p_B + divergence_q_B) / 2


def cosine_divergence(both: Trends) -> torch.Tensor:
    """0.8 * (1 - cos(C_e, minmax(C_r))) + 0.2 * RMSE(C_e, minmax(C_r)) of each video, `(B,)`."""
    target_BE = min_max(both.rgb_BE, both.valid_BE)
    latent_BE = both.latent_BE * both.valid_BE
    cosine_B = _cosine((latent_BE * target_BE).sum(1), latent_BE.square().sum(1), target_BE.square().sum(1))
    mean_square_B = (latent_BE - target_BE).square().sum(dim=1) / both.valid_BE.sum(dim=1)
    # The root has no finite slope at 0; under the floor the error is taken as constant.
    rmse_B = mean_square_B.clamp_min(SQUARED_NORM_FLOOR).sqrt()
    return COSINE_SHARE * (1 - cosine_B) + (1 - COSINE_SHARE) * rmse_B


def min_max(trend_BE: torch.Tensor, valid_BE: torch.Tensor) -> torch.Tensor:
    """Each row stretched to [0, 1] over its valid entries; invalid entries and flat trends become 0."""
    low_B1 = trend_BE.masked_fill(~valid_BE, torch.inf).amin(dim=1, keepdim=True)
    high_B1 = trend_BE.masked_fill(~valid_BE, -torch.inf).amax(dim=1, keepdim=True)
    span_B1 = high_B1 - low_B1
    stretched_BE = (trend_BE - low_B1) / span_B1.clamp_min(RANGE_FLOOR)
    return stretched_BE * (valid_BE & (span_B1 > RANGE_FLOOR))


@dataclass(frozen=True, slots=True)
class _Between:
    """Where dense centres lie among the interval centres: between `left_B` and `right_B`, `weight_B` to the right."""

    left_B: torch.Tensor
    right_B: torch.Tensor
    weight_B: torch.Tensor
    valid_B: torch.Tensor

    @classmethod
    def locate(cls, dense_position_B: torch.Tensor, interval_positions_BK: torch.Tensor) -> "_Between":
        num_intervals = interval_positions_BK.shape[1]
        after_B = torch.searchsorted(interval_positions_BK.contiguous(), dense_position_B[:, None])[:, 0]
        right_B = after_B.clamp_max(num_intervals - 1)
        left_B = (right_B - 1).clamp_min(0)
        start_B = interval_positions_BK.gather(1, left_B[:, None])[:, 0]
        end_B = interval_positions_BK.gather(1, right_B[:, None])[:, 0]
        valid_B = (interval_positions_BK[:, 0] < dense_position_B) & (dense_position_B < interval_positions_BK[:, -1])
        weight_B = ((dense_position_B - start_B) / (end_B - start_B)).where(valid_B, torch.zeros_like(start_B))
        return cls(left_B, right_B, weight_B, valid_B)


def _rgb_similarities(
    dense_BCHW: torch.Tensor | None, sparse_BKCHW: torch.Tensor | None, size_BK: tuple[int, int], between: _Between
) -> torch.Tensor:
    if dense_BCHW is None or sparse_BKCHW is None:
        raise ValueError("a target needs the frames of both clips, or a teacher's maps of both; got neither")
    _check_frames(dense_BCHW, sparse_BKCHW, *size_BK)
    return _similarities(_half_size(dense_BCHW), _half_size(sparse_BKCHW), between)


def _teacher_similarities(
    dense_BCKHW: torch.Tensor | None, sparse_BCKHW: torch.Tensor | None, size_BK: tuple[int, int], between: _Between
) -> torch.Tensor:
    if dense_BCKHW is None or sparse_BCKHW is None:
        raise ValueError("a teacher's trend needs its maps of both the dense and the sparse clips; one is None")
    _check_maps(dense_BCKHW, sparse_BCKHW)
    if (sparse_BCKHW.shape[0], sparse_BCKHW.shape[2]) != size_BK:
        expected = f"{size_BK[0]} videos and {size_BK[1]} intervals"
        raise ValueError(f"a teacher's sparse map must have {expected} like the other, got {tuple(sparse_BCKHW.shape)}")
    return _map_similarities(dense_BCKHW, sparse_BCKHW, between)


def _map_similarities(dense_BCKHW: torch.Tensor, sparse_BCKHW: torch.Tensor, between: _Between) -> torch.Tensor:
    # Time before space, channels last: for a channels-last map this is a view, and the order of N is free.
    sparse_BKN = sparse_BCKHW.permute(0, 2, 3, 4, 1).float().flatten(2)
    dense_BN = dense_BCKHW.permute(0, 2, 3, 4, 1).float().flatten(2).mean(dim=1)
    return _similarities(dense_BN, sparse_BKN, between)


def _similarities(dense_BN: torch.Tensor, sparse_BKN: torch.Tensor, between: _Between) -> torch.Tensor:
    """Cosines of a dense vector to K sparse ones, and to the interpolation (1 - w) S_l + w S_r, `(B, K + 1)`.

    The interpolation itself is never made: its product with D is linear in those of S_l and S_r, and its length follows
    from |S_l|, |S_r| and S_l . S_r. All come from the Gram matrix of the K + 1 vectors.
    """
    vectors = torch.cat([sparse_BKN, dense_BN[:, None]], dim=1)
    gram: torch.Tensor = _Gram.apply(vectors)
    product_BK, square_BK, dense_square_B = gram[:, :-1, -1], gram.diagonal(dim1=1, dim2=2)[:, :-1], gram[:, -1, -1]
    rows = torch.arange(len(gram), device=gram.device)
    left, right, w = between.left_B, between.right_B, between.weight_B
    product_B = (1 - w) * product_BK[rows, left] + w * product_BK[rows, right]
    cross_B = 2 * w * (1 - w) * gram[rows, left, right]
    square_B = (1 - w) ** 2 * square_BK[rows, left] + w**2 * square_BK[rows, right] + cross_B
    products_BE = torch.cat([product_BK, product_B[:, None]], dim=1)
    squares_BE = torch.cat([square_BK, square_B[:, None]], dim=1)
    return _cosine(products_BE, squares_BE, dense_square_B[:, None])


class _Gram(torch.autograd.Function):
    """Products of all pairs of vectors, `(B, E, N)` to `(B, E, E)`.

    Autograd makes a product with an N x E result for the gradient of `vectors @ vectors.mT`; on a CPU that took 8 of
    the loss's 15 ms (13 x 5 x 25088). By symmetry one product with an E x N result is enough (2 ms).
    """

    @staticmethod
    def forward(ctx: Any, vectors: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 (torch gives the context no type)
        ctx.save_for_backward(vectors)
        return vectors @ vectors.mT

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        (vectors,) = ctx.saved_tensors
        (gradient,) = gradients
        products: torch.Tensor = (gradient + gradient.mT) @ vectors
        return products


def _cosine(product: torch.Tensor, square_a: torch.Tensor, square_b: torch.Tensor) -> torch.Tensor:
    """Cosine from a product and two squared lengths; 0, without gradient, where a vector has no direction."""
    defined = (square_a > SQUARED_NORM_FLOOR) & (square_b > SQUARED_NORM_FLOOR)
    one = torch.ones_like(product)
    # Both branches of a `where` are differentiated, so the divisor must be harmless in the branch not taken as well.
    length = (square_a.where(defined, one) * square_b.where(defined, one)).sqrt()
    return (product / length).where(defined, torch.zeros_like(product))


def _half_size(frames: torch.Tensor) -> torch.Tensor:
    """Frames `(B, ..., C, H, W)` resized to half by area and flattened, `(B, ..., N)`."""
    height, width = frames.shape[-2:]
    if height % 2 or width % 2:
        half = (max(1, height // 2), max(1, width // 2))
        return F.interpolate(frames.float().flatten(1, -3), size=half, mode="area").reshape(*frames.shape[:-3], -1)
    # For even sizes the same numbers in a quarter of the time.
    rows = frames[..., 0::2, :].float() + frames[..., 1::2, :].float()
    return ((rows[..., 0::2] + rows[..., 1::2]) / 4).flatten(-3)


def _check_maps(dense_map_BCKHW: torch.Tensor, sparse_map_BCKHW: torch.Tensor) -> None:
    dense, sparse = tuple(dense_map_BCKHW.shape), tuple(sparse_map_BCKHW.shape)
    if len(dense) != 5 or len(sparse) != 5 or dense[:2] + dense[3:] != sparse[:2] + sparse[3:]:
        raise ValueError(f"dense and sparse maps must have shape (B, C, K, H, W) and agree but in K: {dense}, {sparse}")


def _check_frames(
    dense_frame_BCHW: torch.Tensor, sparse_frames_BKCHW: torch.Tensor, num_videos: int, num_intervals: int
) -> None:
    dense, sparse = tuple(dense_frame_BCHW.shape), tuple(sparse_frames_BKCHW.shape)
    b, k = num_videos, num_intervals
    if len(dense) != 4 or dense[0] != b or sparse != (b, k, *dense[1:]):
        expected = f"({b}, C, H, W) and ({b}, {k}, C, H, W)"
        raise ValueError(
            f"maps of {b} videos and {k} intervals need frames of shapes {expected}, got {dense}, {sparse}"
        )
