"""Synthetic folders of studies, written as `sparsedense compare` writes them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

GATE_NAMES = (
    "every loss reaches the encoder", "speed is told by motion", "the pretext beats guessing",
    "nearest neighbours beat untrained weights", "a linear probe beats untrained weights",
    "fine-tuning beats the baseline",
)  # fmt: skip
THRESHOLDS = (
    "above 0 for every objective", "real at least 70 %, frozen 50 % ± 5 points, re-encoded within 5 points of real",
    "loss at most 0.8 of guessing", "above the untrained network", "above the untrained network",
    "95 % interval above 0 over at least 5 pairs",
)  # fmt: skip
LOSSES = {"alignment": (1.39, 0.55), "contrast": (2.77, 0.8), "speed": (0.69, 0.2)}


def whole_study(
    folder: Path,
    *,
    arms: Sequence[str] = ("scratch", "sparsedense", "speed"),
    labels: Sequence[int | None] = (3, 10, None),
    num_seeds: int = 5,
    validated: bool = True,
    **changes: object,
) -> Path:
    """Write results, gates, logs and environment; the later an arm stands, the smaller its gain."""
    folder.mkdir(parents=True)
    baseline, others = arms[0], arms[1:]
    pretrain = {arm: [f"pretrain/{arm}-store-seed{seed}" for seed in range(num_seeds)] for arm in others}
    for position, arm in enumerate(others):
        for seed, name in enumerate(pretrain[arm]):
            write_pretraining(folder / name, strength=1 - 0.12 * position, seed=seed)
    runs = [name for names in pretrain.values() for name in names]
    runs += [
        f"finetune/{arm}-store-{'all' if count is None else count}-seed{seed}"
        for arm in arms for count in labels for seed in range(num_seeds)
    ]  # fmt: skip
    results: dict[str, Any] = {
        "kind": "study", "arms": list(arms), "baseline": baseline,
        "stores": [{"name": "store", "classes": 16, "train": 640, "val": 64 * validated, "test": 320}],
        "seeds": list(range(num_seeds)),
        "labels": [{"labels_per_class": count, "videos_per_class": count or 40.0} for count in labels],
        "clips_per_video": 10,
        "summaries": [
            summary(arm, position, count, moment, num_seeds, chosen=validated and position == 1)
            for count in labels for moment in ("first_epoch", "end") for position, arm in enumerate(arms)
        ],
        "probes": {arm: [probe(position, seed) for seed in range(num_seeds)] for position, arm in enumerate(others)},
        "pretrain": {baseline: [], **pretrain}, "runs": runs, "failed": {},
        "jobs": {"done": 40, "all": 40}, "seconds": {"pretrain": 1830.0, "finetune": 940.0},
    }  # fmt: skip
    gates = [gate for position, arm in enumerate(others) for gate in arm_gates(arm, position)]
    (folder / "results.json").write_text(json.dumps(results | changes), encoding="utf-8")
    (folder / "gates.json").write_text(json.dumps({"gates": gates}), encoding="utf-8")
    command = "sparsedense compare ablation --store runs/store --out runs/ablation"
    (folder / "environment.json").write_text(json.dumps({"command": command, "torch": "2.9.0"}), encoding="utf-8")
    return folder


def summary(
    arm: str, position: int, labels: int | None, moment: str, num_seeds: int, *, chosen: bool
) -> dict[str, object]:
    """Accuracy of an arm, and its difference to the first arm of the study."""
    base = 0.08 + 0.02 * (labels or 40) ** 0.5 if moment == "first_epoch" else 0.2 + 0.09 * (labels or 40) ** 0.5
    gain = 0.0 if position == 0 else (0.3 - 0.05 * position) * (1.0 if labels == 3 else 0.4)
    reach = 0.03 + 0.004 * position
    test: dict[str, float] = {"mean": base + gain, "n": num_seeds}
    difference: dict[str, float] = {"mean": gain, "n": num_seeds}
    if num_seeds > 1:
        test |= {"low": base + gain - reach, "high": base + gain + reach}
        difference |= {"low": gain - reach, "high": gain + reach, "p": 0.0004 * position, "p_holm": 0.0008 * position}
    return {
        "arm": arm, "labels_per_class": labels, "moment": moment, "test": test, "f1": base + gain - 0.02,
        "validation": base + gain, "difference": None if position == 0 else difference, "best_on_validation": chosen,
    }  # fmt: skip


def probe(position: int, seed: int) -> dict[str, object]:
    """KNN and linear probe of one run, in the form of `Probe`."""
    rng = np.random.default_rng((position, seed))
    knn, linear = 0.8 - 0.09 * position + 0.02 * rng.random(), 0.9 - 0.08 * position + 0.02 * rng.random()
    return {
        "knn": {"model": knn, "random": 0.1, "untrained": 0.16 + 0.01 * seed},
        "linear": {"model": linear, "random": 0.2, "untrained": 0.31},
        "controls": {"real": 0.82, "frozen": 0.5, "shuffled": 0.71, "reencoded": 0.81},
    }  # fmt: skip


def arm_gates(arm: str, position: int) -> list[dict[str, object]]:
    """Six gates: the first arm passes them, the second fails one and lacks one, later ones fail more."""
    values = (0.0312, 0.82, 0.42, 0.8, 0.9, 0.25)
    gates: list[dict[str, object]] = []
    for number, (name, threshold, value) in enumerate(zip(GATE_NAMES, THRESHOLDS, values, strict=True), start=1):
        status = "pass"
        if position and number == 3:
            status = "not measured"
        elif position and number <= position + 1:
            status = "fail"
        finding = "no objective of the arm has a loss of guessing" if status == "not measured" else f"number {value}"
        gates.append({
            "number": number, "name": name, "arm": arm, "status": status, "threshold": threshold, "finding": finding,
            "value": None if status == "not measured" else value,
            "advice": "pretrain longer" if status == "fail" else "",
        })  # fmt: skip
    return gates


def write_pretraining(run: Path, *, strength: float, seed: int, epochs: int = 12) -> None:
    """The log of a pretraining."""
    run.mkdir(parents=True)
    rng, lines = np.random.default_rng(seed), []
    for epoch in range(epochs):
        done = strength * (epoch + 1) / epochs
        line: dict[str, object] = {"kind": "train", "epoch": epoch, "effective_rank": 4 + 20 * done + rng.normal()}
        for name, (first, last) in LOSSES.items():
            line[f"loss_{name}"] = first + (last - first) * done + 0.01 * rng.normal()
            line[f"guess_{name}"] = first
            line[f"gradient_{name}"] = 0.03 + 0.01 * rng.random()
        lines.append(json.dumps(line))
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
