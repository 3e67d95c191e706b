"""The consistency loss written from the formulas of the paper, one video and one number at a time."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F

Vector = torch.Tensor


def cosine(a: Vector, b: Vector) -> Vector:
    lengths: Vector = a.norm() * b.norm()
    return torch.dot(a, b) / lengths


def trend(dense: Vector, slices: list[Vector], position: float, centres: list[float]) -> list[Vector]:
    """K similarities and, between the two neighbours, that to their interpolation."""
    entries = [cosine(dense, piece) for piece in slices]
    for left in range(len(centres) - 1):
        if centres[left] < position <= centres[left + 1] and position < centres[-1]:
            share = (position - centres[left]) / (centres[left + 1] - centres[left])
            middle = (1 - share) * slices[left] + share * slices[left + 1]
            entries.insert(left + 1, cosine(dense, middle))
            break
    return entries


def distribution(entries: list[Vector], temperature: float | None) -> list[Vector]:
    if temperature is None:
        positive = [entry.clamp_min(1e-6) for entry in entries]
    else:
        largest = max(entry.item() for entry in entries)
        positive = [((entry - largest) / temperature).exp() for entry in entries]
    total = torch.stack(positive).sum()
    return [value / total for value in positive]


def jensen_shannon(p: list[Vector], q: list[Vector]) -> Vector:
    total = torch.zeros((), dtype=p[0].dtype)
    for a, b in zip(p, q, strict=True):
        middle = (a + b) / 2
        if a > 0:
            total = total + a * (a / middle).log() / 2
        if b > 0:
            total = total + b * (b / middle).log() / 2
    return total


def cosine_form(latent: list[Vector], rgb: list[Vector]) -> Vector:
    low, high = min(rgb), max(rgb)
    target = torch.stack([(entry - low) / (high - low) for entry in rgb])
    student = torch.stack(latent)
    rmse = ((student - target) ** 2).mean().sqrt()
    return 0.8 * (1 - cosine(student, target)) + 0.2 * rmse


def half_size(frame: torch.Tensor) -> Vector:
    height, width = frame.shape[-2] // 2, frame.shape[-1] // 2
    return F.interpolate(frame[None], size=(height, width), mode="area").flatten()


def slow_consistency(
    kind: str,
    maps: tuple[torch.Tensor, torch.Tensor],
    frames: tuple[torch.Tensor, torch.Tensor],
    dense_position: Sequence[float],
    interval_positions: Sequence[Sequence[float]],
    temperatures: tuple[float | None, float | None],
) -> Vector:
    """Mean over the videos; maps and frames are (dense, sparse), temperatures (rgb, latent)."""
    losses = []
    for video, (position, centres) in enumerate(zip(dense_position, interval_positions, strict=True)):
        sparse_map, sparse_frames = maps[1][video], frames[1][video].detach()
        slices = [sparse_map[:, k].flatten() for k in range(sparse_map.shape[1])]
        latent = trend(maps[0][video].mean(dim=1).flatten(), slices, position, list(centres))
        pictures = [half_size(frame) for frame in sparse_frames]
        rgb = trend(half_size(frames[0][video].detach()), pictures, position, list(centres))
        if kind == "cosine":
            losses.append(cosine_form(latent, rgb))
        else:
            losses.append(jensen_shannon(distribution(rgb, temperatures[0]), distribution(latent, temperatures[1])))
    result = torch.stack(losses).mean()
    assert math.isfinite(result.item())
    return result
