"""Detection on GMDCSA24, falls and daily activities of four people, by leaving one person out in turn.

For each person: the encoder of a model is fine-tuned and a head is trained on the videos of the three others, and both
ways of `detect` are judged on the videos of the person left out. Nothing is chosen by these: there are no validation
videos, so the last epoch counts and scores are not calibrated. The average precision is also told of all people's
segments together, because a person has one to four of most actions.

    python benchmarks/gmdcsa24.py FOLDER --init runs/demo/pretrain/model.safetensors --out runs/gmdcsa24
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av

from sparsedense.data.datasets import read_segments
from sparsedense.data.segments import AnnotatedVideo, SegmentAnnotation
from sparsedense.detection.average_precision import DetectionScore, detection_score
from sparsedense.detection.segments import DetectedSegment
from sparsedense.detection.timeline import write_timeline
from sparsedense.prediction.annotated_videos import evaluate_detection, find_annotated
from sparsedense.prediction.long_videos import DetectionSettings
from sparsedense.prediction.video_recogniser import load_model
from sparsedense.training.detection import finetune_detection
from sparsedense.training.detection_encoder import EncoderTraining
from sparsedense.training.detection_head import HeadTraining

METHODS = ("window", "head")
THRESHOLDS = (0.3, 0.5, 0.7)


def person_of(video: AnnotatedVideo) -> str:
    """Who is to be seen."""
    return video.video_id.split("_")[0]


def duration_seconds(path: Path) -> float:
    """Length of a video by its header."""
    with av.open(str(path)) as container:
        return (container.duration or 0) / av.time_base


def write_fold(folder: Path, videos: Sequence[AnnotatedVideo], person: str) -> None:
    """Links to the videos and annotations in which those of a person are the test."""
    folder.mkdir(parents=True, exist_ok=True)
    database = {}
    for video in videos:
        assert video.path is not None
        link = folder / f"{video.video_id}{video.path.suffix}"
        if not link.is_symlink():
            link.symlink_to(video.path.resolve())
        length = duration_seconds(video.path)
        annotations = [
            {"label": each.label, "segment": [each.start_seconds, min(each.end_seconds, length)]}
            for each in video.segments
            if each.start_seconds < length
        ]
        subset = "testing" if person_of(video) == person else "training"
        database[video.video_id] = {"subset": subset, "duration": length, "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps({"database": database}, indent=1) + "\n", encoding="utf-8")


def print_score(name: str, score: DetectionScore, note: str = "") -> None:
    """A line of the table."""
    values = "  ".join(f"{threshold:g}: {score.map_by_threshold[threshold]:6.1%}" for threshold in THRESHOLDS)
    print(f"{name:24} mAP at tIoU {values}  average 0.3-0.7: {score.average():6.1%}  {note}", flush=True)


def run_fold(out: Path, init: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train on three people, and detect in the videos of the fourth."""
    run = finetune_detection(
        out / "videos",
        out / "run",
        init=init,
        training=HeadTraining(epochs=options.head_epochs, seed=options.seed),
        encoder_training=EncoderTraining(epochs=options.encoder_epochs, seed=options.seed),
        device="cpu",
        overwrite=True,
    )
    model = load_model(run.model, device="cpu").long_video_model()
    test = find_annotated(out / "videos" / "annotations.json", out / "videos", "test")
    found: dict[str, Any] = {"truth": {each.video_id: each.segments for each in test}}
    for method in METHODS:
        result = evaluate_detection(model, test, DetectionSettings(method=method, effort=options.effort))
        print_score(f"{out.name}, {method}", result.score, f"{result.score.num_segments} segments")
        found[method] = {name: each.segments for name, each in result.detections.items()}
        for name, each in result.detections.items():
            shown = [segment for segment in each.segments if segment.score >= options.least_score]
            write_timeline(
                out / f"{name}-{method}.png",
                shown,
                duration_seconds=each.counts.duration_seconds,
                thumbnails=each.thumbnails,
                title=f"{name}, {method}: {told(found['truth'][name])}",
            )
    return found


def told(segments: Sequence[SegmentAnnotation]) -> str:
    """True segments in words."""
    return ", ".join(f"{each.label} {each.start_seconds:.1f}-{each.end_seconds:.1f} s" for each in segments)


def main() -> None:
    """Run all folds and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="the data set's folder")
    parser.add_argument("--init", type=Path, required=True, help="model file that saw none of the videos")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoder-epochs", type=int, default=6)
    parser.add_argument("--head-epochs", type=int, default=60)
    parser.add_argument("--effort", type=float, default=1.0)
    parser.add_argument("--least-score", type=float, default=0.3, help="of the segments in the timelines")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    annotated = read_segments("gmdcsa24", options.source)
    print(*annotated.notes, sep="\n")
    videos = [video for video in annotated.videos if video.path is not None]
    print(len(videos), "videos,", Counter(each.label for video in videos for each in video.segments).most_common())
    truth: dict[str, Sequence[SegmentAnnotation]] = {}
    found: dict[str, dict[str, Sequence[DetectedSegment]]] = {method: {} for method in METHODS}
    for person in sorted({person_of(video) for video in videos}):
        write_fold(options.out / person / "videos", videos, person)
        fold: Mapping[str, Any] = run_fold(options.out / person, options.init, options)
        truth |= fold["truth"]
        for method in METHODS:
            found[method] |= fold[method]
    for method in METHODS:
        score = detection_score(truth, found[method])
        print_score(f"all, {method}", score, f"{score.num_segments} segments")
        counts = Counter(each.label for segments in truth.values() for each in segments)
        each_action = (f"{label} {score.average_precision[label][0.5]:.1%} of {n}" for label, n in counts.most_common())
        print("  average precision at 0.5 of each action:", ", ".join(each_action))


if __name__ == "__main__":
    main()
