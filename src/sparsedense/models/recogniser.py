"""Recogniser: an encoder with its heads, the names of its classes and the clips that it expects."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from sparsedense.models.encoder import Encoder, EncoderConfig, pool, quarter_features
from sparsedense.models.heads import ClassifierHead, SpeedHead


class Recogniser(nn.Module):
    """Everything needed to recognise: clips in, logits over named classes out.

    Args:
        encoder: clips to feature map.
        classifier: head for the actions, or None (pretrained without labels).
        speed_head: head for the playback speed, or None.
        class_names: the actions, in the order of the logits; empty without a classifier.
        clips: plain numbers that describe the clips to feed (length in frames, size in pixels, strides).

    Raises:
        ValueError: names and classifier do not agree, or a name occurs twice.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        classifier: ClassifierHead | None = None,
        speed_head: SpeedHead | None = None,
        class_names: Sequence[str] = (),
        clips: Mapping[str, int | float] | None = None,
    ) -> None:
        super().__init__()
        expected = 0 if classifier is None else classifier.num_classes
        if len(class_names) != expected:
            raise ValueError(f"{len(class_names)} class_names for a classifier of {expected} classes")
        if len(set(class_names)) != len(class_names):
            repeated = sorted({name for name in class_names if class_names.count(name) > 1})
            raise ValueError(f"class_names must differ, got {', '.join(repeated)} more than once")
        self.encoder = encoder
        self.classifier = classifier
        self.speed_head = speed_head
        self.class_names = tuple(class_names)
        self.clips: dict[str, int | float] = dict(clips or {})

    def forward(self, clips_BCTHW: torch.Tensor) -> torch.Tensor:
        """Logits `(B, num_classes)` of clips `(B, 3, T, H, W)` of floats in [0, 1].

        Raises:
            RuntimeError: the model has no classifier.
        """
        if self.classifier is None:
            raise RuntimeError(
                "this model has no classifier: it was trained without labels; run `sparsedense finetune`"
            )
        logits: torch.Tensor = self.classifier(self.features(clips_BCTHW))
        return logits

    def features(self, clips_BCTHW: torch.Tensor) -> torch.Tensor:
        """Pooled features `(B, feature_dim)`, for retrieval, kNN and linear probes."""
        return pool(self.encoder(clips_BCTHW))

    def quarter_features(self, clips_BCTHW: torch.Tensor) -> torch.Tensor:
        """Features of each quarter of a clip `(B, 4, feature_dim)`, for detection; `(B, 1, ...)` where there are none.

        Their mean is what `features` gives.
        """
        return quarter_features(self.encoder(clips_BCTHW), clips_BCTHW.shape[2])

    def with_classes(self, class_names: Sequence[str], *, dropout: float = 0.0) -> "Recogniser":
        """A recogniser with a new classifier on the *same* encoder and speed head (shared, not copied), for finetuning.

        Args:
            class_names: the new actions, in the order of the logits.
            dropout: of the new classifier.
        """
        return Recogniser(
            self.encoder,
            classifier=ClassifierHead(self.encoder.feature_dim, len(class_names), dropout),
            speed_head=self.speed_head,
            class_names=class_names,
            clips=self.clips,
        )

    def with_speeds(self, num_speeds: int) -> "Recogniser":
        """A recogniser with a new speed head on the *same* encoder and classifier (shared, not copied).

        Args:
            num_speeds: how many speeds the new head tells apart, or 1 for a score.
        """
        return Recogniser(
            self.encoder,
            classifier=self.classifier,
            speed_head=SpeedHead(self.encoder.feature_dim, num_speeds),
            class_names=self.class_names,
            clips=self.clips,
        )


def build_recogniser(
    encoder_config: EncoderConfig,
    class_names: Sequence[str] = (),
    *,
    clips: Mapping[str, int | float] | None = None,
    speed_head: bool = True,
    num_speeds: int = 2,
    dropout: float = 0.0,
) -> Recogniser:
    """A recogniser with random weights; seed torch before for repeatable ones.

    Args:
        encoder_config: depth, width, stride and input mode.
        class_names: the actions; none means no classifier.
        clips: plain numbers that describe the clips to feed.
        speed_head: whether to have a head for the playback speed.
        num_speeds: how many speeds it tells apart.
        dropout: of the classifier.
    """
    encoder = Encoder(encoder_config)
    return Recogniser(
        encoder,
        classifier=ClassifierHead(encoder.feature_dim, len(class_names), dropout) if class_names else None,
        speed_head=SpeedHead(encoder.feature_dim, num_speeds) if speed_head else None,
        class_names=class_names,
        clips=clips,
    )
