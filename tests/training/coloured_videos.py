"""Long videos in which colours are the actions, and a network that sees colours, for tests of detection heads."""

from pathlib import Path

import numpy as np

from sparsedense.actors.untrimmed import Segment, write_annotations
from sparsedense.models.model_file import save_model
from sparsedense.prediction.long_videos import LongVideoModel
from sparsedense.prediction.video_recogniser import VideoRecogniser, load_model
from sparsedense.video.write import write_video
from tests.evaluation.colour_model import tiny_recogniser

FPS = 10.0
_SPLITS = ["training"] * 6 + ["validation"] * 2 + ["testing"] * 2


def write_coloured_videos(folder: Path, *, short: bool = True) -> Path:
    """Ten videos of 16 s with two actions each, and two of which nothing is told, one of them shorter than a clip."""
    rng = np.random.default_rng(0)
    rows: list[tuple[str, str, float, list[Segment]]] = []
    for number, subset in enumerate(_SPLITS):
        frames = np.full((160, 24, 32, 3), 100, dtype=np.uint8)
        segments: list[Segment] = []
        for label, channel, earliest in (("red", 0, 10), ("blue", 2, 90)):
            start = earliest + int(rng.integers(0, 20))
            end = start + int(rng.integers(25, 45))
            frames[start:end, ..., channel] = 230
            segments.append((label, start, end))
        write_video(folder / f"video{number}.mp4", iter(frames), fps=FPS)
        rows.append((f"video{number}", subset, 16.0, segments))
    if short:
        for name, length in (("nothing", 90), ("short", 3)):
            write_video(folder / f"{name}.mp4", iter(np.full((length, 24, 32, 3), 100, dtype=np.uint8)), fps=FPS)
            rows.append((name, "training", length / FPS, []))
    write_annotations(folder / "annotations.json", rows, fps=FPS)
    return folder


def write_model(path: Path) -> Path:
    """An untrained network, whose features tell colours from each other all the same."""
    save_model(path, tiny_recogniser(), provenance={"store": {"short_side": 24, "median_frames": 64.0}})
    return path


def load(path: Path) -> tuple[VideoRecogniser, LongVideoModel]:
    """A model and what scanning needs of it."""
    recogniser = load_model(path, device="cpu")
    return recogniser, recogniser.long_video_model()
