"""Pictures of clips that went right and wrong, as strips of frames, for the report."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.store import FrameStore

FRAMES_A_STRIP = 6
STRIP_HEIGHT = 96


def write_examples(
    out: Path,
    store: FrameStore,
    video_ids: NDArray[np.int64],
    probabilities_NL: Tensor,
    labels_N: Tensor,
    *,
    number: int,
) -> list[dict[str, Any]]:
    """Write film strips of the most confident mistakes and of as many right answers.

    Args:
        out: folder; the pictures go into its `examples/`.
        store: where the frames are.
        video_ids: the N videos.
        probabilities_NL: what the model said of them.
        labels_N: what is true.
        number: how many pictures at most, half of each kind where there are enough.

    Returns:
        For each picture its file, video, true and predicted label, probability and whether it was right.
    """
    folder = out / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.png"):
        stale.unlink()
    examples: list[dict[str, Any]] = []
    for row in _choose(probabilities_NL, labels_N, number):
        predicted = int(probabilities_NL[row].argmax())
        image = folder / f"{len(examples):03d}.png"
        cv2.imwrite(str(image), film_strip(store, int(video_ids[row]))[..., ::-1])
        examples.append(
            {
                "image": f"examples/{image.name}",
                "path": store.paths[int(video_ids[row])],
                "label": store.class_names[int(labels_N[row])],
                "predicted": store.class_names[predicted],
                "probability": float(probabilities_NL[row, predicted]),
                "correct": predicted == int(labels_N[row]),
            }
        )
    return examples


def film_strip(store: FrameStore, video_id: int) -> NDArray[np.uint8]:
    """Evenly spaced frames of a video side by side, RGB (STRIP_HEIGHT, W, 3)."""
    last = int(store.num_frames[video_id]) - 1
    indices = np.linspace(0, last, FRAMES_A_STRIP).round().astype(np.int64)
    frames = store.read(video_id, indices).permute(1, 2, 3, 0).numpy()
    width = max(1, round(frames.shape[2] * STRIP_HEIGHT / frames.shape[1]))
    gap = np.full((STRIP_HEIGHT, 2, 3), 255, dtype=np.uint8)
    parts = [cv2.resize(frame, (width, STRIP_HEIGHT), interpolation=cv2.INTER_CUBIC) for frame in frames]
    return np.hstack([piece for part in parts for piece in (part, gap)][:-1]).astype(np.uint8)


def _choose(probabilities_NL: Tensor, labels_N: Tensor, number: int) -> list[int]:
    confidence, predicted = probabilities_NL.max(dim=1)
    order = confidence.argsort(descending=True)
    right = predicted[order] == labels_N[order]
    wrong_rows, right_rows = order[~right].tolist(), _one_a_class(order[right], labels_N)
    half = min(number // 2, len(wrong_rows))
    return right_rows[: number - half] + wrong_rows[:half]


def _one_a_class(order: Tensor, labels_N: Tensor) -> list[int]:
    """The same rows, those of classes not shown yet first."""
    seen: set[int] = set()
    first: list[int] = []
    later: list[int] = []
    for row in order.tolist():
        label = int(labels_N[row])
        (later if label in seen else first).append(row)
        seen.add(label)
    return first + later
