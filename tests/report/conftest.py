"""Synthetic run folders, written as the training and the evaluation write them."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ACTIONS = (
    "sit_down", "stand_up", "raise_arm", "lower_arm", "push", "pull", "clockwise", "anticlockwise", "wave", "jump",
    "kick", "punch", "clap", "squat", "throw", "catch",
)  # fmt: skip
CONFIG = "recipe: demo\nclips:\n  length: 16\n  size: 64\ntraining:\n  epochs: 12\n  batch_size: 13\n"

MakeRun = Callable[..., Path]


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def write_picture(path: Path, *, width: int = 400, height: int = 60, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.linspace(0, 1, width)[None, :] * np.ones((height, 1))
    y = np.linspace(0, 1, height)[:, None] * np.ones((1, width))
    picture = np.stack([80 + 90 * x, 120 + 60 * y, 90 + 60 * np.sin(9 * x + seed)], axis=-1)
    for frame in range(5):
        centre = (int((frame + 0.5) * width / 5) + 6 * (frame - 2), height // 2)
        cv2.circle(picture, centre, height // 5, (40, 40, 200), -1)
    cv2.imwrite(str(path), picture.astype(np.uint8))


def write_metrics(folder: Path, *, epochs: int, top: float, first: float, pretext: bool, seed: int = 0) -> None:
    rng, lines = np.random.default_rng(seed), []
    for epoch in range(epochs):
        done = (epoch + 1) / epochs
        train: dict[str, object] = {"kind": "train", "epoch": epoch, "step": 30 * (epoch + 1), "loss": 2.8 - 2 * done}
        train |= {"learning_rate": 1e-3 * (1 - 0.9 * done), "clips_per_second": 61 + rng.normal(), "data_wait": 0.03}
        if pretext:
            train |= {"loss_speed": 0.71 - 0.5 * done, "loss_consistency": 0.12 - 0.07 * done + rng.normal() * 0.004}
            train |= {"speed_accuracy": 0.5 + 0.4 * done, "weight_speed": float(math.exp(-3 * max(0, done - 0.4) ** 2))}
            train |= {"weight_consistency": float(math.exp(-20 * (done - 0.6) ** 2))}
            train |= {"weight_classification": float(done > 0.6)}
        else:
            train |= {"loss_classification": 2.7 - 2.2 * done}
        lines.append(train)
        accuracy = float(np.clip(first + (top - first) * done**0.5 + rng.normal() * 0.015, 0, 1))
        if not pretext or done > 0.6:
            scores = {"accuracy": accuracy, "accuracy_top5": min(1.0, accuracy + 0.25), "f1": accuracy - 0.03}
            lines.append(
                {"kind": "validation", "epoch": epoch, "step": 30 * (epoch + 1), "loss": 3 - 2 * done, **scores}
            )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")


def write_evaluation(folder: Path, *, class_names: Sequence[str], accuracy: float, seed: int = 0) -> None:
    rng, per_class = np.random.default_rng(seed), 20
    confusion = np.zeros((len(class_names), len(class_names)), dtype=int)
    for label in range(len(class_names)):
        for _ in range(per_class):
            other = label ^ 1 if label ^ 1 < len(class_names) and rng.random() < 0.6 else rng.integers(len(class_names))
            confusion[label, label if rng.random() < accuracy else other] += 1
    right, predicted = np.diag(confusion), confusion.sum(axis=0)
    rows: list[dict[str, Any]] = [
        {"name": name, "videos": per_class, "precision": float(right[i] / max(predicted[i], 1)),
         "recall": float(right[i] / per_class), "f1": float(2 * right[i] / (predicted[i] + per_class))}
        for i, name in enumerate(class_names)
    ]  # fmt: skip
    examples = []
    for i in range(6):
        name, answer = class_names[i % len(class_names)], class_names[(i if i < 3 else i + 1) % len(class_names)]
        write_picture(folder / f"examples/{i:03d}.png", seed=i)
        examples.append({"image": f"examples/{i:03d}.png", "path": f"test/{name}/actor07_{i:03d}.mp4", "label": name,
                         "predicted": answer, "probability": 0.9 - 0.08 * i, "correct": name == answer})  # fmt: skip
    scores = {key: float(np.mean([row[key] for row in rows])) for key in ("precision", "recall", "f1")}
    videos = int(confusion.sum())
    write_json(folder / "evaluation.json", {
        "accuracy": float(right.sum() / videos), "accuracy_top5": 0.934, "clip_accuracy": 0.571, **scores,
        "videos": videos, "split": "test", "clips_per_video": 10, "class_names": list(class_names), "per_class": rows,
        "confusion": confusion.tolist(), "examples": examples,
    })  # fmt: skip


def write_environment(folder: Path, command: str) -> None:
    store = {"name": "store", "videos": 928, "classes": 16, "splits": {"train": 48, "unlabelled": 480, "test": 320}}
    write_json(folder / "environment.json", {
        "sparsedense": "0.1.0", "python": "3.11.7", "torch": "2.9.0", "lightning": "2.5.1", "platform": "Linux-6.1",
        "cpu": "AMD EPYC 7763", "cores": 2, "gpu": None, "command": command, "started": "2025-03-01T10:00:00+00:00",
        "seconds": 83.4, "store": store,
    })  # fmt: skip


@pytest.fixture
def make_run() -> MakeRun:
    """Write a whole run folder."""
    return whole_run


def whole_run(
    folder: Path,
    *,
    class_names: Sequence[str] = ACTIONS,
    epochs: int = 12,
    top: float = 0.62,
    first: float = 0.1,
    pretext: bool = True,
    evaluated: bool = True,
    seed: int = 0,
) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    write_environment(folder, f"sparsedense train store --out {folder.name}")
    write_metrics(folder, epochs=epochs, top=top, first=first, pretext=pretext, seed=seed)
    if evaluated:
        write_evaluation(folder, class_names=class_names, accuracy=top, seed=seed)
    return folder


@pytest.fixture
def make_comparison() -> MakeRun:
    """Write a whole comparison folder with its runs."""
    return whole_comparison


def whole_comparison(folder: Path, *, num_seeds: int = 3, **changes: object) -> Path:
    seeds = range(num_seeds)
    whole_run(folder / "pretrain", evaluated=False, epochs=8)
    runs: dict[str, object] = {"pretrain": "pretrain"}
    for arm, first, top in (("scratch", 0.08, 0.41), ("pretrained", 0.31, 0.62)):
        names = [f"finetune/{arm}-seed{seed}" for seed in seeds]
        for seed, name in enumerate(names):
            whole_run(folder / name, epochs=6, first=first, top=top, pretext=False, seed=seed)
        runs[arm] = names
    write_environment(folder, "sparsedense demo --out runs/demo")
    write_picture(folder / "views.png", width=640, height=200)
    write_picture(folder / "contact_sheet.png", width=640, height=400)
    results = {
        "arms": {"scratch": {"accuracy": [0.412, 0.437, 0.394], "f1": [0.39, 0.41, 0.37],
                             "accuracy_first_epoch": [0.081, 0.092, 0.075], "f1_first_epoch": [0.03, 0.04, 0.02]},
                 "pretrained": {"accuracy": [0.611, 0.634, 0.597], "f1": [0.60, 0.62, 0.58],
                                "accuracy_first_epoch": [0.281, 0.304, 0.312], "f1_first_epoch": [0.21, 0.24, 0.25]}},
        "difference": {"accuracy": {"mean": 0.1996, "low": 0.1873, "high": 0.2119},
                       "accuracy_first_epoch": {"mean": 0.2163, "low": 0.171, "high": 0.262},
                       "f1": {"mean": 0.21, "low": 0.20, "high": 0.22}},
        "knn": {"random": 0.091, "untrained": 0.181, "pretrained": 0.473},
        "labels_per_class": 3, "test_videos": 320, "seeds": list(seeds),
        "seconds": {"actors": 61.2, "prepare": 12.9, "pretrain": 190.0, "finetune": 141.0, "evaluate": 33.1},
        "controls": {"speed_accuracy": {"real": 0.871, "frozen": 0.506}}, "runs": runs,
    }  # fmt: skip
    for scores in results["arms"].values():  # type: ignore[attr-defined]
        scores.update({metric: values[:num_seeds] for metric, values in scores.items()})
    write_json(folder / "results.json", {key: value for key, value in (results | changes).items() if value is not None})
    return folder
