"""A light temporal head: at each position and several temporal scales, which action, and how far its start and end are.

    rows of clips -> embedding -> blocks -+-> level 0, stride 1   classes, distances
                                          +-> level 1, stride 2   classes, distances
                                          +-> level 2, stride 4   ...

One stage and without anchors, after ActionFormer (Zhang et al., ECCV 2022) and TriDet (Shi et al., CVPR 2023), with
convolutions in place of attention: what a position says depends on a limited stretch about it, so that a long video
can be looked at part by part and gives the same answer.

Shapes: B videos, P positions, K scales of clips, D features, C channels, M points of all levels, L classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

# A point of stride s tells distances of up to 8 s; those from 2 s to 4 s are its own, so that there is room.
MOST_STRIDES = 8
_BLOCK_KERNEL, _TOWER_KERNEL, _TOWER_DEPTH, _STEM_BLOCKS = 7, 3, 2, 2
_MOST_LEVELS = 8
# At first every point is almost sure that nothing happens (Lin et al., ICCV 2017).
_FIRST_PROBABILITY = 0.01


@dataclass(frozen=True)
class HeadConfig:
    """What a head is made of.

    Attributes:
        class_names: the actions, in the order of its scores.
        feature_dim: features D of a clip.
        num_scales: scales K of clips.
        channels: width C of the head.
        num_levels: temporal scales of the head, each of twice the stride of the one before.
        dropout: in each block.

    Raises:
        ValueError: a number that cannot be, or a class that comes twice.
    """

    class_names: tuple[str, ...]
    feature_dim: int
    num_scales: int
    channels: int = 96
    num_levels: int = 5
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if not self.class_names or len(set(self.class_names)) != len(self.class_names):
            raise ValueError(f"class_names ({', '.join(self.class_names)}) must differ, and be at least one")
        if min(self.feature_dim, self.num_scales, self.channels) < 1 or not 1 <= self.num_levels <= _MOST_LEVELS:
            raise ValueError(
                f"feature_dim ({self.feature_dim}), num_scales ({self.num_scales}) and channels ({self.channels}) must "
                f"be at least 1, num_levels ({self.num_levels}) in 1..{_MOST_LEVELS}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout ({self.dropout}) must be in 0..1")

    @property
    def coarsest_stride(self) -> int:
        """Stride of the last level, in positions; parts of a video must begin at its multiples."""
        return 1 << (self.num_levels - 1)

    @property
    def most_positions(self) -> int:
        """The longest distance from a point to a start or an end that the head tells."""
        return MOST_STRIDES * self.coarsest_stride

    @property
    def reach_positions(self) -> int:
        """How far on each side of a point lies what its answer may depend on."""
        strides = [1 << level for level in range(self.num_levels)]
        blocks = _BLOCK_KERNEL // 2 * (_STEM_BLOCKS + sum(strides))
        tower = _TOWER_KERNEL // 2 * (_TOWER_DEPTH + 1) * strides[-1]
        return blocks + tower + strides[-1]


def levels_for(longest_positions: float) -> int:
    """How many levels tell segments of this length with room to spare."""
    return int(np.clip(np.ceil(np.log2(max(longest_positions, 1.0) / (MOST_STRIDES / 2))) + 1, 1, _MOST_LEVELS))


class Points(NamedTuple):
    """Where the head answers, level after level: middles and strides (M,), in positions."""

    centres_M: NDArray[np.float64]
    strides_M: NDArray[np.float64]


def points(num_positions: int, num_levels: int) -> Points:
    """The points of so many positions, which the coarsest stride divides."""
    strides = [1 << level for level in range(num_levels)]
    centres = [(np.arange(num_positions // stride) + 0.5) * stride for stride in strides]
    return Points(
        np.concatenate(centres),
        np.concatenate(
            [np.full(len(several), float(stride)) for several, stride in zip(centres, strides, strict=True)]
        ),
    )


class HeadOutput(NamedTuple):
    """What the head says.

    Attributes:
        class_logits_BML: of each point; a sigmoid makes probabilities, because actions may overlap.
        distances_BM2: from each point back to the start and on to the end, in positions.
        valid_BM: points that are not padding.
        position_logits_BPA: of each position without its surroundings, background behind the classes.
    """

    class_logits_BML: Tensor
    distances_BM2: Tensor
    valid_BM: Tensor
    position_logits_BPA: Tensor


class DetectionHead(nn.Module):
    """Rows of features over time to classes and distances at points of several strides.

    Args:
        config: sizes and classes.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        num_classes, channels = len(config.class_names), config.channels
        self.register_buffer("feature_mean", torch.zeros(config.num_scales, config.feature_dim))
        self.register_buffer("feature_std", torch.ones(config.num_scales, config.feature_dim))
        self.embedding = nn.Sequential(nn.Linear(config.num_scales * (config.feature_dim + 1), channels), nn.GELU())
        self.position_classifier = nn.Linear(channels, num_classes + 1)
        self.stem = nn.ModuleList(_Block(channels, config.dropout) for _ in range(_STEM_BLOCKS))
        self.levels = nn.ModuleList(_Block(channels, config.dropout) for _ in range(config.num_levels))
        self.class_tower = _Tower(channels, num_classes)
        self.distance_tower = _Tower(channels, 2)
        self.level_factors = nn.Parameter(torch.ones(config.num_levels))
        assert self.class_tower.out.bias is not None
        nn.init.constant_(self.class_tower.out.bias, float(np.log(_FIRST_PROBABILITY / (1 - _FIRST_PROBABILITY))))

    def forward(self, rows_BPKD: Tensor, presence_BPK: Tensor, valid_BP: Tensor) -> HeadOutput:
        """Answers at all points.

        Args:
            rows_BPKD: features of the clips of each scale, interpolated between them; P is a multiple of the coarsest
                stride.
            presence_BPK: how far each scale is known in each position, in 0..1.
            valid_BP: which positions are not padding.

        Raises:
            ValueError: the coarsest stride does not divide P.
        """
        if rows_BPKD.shape[1] % self.config.coarsest_stride:
            raise ValueError(f"{rows_BPKD.shape[1]} positions are no multiple of {self.config.coarsest_stride}")
        embedded_BPC = self._embed(rows_BPKD, presence_BPK)
        x_BPC, is_valid = embedded_BPC * valid_BP[..., None], valid_BP
        for block in self.stem:
            x_BPC = block(x_BPC, is_valid)
        classes, distances, valid = [], [], []
        for level, block in enumerate(self.levels):
            if level:
                # The larger of each two; written so that an exported head takes any number of positions.
                x_BPC = x_BPC.reshape(x_BPC.shape[0], -1, 2, x_BPC.shape[2]).amax(dim=2)
                is_valid = is_valid.reshape(is_valid.shape[0], -1, 2).any(dim=2)
            x_BPC = block(x_BPC, is_valid)
            classes.append(self.class_tower(x_BPC, is_valid))
            stretched = F.softplus(self.level_factors[level] * self.distance_tower(x_BPC, is_valid))
            distances.append((stretched * (1 << level)).clamp(max=float(MOST_STRIDES << level)))
            valid.append(is_valid)
        return HeadOutput(
            torch.cat(classes, dim=1),
            torch.cat(distances, dim=1),
            torch.cat(valid, dim=1),
            self.position_classifier(embedded_BPC),
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.feature_mean.device

    def position_logits(self, rows_BPKD: Tensor, presence_BPK: Tensor) -> Tensor:
        """What the clips about each position say by themselves, `(B, P, L + 1)`; background is the last class."""
        logits: Tensor = self.position_classifier(self._embed(rows_BPKD, presence_BPK))
        return logits

    def fit_normalisation(self, mean_KD: NDArray[np.floating], std_KD: NDArray[np.floating]) -> None:
        """Take over mean and standard deviation of the training's features."""
        self.feature_mean.copy_(torch.from_numpy(mean_KD))
        # A feature that never changes must not become noise.
        self.feature_std.copy_(torch.from_numpy(np.maximum(std_KD, 1e-2 * max(float(std_KD.max()), 1e-6))))

    def _embed(self, rows_BPKD: Tensor, presence_BPK: Tensor) -> Tensor:
        # Where a scale is not known, what was interpolated from far away must not count.
        normalised = (rows_BPKD - self.feature_mean) / self.feature_std * presence_BPK[..., None]
        embedded: Tensor = self.embedding(torch.cat([normalised, presence_BPK[..., None]], dim=-1).flatten(2))
        return embedded


class _Block(nn.Module):
    """Mix along time channel by channel, then the channels of each position (Liu et al., ConvNeXt, CVPR 2022)."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.mix = nn.Conv1d(channels, channels, _BLOCK_KERNEL, padding=_BLOCK_KERNEL // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.channels = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * channels, channels)
        )

    def forward(self, x_BPC: Tensor, valid_BP: Tensor) -> Tensor:
        mixed = self.mix(x_BPC.transpose(1, 2)).transpose(1, 2)
        blended: Tensor = (x_BPC + self.channels(self.norm(mixed))) * valid_BP[..., None]
        return blended


class _Tower(nn.Module):
    """A few convolutions that all levels share, and what they say of each point."""

    def __init__(self, channels: int, num_outputs: int) -> None:
        super().__init__()
        padding = _TOWER_KERNEL // 2
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, _TOWER_KERNEL, padding=padding) for _ in range(_TOWER_DEPTH)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(_TOWER_DEPTH))
        self.out = nn.Conv1d(channels, num_outputs, _TOWER_KERNEL, padding=padding)

    def forward(self, x_BPC: Tensor, valid_BP: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x_BPC = F.relu(norm(convolution(x_BPC.transpose(1, 2)).transpose(1, 2))) * valid_BP[..., None]
        outputs: Tensor = self.out(x_BPC.transpose(1, 2)).transpose(1, 2)
        return outputs


def padded(positions: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    """An array with zeros behind its first axis, so that its length is a multiple."""
    missing = -len(positions) % multiple
    widths: Sequence[tuple[int, int]] = [(0, missing), *[(0, 0)] * (positions.ndim - 1)]
    return np.pad(positions, widths)
