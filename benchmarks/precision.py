"""What answering in bfloat16 changes: logits, probabilities and accuracy of models on a store, against float32.

    python benchmarks/precision.py runs/demo/store runs/demo/finetune/*/model.safetensors

Each clip is read once and goes through both; a video's answer is the mean over its clips. It runs anywhere, but only
where `models.precision.cpu_gains_by_bfloat16` is bfloat16 faster.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sparsedense.data.store import FrameStore
from sparsedense.evaluation.inference import clip_outputs
from sparsedense.prediction.video_recogniser import load_model


@dataclass(frozen=True)
class Change:
    """What changes for one model.

    Attributes:
        largest_logit, mean_logit: difference of a clip's logits.
        logit_std: spread of the logits, to compare with.
        largest_probability: difference of a video's probabilities.
        changed_clips, changed_videos: share whose most probable class is another one.
        accuracy, rounded_accuracy: of videos, in float32 and in bfloat16.
    """

    largest_logit: float
    mean_logit: float
    logit_std: float
    largest_probability: float
    changed_clips: float
    changed_videos: float
    accuracy: float
    rounded_accuracy: float


def change_of(path: Path, store: FrameStore, split: str, clips_per_video: int) -> Change:
    """Let a model answer in both ways."""
    exact, rounded = (load_model(path, device="cpu", precision=name) for name in ("float32", "bfloat16"))
    videos = store.videos(split=split, labelled=True)
    labels_N = torch.from_numpy(store.label_ids[videos])

    def both(clips_BCTHW: Tensor) -> Tensor:
        return torch.cat([exact.logits(clips_BCTHW), rounded.logits(clips_BCTHW)], dim=1)

    logits_NML, rounded_NML = clip_outputs(exact, store, videos, both, num_clips=clips_per_video, num_workers=0).chunk(
        2, dim=2
    )
    difference_NML = (logits_NML - rounded_NML).abs()
    means_NL, rounded_NL = (each.softmax(dim=2).mean(dim=1) for each in (logits_NML, rounded_NML))
    answers_N, rounded_N = means_NL.argmax(dim=1), rounded_NL.argmax(dim=1)
    return Change(
        largest_logit=float(difference_NML.max()),
        mean_logit=float(difference_NML.mean()),
        logit_std=float(logits_NML.std()),
        largest_probability=float((means_NL - rounded_NL).abs().max()),
        changed_clips=float((logits_NML.argmax(dim=2) != rounded_NML.argmax(dim=2)).float().mean()),
        changed_videos=float((answers_N != rounded_N).float().mean()),
        accuracy=float((answers_N == labels_N).float().mean()),
        rounded_accuracy=float((rounded_N == labels_N).float().mean()),
    )


def main() -> None:
    """Compare and print a line for each model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--split", default="test")
    parser.add_argument("--clips-per-video", type=int, default=3)
    options = parser.parse_args()
    store = FrameStore(options.store)
    print("logits differ by at most, on average (their spread) | probabilities by at most | other class: clips, videos")
    for path in options.models:
        change = change_of(path, store, options.split, options.clips_per_video)
        print(
            f"{path}: {change.largest_logit:.3f}, {change.mean_logit:.4f} ({change.logit_std:.2f}) | "
            f"{change.largest_probability:.2%} | {change.changed_clips:.2%}, {change.changed_videos:.2%} | "
            f"accuracy {change.accuracy:.2%} -> {change.rounded_accuracy:.2%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
