"""The objectives that learn without labels, each with its heads: from the encoder's maps of a batch to a loss.

One mixed batch of all clips goes through the encoder once. Every objective looks at the same maps, says what it makes
of them, and how its loss follows from what all processes have made (`outcomes.py`). A new objective is a loss in
`losses/`, a section in `objectives_config.py`, and a class and a line in `build_objectives` here.

Shapes: B videos, D dense clips a video, K temporal positions of a map, C channels, H x W positions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor, nn

from sparsedense.data.augment import to_float
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.loader import ClipBatch
from sparsedense.losses.alignment import AlignmentLoss, LocalContrastLoss
from sparsedense.losses.consistency import ConsistencyLoss
from sparsedense.losses.contrast import InstanceContrastLoss
from sparsedense.losses.generator import GeneratorLoss
from sparsedense.losses.queue import KeyQueue
from sparsedense.losses.speed import SpeedLoss, SpeedRankingLoss, ranking_accuracy, speed_accuracy
from sparsedense.losses.vicreg import VICRegLoss
from sparsedense.models.encoder import pool
from sparsedense.models.heads import MapPredictor, ProjectionHead, SpeedHead
from sparsedense.models.teacher import Teacher
from sparsedense.objectives_config import ObjectiveConfig
from sparsedense.training.outcomes import Contribution, Outcome


@dataclass(frozen=True)
class Maps:
    """The feature maps of a batch, and what they were made of.

    Attributes:
        dense: (B * D, C, K, H, W), those of a video one after the other.
        sparse: (B, C, K, H, W).
        batch: the clips.
        speed_head: the model's.
        teacher_dense, teacher_sparse: the same maps of the slow copy of the encoder, where an objective needs them.
    """

    dense: Tensor
    sparse: Tensor
    batch: ClipBatch
    speed_head: SpeedHead | None
    teacher_dense: Tensor | None = None
    teacher_sparse: Tensor | None = None

    @property
    def num_dense(self) -> int:
        """Dense clips a video, D."""
        return len(self.dense) // len(self.sparse)

    @cached_property
    def dense_features(self) -> Tensor:
        """Pooled, (B, D, C)."""
        return pool(self.dense).view(len(self.sparse), self.num_dense, -1)

    @cached_property
    def sparse_features(self) -> Tensor:
        """Pooled, (B, C)."""
        return pool(self.sparse)

    @property
    def slices(self) -> Tensor:
        """The K temporal slices of the sparse maps, pooled over space, (B, K, C)."""
        return self.sparse.mean(dim=(3, 4)).transpose(1, 2)

    @property
    def dense_positions(self) -> Tensor:
        """Centres of the dense clips in frames of the video, (B, D)."""
        return self.batch["dense_indices"].float().mean(dim=2)

    @property
    def interval_positions(self) -> Tensor:
        """Centres of the intervals of the sparse clips in frames of the video, (B, K)."""
        videos, intervals = len(self.sparse), self.sparse.shape[2]
        return self.batch["sparse_indices"].float().view(videos, intervals, -1).mean(dim=2)


class SpeedObjective(nn.Module):
    """How fast does each clip play?"""

    def __init__(self, config: ObjectiveConfig) -> None:
        super().__init__()
        self.kind = config.speed.kind
        self.classify, self.rank = SpeedLoss(), SpeedRankingLoss()

    def forward(self, maps: Maps) -> Contribution:
        """Loss over all clips of the batch.

        All processes' clips: how many pairs there are to rank may differ from one to another.
        """
        if maps.speed_head is None:
            raise ValueError("the speed loss has a weight but the model has no speed head")
        features_BVC = torch.cat([maps.dense_features, maps.sparse_features[:, None]], dim=1)
        outputs_BVS = maps.speed_head(features_BVC)
        if self.kind == "ranking":
            indices_BVT = torch.cat([maps.batch["dense_indices"], maps.batch["sparse_indices"][:, None]], dim=1)
            strides_BV = (indices_BVT[..., -1] - indices_BVT[..., 0]).float() / (indices_BVT.shape[2] - 1)
            return Contribution(self._ranking, (outputs_BVS.squeeze(2), strides_BV))
        return Contribution(self._classification, (outputs_BVS, maps.batch["dense_speed"]))

    def _ranking(self, scores_BV: Tensor, strides_BV: Tensor) -> Outcome:
        return Outcome(self.rank(scores_BV, strides_BV), self.rank.guess(), ranking_accuracy(scores_BV, strides_BV))

    def _classification(self, outputs_BVS: Tensor, dense_speed_BD: Tensor) -> Outcome:
        dense_speed_BD = dense_speed_BD.long()
        speed_BV = torch.cat([dense_speed_BD, torch.zeros_like(dense_speed_BD[:, :1])], dim=1)
        if self.kind == "binary":
            speed_BV = speed_BV.clamp_max(1)
        logits_NS, speed_N = outputs_BVS.flatten(0, 1), speed_BV.flatten()
        return Outcome(
            self.classify(logits_NS, speed_N),
            self.classify.guess(logits_NS.shape[1]),
            speed_accuracy(logits_NS, speed_N),
        )


class ConsistencyObjective(nn.Module):
    """As two clips agree in RGB space, or for a teacher, so shall their maps."""

    def __init__(self, config: ObjectiveConfig) -> None:
        super().__init__()
        self.target = config.consistency.target
        self.loss = ConsistencyLoss(
            config.consistency.kind,
            rgb_temperature=config.consistency.rgb_temperature,
            latent_temperature=config.consistency.latent_temperature,
        )

    def forward(self, maps: Maps) -> Contribution:
        """Loss over all dense clips."""
        copies = maps.num_dense

        def spread(of_videos: Tensor) -> Tensor:
            return of_videos.repeat_interleave(copies, dim=0) if copies > 1 else of_videos

        positions = (maps.dense_positions.flatten(), spread(maps.interval_positions))
        sparse = spread(maps.sparse)
        if self.target == "teacher":
            assert maps.teacher_dense is not None
            assert maps.teacher_sparse is not None
            loss: Tensor = self.loss(
                maps.dense,
                sparse,
                None,
                None,
                *positions,
                teacher_dense_map_BCKHW=maps.teacher_dense,
                teacher_sparse_map_BCKHW=spread(maps.teacher_sparse),
            )
            return Contribution(Outcome, own=(loss,))
        frames_BKCHW, dense_frame_BCHW = centre_frames(maps.batch["sparse"], maps.batch["dense"], sparse.shape[2])
        loss = self.loss(maps.dense, sparse, dense_frame_BCHW, spread(frames_BKCHW), *positions)
        return Contribution(Outcome, own=(loss,))


class AlignmentObjective(nn.Module):
    """Each dense clip belongs to its interval of the sparse clip."""

    def __init__(self, feature_dim: int, config: ObjectiveConfig) -> None:
        super().__init__()
        alignment, hidden_dim, dim = config.alignment, config.projection.hidden_dim, config.projection.dim
        self.across_videos, self.local_weight = alignment.across_videos, alignment.local_weight
        # One head for both: with a head each they may meet in a place that the encoder's features know nothing of.
        self.head = ProjectionHead(feature_dim, hidden_dim, dim)
        self.loss = AlignmentLoss(temperature=alignment.temperature, across_videos=alignment.across_videos)
        self.local_loss = LocalContrastLoss(temperature=alignment.temperature)

    def forward(self, maps: Maps) -> Contribution:
        """Loss over all dense clips and slices."""
        dense_BDE, slices_BKE = self.head(maps.dense_features), self.head(maps.slices)
        tensors = (dense_BDE, slices_BKE, maps.dense_positions, maps.interval_positions)
        # The copies of a place stand side by side: one view of each interval, and another.
        pairs = (dense_BDE[:, 0::2], dense_BDE[:, 1::2]) if self.local_weight > 0 else ()
        if self.across_videos:
            return Contribution(self._outcome, rows=tensors, own=pairs)
        return Contribution(self._outcome, own=(*tensors, *pairs))

    def _outcome(
        self,
        dense_BDE: Tensor,
        slices_BKE: Tensor,
        dense_positions_BD: Tensor,
        interval_positions_BK: Tensor,
        *pairs_BKE: Tensor,
    ) -> Outcome:
        loss: Tensor = self.loss(dense_BDE, slices_BKE, dense_positions_BD, interval_positions_BK)
        guess = self.loss.guess(len(dense_BDE), dense_BDE.shape[1], slices_BKE.shape[1])
        if pairs_BKE:
            loss = loss + self.local_weight * self.local_loss(*pairs_BKE)
            guess += self.local_weight * self.local_loss.guess(pairs_BKE[0].shape[1])
        return Outcome(loss, guess)


class ContrastObjective(nn.Module):
    """The two clips of a video agree with each other."""

    def __init__(self, feature_dim: int, config: ObjectiveConfig) -> None:
        super().__init__()
        contrast, projection = config.contrast, config.projection
        self.kind = contrast.kind
        self.head = ProjectionHead(feature_dim, projection.hidden_dim, projection.dim)
        self.teacher_head = Teacher(self.head, momentum=config.teacher_momentum) if contrast.use_teacher else None
        self.queue = KeyQueue(contrast.queue_size, projection.dim) if contrast.queue_size else None
        self.contrast, self.vicreg = InstanceContrastLoss(temperature=contrast.temperature), VICRegLoss()

    def forward(self, maps: Maps) -> Contribution:
        """Loss between the dense clip of each video, or the mean of several, and its sparse clip."""
        views = self.head(maps.dense_features.mean(dim=1)), self.head(maps.sparse_features)
        return Contribution(self._outcome, rows=(*views, *self._teacher_keys(maps)))

    def _outcome(self, dense_BE: Tensor, sparse_BE: Tensor, *keys_BE: Tensor) -> Outcome:
        if self.kind == "vicreg":
            return Outcome(self.vicreg(dense_BE, sparse_BE))
        dense_keys_BE, sparse_keys_BE = keys_BE or (None, None)
        queue_QE = None if self.queue is None else self.queue.keys()
        loss = self.contrast(
            dense_BE, sparse_BE, first_keys_BE=dense_keys_BE, second_keys_BE=sparse_keys_BE, queue_QE=queue_QE
        )
        guess = self.contrast.guess(len(dense_BE), 0 if queue_QE is None else len(queue_QE))
        if self.queue is not None and self.training:
            # After the loss: this batch's positives must not be among its negatives.
            self.queue.push((sparse_BE if sparse_keys_BE is None else sparse_keys_BE).detach())
        return Outcome(loss, guess)

    def update_teacher(self) -> None:
        """Move the slow copy of the head; call it after each step."""
        if self.teacher_head is not None:
            self.teacher_head.update(self.head)

    def _teacher_keys(self, maps: Maps) -> tuple[Tensor, ...]:
        if self.teacher_head is None:
            return ()
        assert maps.teacher_dense is not None
        assert maps.teacher_sparse is not None
        dense_BC = pool(maps.teacher_dense).view(len(maps.sparse), maps.num_dense, -1).mean(dim=1)
        return self.teacher_head(dense_BC), self.teacher_head(pool(maps.teacher_sparse))


class GeneratorObjective(nn.Module):
    """From the sparse map, the dense map of every interval."""

    def __init__(self, feature_dim: int, config: ObjectiveConfig, num_positions: int) -> None:
        super().__init__()
        hidden = config.generator.hidden_channels
        self.predictor = MapPredictor(feature_dim, hidden_channels=hidden, num_positions=num_positions)
        self.loss = GeneratorLoss()

    def forward(self, maps: Maps) -> Contribution:
        """Loss between the generated maps and a slow copy's maps of the dense clips."""
        assert maps.teacher_dense is not None
        target_BDCKHW = maps.teacher_dense.view(len(maps.sparse), maps.num_dense, *maps.teacher_dense.shape[1:])
        return Contribution(self._outcome, own=(self.loss(self.predictor(maps.sparse), target_BDCKHW),))

    def _outcome(self, loss: Tensor) -> Outcome:
        return Outcome(loss, self.loss.guess())


