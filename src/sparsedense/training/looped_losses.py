"""The losses one video and one similarity at a time, as the paper's authors computed them: what the batched ones save.

For the benchmark `bench train --against reference`, and written for it from the formulas (Dave et al., 2020). They have
the values of the batched losses, with gradient, which the authors' had not.

Shapes: B videos with one dense and one sparse clip each, K intervals, E embedding length.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsedense.losses.alignment import interval_weights
from sparsedense.objectives_config import ObjectiveConfig
from sparsedense.training.objectives import AlignmentObjective, ContrastObjective, Maps, centre_frames


def looped_losses(maps: Maps, config: ObjectiveConfig, objectives: torch.nn.ModuleDict) -> dict[str, Tensor]:
    """The losses that have a weight, by name.

    Args:
        maps: the maps of a batch; one dense clip a video.
        config: the objectives' settings.
        objectives: for their projection heads.

    Raises:
        ValueError: a setting that the loops do not know: several dense clips, a teacher, a queue, VICReg, a generator.
    """
    contrast, alignment = config.contrast, config.alignment
    beyond = (
        config.needs_teacher or contrast.queue_size > 0 or contrast.kind != "info_nce" or not alignment.across_videos
    )
    if maps.num_dense != 1 or beyond:
        raise ValueError(
            "the reference's loops know one dense clip a video, InfoNCE within the batch and alignment across videos, "
            "and no teacher; compare with --against plain, or take another recipe"
        )
    makers: dict[str, Callable[[], Tensor]] = {
        "speed": lambda: _speed(maps, config.speed.kind),
        "consistency": lambda: _consistency(maps, config),
        "alignment": lambda: _alignment(maps, objectives["alignment"], alignment.temperature),
        "contrast": lambda: _contrast(maps, objectives["contrast"], contrast.temperature),
    }
    return {name: makers[name]() for name in objectives}


def _speed(maps: Maps, kind: str) -> Tensor:
    assert maps.speed_head is not None
    dense, sparse = maps.speed_head(maps.dense_features[:, 0]), maps.speed_head(maps.sparse_features)
    losses = []
    for video in range(len(sparse)):
        if kind == "ranking":
            strides = [
                float(indices[-1] - indices[0])
                for indices in (maps.batch["dense_indices"][video, 0], maps.batch["sparse_indices"][video])
            ]
            lead = dense[video, 0] - sparse[video, 0]
            if strides[0] != strides[1]:
                losses.append(F.softplus(-lead if strides[0] > strides[1] else lead))
            continue
        target = maps.batch["dense_speed"][video]
        losses.append(F.cross_entropy(dense[video][None], target.clamp_max(1) if kind == "binary" else target))
        losses.append(F.cross_entropy(sparse[video][None], torch.zeros_like(target)))
    return torch.stack(losses).mean() if losses else dense.sum() * 0


def _consistency(maps: Maps, config: ObjectiveConfig) -> Tensor:
    frames_BKCHW, dense_frame_BCHW = centre_frames(maps.batch["sparse"], maps.batch["dense"], maps.sparse.shape[2])
    settings, losses = config.consistency, []
    for video in range(len(maps.sparse)):
        position = float(maps.dense_positions[video, 0])
        centres = maps.interval_positions[video].tolist()
        slices = [piece.flatten() for piece in maps.sparse[video].unbind(1)]
        latent = _trend(maps.dense[video].mean(dim=1).flatten(), slices, position, centres)
        pictures = [_half_size(frame) for frame in frames_BKCHW[video]]
        rgb = _trend(_half_size(dense_frame_BCHW[video]), pictures, position, centres)
        if settings.kind == "cosine":
            target = (rgb - rgb.min()) / (rgb.max() - rgb.min())
            rmse = (latent - target).square().mean().sqrt()
            losses.append(0.8 * (1 - F.cosine_similarity(latent, target, dim=0)) + 0.2 * rmse)
        else:
            p, q = _distribution(rgb, settings.rgb_temperature), _distribution(latent, settings.latent_temperature)
            middle = (p + q) / 2
            losses.append(((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()) / 2)
    return torch.stack(losses).mean()


def _trend(dense: Tensor, slices: Sequence[Tensor], position: float, centres: Sequence[float]) -> Tensor:
    """K similarities, and one to the interpolation of both neighbours where the position lies between centres."""
    entries = [F.cosine_similarity(dense, piece, dim=0) for piece in slices]
    for left in range(len(centres) - 1):
        if centres[left] < position <= centres[left + 1] and position < centres[-1]:
            share = (position - centres[left]) / (centres[left + 1] - centres[left])
            entries.append(F.cosine_similarity(dense, (1 - share) * slices[left] + share * slices[left + 1], dim=0))
    return torch.stack(entries)


def _distribution(trend: Tensor, temperature: float | None) -> Tensor:
    if temperature is not None:
        return (trend / temperature).softmax(dim=0)
    positive = trend.clamp_min(1e-6)
    return positive / positive.sum()


def _half_size(frame_CHW: Tensor) -> Tensor:
    height, width = (max(1, side // 2) for side in frame_CHW.shape[-2:])
    return F.interpolate(frame_CHW[None], size=(height, width), mode="area").flatten()


def _alignment(maps: Maps, objective: torch.nn.Module, temperature: float) -> Tensor:
    assert isinstance(objective, AlignmentObjective)
    dense = list(objective.head(maps.dense_features)[:, 0])
    slices_BKE = objective.head(maps.slices)
    weights_BK = interval_weights(maps.dense_positions, maps.interval_positions)[:, 0].tolist()
    of_dense = [
        torch.stack([_similarity(one, piece, temperature) for slices in slices_BKE for piece in slices]).logsumexp(0)
        for one in dense
    ]
    losses = []
    for video, slices in enumerate(slices_BKE):
        for weight, piece in zip(weights_BK[video], slices, strict=True):
            of_slice = torch.stack([_similarity(one, piece, temperature) for one in dense]).logsumexp(0)
            own = _similarity(dense[video], piece, temperature)
            losses.append(weight * ((of_dense[video] + of_slice) / 2 - own))
    return torch.stack(losses).sum() / len(dense)


def _contrast(maps: Maps, objective: torch.nn.Module, temperature: float) -> Tensor:
    assert isinstance(objective, ContrastObjective)
    views = list(objective.head(maps.dense_features[:, 0])), list(objective.head(maps.sparse_features))
    losses = []
    for own, other in (views, views[::-1]):
        for video, anchor in enumerate(own):
            towards = [_similarity(anchor, one, temperature) for one in other]
            others = [_similarity(anchor, one, temperature) for index, one in enumerate(own) if index != video]
            losses.append(torch.stack(towards + others).logsumexp(0) - towards[video])
    return torch.stack(losses).mean()


def _similarity(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    return F.cosine_similarity(a, b, dim=0) / temperature
