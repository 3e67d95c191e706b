"""What pretraining minimises, as dataclasses: one section an objective, each with its weight (0 leaves it out)."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class SpeedConfig:
    """How fast does this clip play?

    Attributes:
        weight: factor of the loss.
        kind: `binary` tells sparse from dense (the paper), `n_way` tells `clips.skip_ratio` and all of
            `clips.other_skip_ratios` apart (Pace, ECCV 2020), `ranking` says which of two clips of a video is the
            faster (RSPNet, TransRank).
    """

    weight: float = 1.0
    kind: Literal["binary", "n_way", "ranking"] = "binary"


@dataclass(frozen=True)
class ConsistencyConfig:
    """As two clips agree in RGB space, so shall their representations (the paper's L_con).

    Attributes:
        weight: factor of the loss.
        kind: `jsd` or `cosine`.
        target: whose trend the latent one follows: that of `rgb` frames (the paper), or that of a slow copy of the
            encoder, the `teacher`.
        rgb_temperature: temperature of the target's trend; `null` is the paper's untempered form.
        latent_temperature: temperature of the latent trend; `null` is the paper's untempered form.
    """

    weight: float = 1.0
    kind: Literal["jsd", "cosine"] = "jsd"
    target: Literal["rgb", "teacher"] = "rgb"
    rgb_temperature: float | None = 0.05
    latent_temperature: float | None = 0.1


@dataclass(frozen=True)
class AlignmentConfig:
    """A dense clip belongs to the interval of its sparse clip in which it lies.

    Attributes:
        weight: factor of the loss.
        temperature: of the softmax over cosine similarities.
        across_videos: whether the clips of the other videos of the batch are candidates too; false in TCLR.
        local_weight: factor of TCLR's local-local contrast of two clips an interval against those of other intervals;
            needs `clips.dense_copies` 2 and at least 2 `clips.dense_clips`.
    """

    weight: float = 0.0
    temperature: float = 0.1
    across_videos: bool = True
    local_weight: float = 0.0


@dataclass(frozen=True)
class ContrastConfig:
    """Two clips of a video agree, more than with the clips of other videos.

    Attributes:
        weight: factor of the loss.
        kind: `info_nce` (SimCLR, MoCo) or `vicreg`, which needs no negatives.
        temperature: of the softmax over cosine similarities.
        queue_size: embeddings of earlier batches that serve as negatives too; 0 takes those of the batch alone.
        use_teacher: compare with the embeddings of a slow copy of the encoder (MoCo).
    """

    weight: float = 0.0
    kind: Literal["info_nce", "vicreg"] = "info_nce"
    temperature: float = 0.1
    queue_size: int = 0
    use_teacher: bool = False

    def __post_init__(self) -> None:
        if self.queue_size < 0:
            raise ValueError(f"objective.contrast.queue_size ({self.queue_size}) must be at least 0")
        if self.kind == "vicreg" and (self.queue_size or self.use_teacher):
            raise ValueError(
                "objective.contrast: `vicreg` has no negatives and no keys; set queue_size to 0, use_teacher to false"
            )


@dataclass(frozen=True)
class GeneratorConfig:
    """From the sparse map, predict the dense map of every interval (the paper's future work).

    Attributes:
        weight: factor of the loss.
        hidden_channels: of the predictor; `null` takes the encoder's.
    """

    weight: float = 0.0
    hidden_channels: int | None = None


@dataclass(frozen=True)
class ProjectionConfig:
    """The small networks between pooled features and contrasted embeddings; each objective has its own."""

    hidden_dim: int = 256
    dim: int = 128


@dataclass(frozen=True)
class ObjectiveConfig:
    """The weighted sum that pretraining minimises; the defaults are the paper's.

    Attributes:
        teacher_momentum: share of the slow copy of the encoder that stays at a step.
        dropout: before the classifier.
    """

    speed: SpeedConfig = field(default_factory=SpeedConfig)
    consistency: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    projection: ProjectionConfig = field(default_factory=ProjectionConfig)
    teacher_momentum: float = 0.99
    dropout: float = 0.0

    def weights(self) -> dict[str, float]:
        """Factor of each objective that learns without labels, by name."""
        return {
            "speed": self.speed.weight,
            "consistency": self.consistency.weight,
            "alignment": self.alignment.weight,
            "contrast": self.contrast.weight,
            "generator": self.generator.weight,
        }

    @property
    def needs_teacher(self) -> bool:
        """Whether an objective compares with a slow copy of the encoder."""
        by_consistency = self.consistency.weight > 0 and self.consistency.target == "teacher"
        by_contrast = self.contrast.weight > 0 and self.contrast.use_teacher
        return by_consistency or by_contrast or self.generator.weight > 0