def build_objectives(
    config: ObjectiveConfig, clips: ClipConfig, *, feature_dim: int, map_positions: Callable[[int], int]
) -> nn.ModuleDict:
    """The objectives that have a weight, by name.

    Args:
        config: weights and settings.
        clips: checked against what the objectives need.
        feature_dim: channels of the encoder's map.
        map_positions: temporal positions K of its map of clips of so many frames.

    Raises:
        ValueError: an objective needs other clips; says which.
    """
    check_clips(config, clips, map_positions)
    makers: dict[str, Callable[[], nn.Module]] = {
        "speed": lambda: SpeedObjective(config),
        "consistency": lambda: ConsistencyObjective(config),
        "alignment": lambda: AlignmentObjective(feature_dim, config),
        "contrast": lambda: ContrastObjective(feature_dim, config),
        "generator": lambda: GeneratorObjective(feature_dim, config, map_positions(clips.length)),
    }
    return nn.ModuleDict({name: makers[name]() for name, weight in config.weights().items() if weight > 0})


def num_speeds(config: ObjectiveConfig, clips: ClipConfig) -> int:
    """Outputs of the speed head: two speeds, all of them, or one score to rank by."""
    return {"binary": 2, "n_way": 1 + len(clips.skip_ratios), "ranking": 1}[config.speed.kind]


