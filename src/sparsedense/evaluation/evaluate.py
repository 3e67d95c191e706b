"""How good is a recogniser on the videos of a split.

Each video is judged by evenly spaced clips (10 by default), centre crop, softmax averaged over them; beside it stands
the accuracy of the one centred clip.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparsedense.data.remote_store import open_store
from sparsedense.data.store import FrameStore
from sparsedense.evaluation.examples import write_examples
from sparsedense.evaluation.inference import Progress, clip_outputs, fast_features
from sparsedense.evaluation.metrics import summarise
from sparsedense.models.model_file import load_model
from sparsedense.models.recogniser import Recogniser


class ClassMismatchError(ValueError):
    """A model and a store that were made for different classes."""


@dataclass(frozen=True)
class Evaluation:
    """Results on one split; all shares are in 0..1, precision, recall and F1 are macro means.

    Attributes:
        accuracy: of videos, softmax averaged over their clips.
        clip_accuracy: of the one centred clip of each video.
        per_class: for each class its name, number of videos, precision, recall and F1.
        confusion: counts, rows are true classes, columns predicted ones.
        examples: pictures of clips that went right and wrong, where they were asked for.
    """

    accuracy: float
    accuracy_top5: float
    clip_accuracy: float
    precision: float
    recall: float
    f1: float
    videos: int
    split: str
    clips_per_video: int
    class_names: list[str]
    per_class: list[dict[str, Any]]
    confusion: list[list[int]]
    examples: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def evaluate(
    model: Recogniser | str | Path,
    store: FrameStore | str | Path,
    *,
    split: str = "test",
    clips_per_video: int = 10,
    out: str | Path | None = None,
    num_examples: int = 12,
    num_workers: int = 1,
    precision: str = "float32",
    progress: Progress | None = None,
) -> Evaluation:
    """Judge a recogniser by the labelled videos of a split.

    Args:
        model: recogniser or its file.
        store: frame store, or its folder or URL.
        split: which videos.
        clips_per_video: evenly spaced clips a video.
        out: folder to write `evaluation.json` and the pictures of examples into.
        num_examples: how many pictures.
        num_workers: processes that read clips.
        precision: of the encoder: `float32`, for the same figures on every machine; `bfloat16`, or `auto` for what the
            device is faster in, as `predict` does.
        progress: called with clips done and clips in all.

    Raises:
        ClassMismatchError: the store's classes are not the model's.
        ValueError: the split has no labelled video, or the precision is not known.
    """
    recogniser = model if isinstance(model, Recogniser) else load_model(model)
    frame_store = store if isinstance(store, FrameStore) else open_store(store)
    check_classes(recogniser.class_names, frame_store)
    videos = frame_store.videos(split=split, labelled=True)
    if not len(videos):
        splits = sorted(set(frame_store.splits.tolist()))
        raise ValueError(f"{frame_store.path}: no labelled video in the split {split!r}; it has {', '.join(splits)}")
    labels = torch.from_numpy(frame_store.label_ids[videos])
    features, classifier = fast_features(recogniser, precision), recogniser.classifier
    assert classifier is not None, "a model with classes"

    def clip_probabilities(num_clips: int) -> Tensor:
        logits = clip_outputs(
            recogniser,
            frame_store,
            videos,
            lambda clips_BCTHW: classifier(features(clips_BCTHW)),
            num_clips=num_clips,
            num_workers=num_workers,
            progress=progress,
        )
        return logits.softmax(dim=-1)

    all_clips = clip_probabilities(clips_per_video)
    # Evenly spaced clips have the centred one among them if their number is odd.
    centre = all_clips[:, clips_per_video // 2] if clips_per_video % 2 else clip_probabilities(1)[:, 0]
    probabilities = all_clips.mean(dim=1)
    result = _summary(probabilities, centre, labels, frame_store, split, clips_per_video)
    if out is not None:
        examples = write_examples(Path(out), frame_store, videos, probabilities, labels, number=num_examples)
        result = replace(result, examples=examples)
        result.save(Path(out) / "evaluation.json")
    return result


def check_classes(class_names: Sequence[str], store: FrameStore) -> None:
    """Make sure that a model's and a store's classes are the same, in the same order.

    Raises:
        ClassMismatchError: they are not; the message names what is missing where.
    """
    if tuple(class_names) == tuple(store.class_names):
        return
    if not class_names:
        raise ClassMismatchError(
            "the model has no classifier: it was pretrained only; run `sparsedense finetune` first"
        )
    missing = [name for name in class_names if name not in store.class_names]
    unknown = [name for name in store.class_names if name not in class_names]
    raise ClassMismatchError(
        f"the model knows {len(class_names)} classes, the store {store.path} was made for {len(store.class_names)}"
        + (f"; not in the store: {_listed(missing)}" if missing else "")
        + (f"; unknown to the model: {_listed(unknown)}" if unknown else "")
        + ("; they are the same in another order" if not missing and not unknown else "")
        + ". Prepare a store with the model's classes, or train a model on this store: "
        f"`sparsedense finetune {store.path} --init MODEL`"
    )


def _summary(
    probabilities: Tensor, centre: Tensor, labels: Tensor, store: FrameStore, split: str, clips_per_video: int
) -> Evaluation:
    metrics = summarise(probabilities, labels)
    counts = torch.bincount(labels, minlength=len(store.class_names))
    per_class = [
        {
            "name": name,
            "videos": int(counts[index]),
            "precision": float(metrics.precision_per_class[index]),
            "recall": float(metrics.recall_per_class[index]),
            "f1": float(metrics.f1_per_class[index]),
        }
        for index, name in enumerate(store.class_names)
    ]
    return Evaluation(
        accuracy=metrics.accuracy,
        accuracy_top5=metrics.accuracy_top5,
        clip_accuracy=float((centre.argmax(dim=1) == labels).float().mean()),
        precision=metrics.precision,
        recall=metrics.recall,
        f1=metrics.f1,
        videos=len(labels),
        split=split,
        clips_per_video=clips_per_video,
        class_names=list(store.class_names),
        per_class=per_class,
        confusion=metrics.confusion.tolist(),
    )


def _listed(names: Sequence[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
