"""What an exported file says about itself: all that one must know to feed it and to read its answers.

Metadata are strings by name, so each entry is JSON. `preprocessing` is for people, and for programs in other languages;
the other entries are what this package reads.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sparsedense.data.clip_config import ClipConfig
from sparsedense.detection.calibration import Calibration, calibration_of
from sparsedense.export.errors import ExportFileError
from sparsedense.prediction.video_model import DEFAULT_CLIPS_PER_VIDEO, VideoModel

FORMAT_KEY = "sparsedense_export"  # its presence says that sparsedense wrote the file; its value is the format version
FORMAT_VERSION = 2
PREPROCESSING_KEY = "preprocessing"
INPUT_NAME, LOGITS_NAME, FEATURES_NAME = "clips", "logits", "features"
# Of each quarter of a clip's time, or of the whole as one where the network does not tell quarters apart.
QUARTER_LOGITS_NAME, QUARTER_FEATURES_NAME = "quarter_logits", "quarter_features"


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """A model, but for its weights.

    Attributes:
        class_names: the actions, in the order of the logits; empty for a model that gives features only.
        clips: plain numbers that describe the clips to feed.
        short_side: shorter side in pixels that frames are scaled down to before they are cropped.
        feature_dim: numbers of a feature vector.
        calibration: how scores become probabilities in `detect`: temperature, background and more.
        training_stride_frames: stride of the clips that it was trained on, where that is known.
        provenance: what made the model.
    """

    class_names: tuple[str, ...]
    clips: dict[str, int | float]
    short_side: int
    feature_dim: int
    calibration: dict[str, Any]
    training_stride_frames: float | None
    provenance: dict[str, object] = field(default_factory=dict)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the file computes, in this order."""
        features = (FEATURES_NAME, QUARTER_FEATURES_NAME)
        return (LOGITS_NAME, QUARTER_LOGITS_NAME, *features) if self.class_names else features

    @property
    def clip_config(self) -> ClipConfig:
        """The clips to feed."""
        return ClipConfig(**self.clips)  # type: ignore[arg-type]

    def read_calibration(self) -> Calibration:
        """The calibration as an object."""
        return calibration_of(self.calibration)

    def as_metadata(self) -> dict[str, str]:
        """As strings by name."""
        content: dict[str, object] = {FORMAT_KEY: FORMAT_VERSION, PREPROCESSING_KEY: preprocessing(self)}
        content |= {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: json.dumps(value) for name, value in content.items()}


def describe(model: VideoModel, provenance: Mapping[str, object]) -> ModelDescription:
    """What an exported file of a model has to say."""
    return ModelDescription(
        class_names=tuple(model.class_names),
        clips=dict(model.clips),
        short_side=model.short_side,
        feature_dim=model.feature_dim,
        calibration=model.calibration.as_plain(),
        training_stride_frames=model.training_stride_frames,
        provenance=dict(provenance),
    )


def description_of(metadata: Mapping[str, str], source: object) -> ModelDescription:
    """The inverse of `ModelDescription.as_metadata`.

    Args:
        metadata: strings by name.
        source: the file, for errors.

    Raises:
        ExportFileError: they are not of `sparsedense export`, damaged, or of a version that is not known.
    """
    if FORMAT_KEY not in metadata:
        raise ExportFileError(
            f"{source}: it does not say how to prepare videos for it; give a file that `sparsedense export` wrote"
        )
    if metadata[FORMAT_KEY] != json.dumps(FORMAT_VERSION):
        raise ExportFileError(
            f"{source}: export format {metadata[FORMAT_KEY]}, this version reads {FORMAT_VERSION}; export it again"
        )
    try:
        plain = {each.name: json.loads(metadata[each.name]) for each in fields(ModelDescription)}
        description = ModelDescription(**plain | {"class_names": tuple(plain["class_names"])})
        # What cannot be is told here, with the name of the file.
        description.read_calibration()
        description.clip_config.evaluation_indices(1, 1)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ExportFileError(f"{source}: its metadata are damaged ({error}); export the model again") from error
    return description


def preprocessing(description: ModelDescription) -> dict[str, object]:
    """How videos become the input of a model and its output an answer, in words and numbers."""
    clips = description.clip_config
    length, size = clips.length, clips.size
    shape = ["batch", 3, length, size, size]
    stride = clips.evaluation_stride_frames
    return {
        "input": {"name": INPUT_NAME, "shape": shape, "type": "float32", "range": [0, 1], "colours": "RGB"},
        "axes": "clip, colour, frame, row, column; any number of clips, all else is fixed",
        "frames": [
            "decode upright RGB frames of 8 bits",
            f"scale those with a shorter side above {description.short_side} pixels down to it, keeping the aspect",
            "cut the largest square out of the middle",
            f"resize it to {size} x {size} pixels: bilinear, antialiased, in 8 bits",
            "divide by 255; mean, deviation and frame differences are inside the model",
        ],
        "sampling": {
            "frames": length,
            "stride_frames": stride if stride is not None else f"frames of the video / {length * clips.skip_ratio:g}",
            "clips_per_video": DEFAULT_CLIPS_PER_VIDEO,
            "rule": "clips start at even distances from the first frame to the last start that fits, a single one is "
            "centred; frame i of a clip is floor(start + i * stride); a short video gets the largest stride that fits",
        },
        "outputs": {
            **(_logit_shapes(len(description.class_names)) if description.class_names else {}),
            FEATURES_NAME: ["batch", description.feature_dim],
            QUARTER_FEATURES_NAME: ["batch", "quarters", description.feature_dim],
        },
        "answer": "softmax of the logits of each clip, then the mean over the clips of a video",
    }


def _logit_shapes(num_classes: int) -> dict[str, list[str | int]]:
    return {LOGITS_NAME: ["batch", num_classes], QUARTER_LOGITS_NAME: ["batch", "quarters", num_classes]}
