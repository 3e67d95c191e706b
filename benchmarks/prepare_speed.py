"""How fast prepare is on one core, beside decoding alone.

    python benchmarks/prepare_speed.py [--videos 20] [--frames 250] [--repeats 5] [--short-side 128] [--json OUT]

Videos are H.264, 320x240, noisy enough that a frame takes about as many bytes as one of UCF101. Decoding alone is PyAV,
one thread, in order, every frame taken as a decoded picture and not converted. Prepare does all: hash, decode, scale,
JPEG, shards, journal. Both run in this process, alternately; the figure is the median of the ratios, and must be at
least 0.5. With --workers the same through that many processes, their start included. The ratio in processor time (of
--workers 0) is what remains where other work disturbs the clock on the wall.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from sparsedense.data.prepare import prepare  # noqa: E402 (the path comes first)
from sparsedense.video.write import write_video  # noqa: E402

LEAST = 0.5


def write_source(folder: Path, *, videos: int, frames: int) -> None:
    """Moving soft shapes under grain."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:240, :320]
    for number in range(videos):
        grain = rng.integers(-12, 13, (240, 320, 1))

        def picture(time: int, phase: int = number, grain: NDArray[np.int64] = grain) -> NDArray[np.uint8]:
            wave = np.sin(x / 23 + time / 5 + phase) + np.cos(y / 17 - time / 7)
            colours = np.stack([110 + 40 * wave, 120 + 30 * np.roll(wave, 40, 1), 100 - 35 * wave], axis=-1)
            frame: NDArray[np.uint8] = (colours + np.roll(grain, 3 * time, (0, 1))).clip(0, 255).astype(np.uint8)
            return frame

        write_video(folder / "unlabelled" / f"{number:03d}.mp4", map(picture, range(frames)), crf=23)


class Rate(NamedTuple):
    """Frames a second, of the clock on the wall and of this process's own."""

    wall: float
    cpu: float


class Watch:
    """Both clocks, from now on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def rate(self, frames: int) -> Rate:
        """How fast so many frames were."""
        return Rate(frames / (time.perf_counter() - self._wall), frames / (time.process_time() - self._cpu))


def decode(folder: Path) -> Rate:
    """Decoding alone."""
    count, watch = 0, Watch()
    for path in sorted(folder.rglob("*.mp4")):
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            count += sum(1 for _ in container.decode(video=0))
    return watch.rate(count)


def store(folder: Path, out: Path, *, workers: int, short_side: int, codec: str) -> Rate:
    """Prepare."""
    watch = Watch()
    summary = prepare(folder, out, workers=workers, short_side=short_side, codec=codec)
    rate = watch.rate(summary.frames)
    shutil.rmtree(out)
    return rate


def measure(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Alternate both."""
    source = root / "source"
    write_source(source, videos=arguments.videos, frames=arguments.frames)
    size = sum(path.stat().st_size for path in source.rglob("*.mp4"))
    settings = {"workers": arguments.workers, "short_side": arguments.short_side, "codec": arguments.codec}
    pairs = []
    for _ in range(arguments.repeats):
        alone = decode(source)
        pairs.append((alone, store(source, root / "store", **settings)))
    return {
        "bytes a frame": round(size / (arguments.videos * arguments.frames)),
        "decoding alone, frames/s": round(statistics.median(alone.wall for alone, _ in pairs)),
        "prepare, frames/s": round(statistics.median(whole.wall for _, whole in pairs)),
        "ratio": round(statistics.median(whole.wall / alone.wall for alone, whole in pairs), 3),
        "ratios": [round(whole.wall / alone.wall, 3) for alone, whole in pairs],
        "ratio in processor time": round(statistics.median(whole.cpu / alone.cpu for alone, whole in pairs), 3),
        **settings,
    }


def main() -> int:
    """Measure; returns 1 where prepare is too slow."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--short-side", type=int, default=128)
    parser.add_argument("--codec", default="jpeg")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments)
    for name, value in result.items():
        print(f"{name}: {value}")
    print(f"must be at least {LEAST}: {'met' if result['ratio'] >= LEAST else 'MISSED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["ratio"] >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
