"""Videos for benchmarks: pictures with the fine and coarse detail of real ones, that move.

The spectrum of a photograph falls as about 1/f; so does that of these, and JPEG and H.264 find as much in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsedense.video.write import write_video


def film(folder: Path, *, videos: int, frames: int, height: int = 240, width: int = 320) -> list[Path]:
    """Write H.264 videos, and leave alone those that are there.

    Args:
        folder: folder of a class folder `film`.
        videos: how many.
        frames: frames of each.
        height: height in pixels.
        width: width in pixels.
    """
    paths = [folder / "film" / f"{number:04d}.mp4" for number in range(videos)]
    for number, path in enumerate(paths):
        if not path.exists():
            write_video(path, footage(frames, height, width, seed=number), crf=23)
    return paths


def footage(num_frames: int, height: int, width: int, *, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Frames (H, W, 3) of a camera that pans over a picture, and a smaller picture that moves before it."""
    rng = np.random.default_rng(seed)
    background, front = picture(height + 60, width + 100, rng), picture(height // 3, width // 4, rng)
    for number in range(num_frames):
        top, left = int(25 + 20 * np.cos(number / 41)), int(40 + 35 * np.sin(number / 30))
        frame = background[top : top + height, left : left + width].copy()
        y = int(height / 3 * (1 + 0.9 * np.sin(number / 23)))
        x = int(width / 3 * (1 + 0.9 * np.sin(number / 17)))
        frame[y : y + front.shape[0], x : x + front.shape[1]] = front
        noise = rng.integers(-3, 4, frame.shape, dtype=np.int16)
        yield np.clip(frame + noise, 0, 255).astype(np.uint8)


def picture(height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Noise (H, W, 3) whose amplitudes fall with the frequency, in three colours that are alike."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency[0, 0] = 1
    grey = rng.standard_normal((height, width))
    channels = []
    for _ in range(3):
        white = 0.8 * grey + 0.2 * rng.standard_normal((height, width))
        soft = np.fft.ifft2(np.fft.fft2(white) / frequency**1.2).real
        channels.append(128 + 45 * (soft - soft.mean()) / soft.std())
    colours: NDArray[np.uint8] = np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)
    return colours