def centre_frames(sparse_BCTHW: Tensor, dense_BCTHW: Tensor, num_intervals: int) -> tuple[Tensor, Tensor]:
    """Centre frames in RGB space, before any change of colour.

    Returns:
        Those of the K intervals of the sparse clip, (B, K, C, H, W), and that of the dense clip, (B, C, H, W), in
        [0, 1].
    """
    frames = sparse_BCTHW.shape[2]
    per_interval = frames // num_intervals
    centres = torch.arange(num_intervals, device=sparse_BCTHW.device) * per_interval + per_interval // 2
    return to_float(sparse_BCTHW[:, :, centres].transpose(1, 2)), to_float(dense_BCTHW[:, :, frames // 2])


def check_clips(config: ObjectiveConfig, clips: ClipConfig, map_positions: Callable[[int], int]) -> None:
    """Refuse clips that an objective with a weight cannot learn from.

    Args:
        config: weights and settings.
        clips: those of the training.
        map_positions: temporal positions K of the encoder's map of clips of so many frames.

    Raises:
        ValueError: an objective needs other clips; says which.
    """
    positions = map_positions(clips.length)
    _check_dense_clips(config, clips, positions)
    located = [name for name in ("consistency", "alignment") if config.weights()[name] > 0]
    if located and clips.length % positions:
        fitting = " or ".join(str(length) for length in _fitting_lengths(clips.length, map_positions))
        raise ValueError(
            f"clips.length ({clips.length}) must be a multiple of the K = {positions} temporal positions of the map "
            f"that the encoder makes of it, for objective.{' and objective.'.join(located)} to know the frames of "
            f"each; set clips.length to {fitting}"
        )


def _fitting_lengths(length: int, map_positions: Callable[[int], int]) -> list[int]:
    """The next shorter and the next longer clip that shares its frames evenly among its temporal positions."""
    ways = range(length - 1, 1, -1), range(length + 1, 2 * length + 1)
    fitting = ((frames for frames in way if frames % map_positions(frames) == 0) for way in ways)
    return [frames for way in fitting for frames in islice(way, 1)]


def _check_dense_clips(config: ObjectiveConfig, clips: ClipConfig, map_positions: int) -> None:
    if config.generator.weight > 0 and (clips.dense_clips != map_positions or clips.dense_copies != 1):
        raise ValueError(
            f"the generator needs one dense clip for each of the {map_positions} positions of the sparse map: set "
            f"clips.dense_clips ({clips.dense_clips}) and clips.skip_ratio to {map_positions}, and clips.dense_copies "
            f"({clips.dense_copies}) to 1"
        )
    compares_places = config.alignment.weight > 0 and config.alignment.local_weight > 0
    # Of one place alone there is nothing to tell it from: the loss would be 0, whatever the embeddings.
    if compares_places and (clips.dense_copies != 2 or clips.dense_clips < 2):
        raise ValueError(
            f"objective.alignment.local_weight compares two clips of each place with those of other places: set "
            f"clips.dense_copies ({clips.dense_copies}) to 2 and clips.dense_clips ({clips.dense_clips}) to at least 2"
        )
    if config.speed.weight > 0 and config.speed.kind == "n_way" and len(clips.skip_ratios) < 2:
        raise ValueError("objective.speed.kind `n_way` needs several dense speeds: set clips.other_skip_ratios")
