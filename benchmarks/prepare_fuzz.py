"""Whether prepare survives broken files: fuzzed videos among good ones, none of which may be lost.

    python benchmarks/prepare_fuzz.py [--good 300] [--bad 300] [--workers 2] [--seed 0] [--json OUT] [--keep FOLDER]

Good files are of several codecs and containers. A bad one is a good one with bytes changed, cut out, repeated, zeroed
or cut off, or something that is no video at all. It must hold: every good video is stored with all its frames and
without a complaint, every bad file has a row, and one that is rejected has a reason; what is no video is rejected; the
run ends. Of the fuzzed files some decode without any complaint, because a codec has few means to notice; they are
counted.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.video import sample_videos as samples  # noqa: E402

from sparsedense.data.manifest import read_rows  # noqa: E402 (the path comes first)
from sparsedense.data.prepare import prepare  # noqa: E402

KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    (".mp4", {}),
    (".mp4", {"movflags": "faststart", "options": {"g": "5"}}),
    (".mkv", {"codec": "libx265", "options": {"x265-params": "log-level=none:pools=none:frame-threads=1"}}),
    (".avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
    (".webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}}),
    (".mpg", {"codec": "mpeg2video"}),
    (".ts", {}),
    (".mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    (".gif", {"codec": "gif", "pix_fmt": "rgb8"}),
    (".wmv", {"codec": "wmv2"}),
    (".flv", {"codec": "flv"}),
)
STALL_SECONDS = 20.0
Fuzz = Callable[[bytearray, np.random.Generator], bytes]


def place(data: bytearray, rng: np.random.Generator) -> int:
    """A byte of a file; every other time one of its header."""
    return int(rng.integers(0, len(data) if rng.random() < 0.5 else min(len(data), 600)))


def flip(data: bytearray, rng: np.random.Generator) -> bytes:
    """Other values for a few bytes."""
    for _ in range(int(rng.integers(1, 60))):
        data[place(data, rng)] = int(rng.integers(0, 256))
    return bytes(data)


def overwrite(data: bytearray, rng: np.random.Generator) -> bytes:
    """A stretch of zeros, of ones or of noise."""
    start, length = place(data, rng), int(rng.integers(4, 400))
    kind = rng.integers(0, 3)
    data[start : start + length] = (bytes(length), b"\xff" * length, rng.bytes(length))[kind]
    return bytes(data)


def cut_out(data: bytearray, rng: np.random.Generator) -> bytes:
    """A stretch missing."""
    start = place(data, rng)
    del data[start : start + int(rng.integers(1, 400))]
    return bytes(data)


def repeat(data: bytearray, rng: np.random.Generator) -> bytes:
    """A stretch twice."""
    start = place(data, rng)
    stretch = data[start : start + int(rng.integers(1, 400))]
    return bytes(data[:start] + stretch + data[start:])


def cut_off(data: bytearray, rng: np.random.Generator) -> bytes:
    """The end missing."""
    return bytes(data[: place(data, rng)])


def huge_numbers(data: bytearray, rng: np.random.Generator) -> bytes:
    """Sizes and counts of the header far too large."""
    for _ in range(int(rng.integers(1, 4))):
        start = int(rng.integers(0, min(len(data), 600)))
        data[start : start + 4] = bytes([int(rng.integers(0, 128)), 255, 255, 255])
    return bytes(data)


def no_video(_: bytearray, rng: np.random.Generator) -> bytes:
    """Nothing, text, zeros or noise."""
    texts = (b"", b"This is no video.\n" * 30, bytes(5000), rng.bytes(5000), b"\x00\x00\x01\xb3" + rng.bytes(20))
    return texts[int(rng.integers(0, len(texts)))]


FUZZES: tuple[Fuzz, ...] = (flip, overwrite, cut_out, repeat, cut_off, huge_numbers, no_video)


def write_good(folder: Path, count: int) -> dict[str, int]:
    """Good files of all kinds, of 8 to 30 frames; returns the number of frames of each name."""
    frames = {}
    for number in range(count):
        suffix, settings = KINDS[number % len(KINDS)]
        path = folder / f"good{number:04d}{suffix}"
        frames[f"unlabelled/{path.name}"] = 8 + number % 23
        samples.write_encoded(path, 8 + number % 23, **settings)
    return frames


def write_bad(folder: Path, count: int, *, rng: np.random.Generator) -> dict[str, str]:
    """Fuzzed copies of good files; returns what was done to each name."""
    models = sorted(folder.iterdir())
    done = {}
    for number in range(count):
        model = models[number % len(models)]
        fuzz = FUZZES[int(rng.integers(0, len(FUZZES)))]
        path = folder / f"bad{number:04d}{model.suffix}"
        path.write_bytes(fuzz(bytearray(model.read_bytes()), rng))
        done[f"unlabelled/{path.name}"] = fuzz.__name__
    return done


def check(store: Path, good: dict[str, int], bad: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """What became of the files, and what must not be."""
    rows = {row.path: row for row in read_rows(store)}
    wrong = [f"{name}: no row" for name in {**good, **bad} if name not in rows]
    for name, num_frames in good.items():
        row = rows[name]
        if (row.status, row.reason, row.num_frames) != ("ok", None, num_frames):
            wrong.append(f"{name}: {row.status}, {row.num_frames} of {num_frames} frames, {row.reason}")
    fates: Counter[str] = Counter()
    for name, fuzz in bad.items():
        row = rows[name]
        if row.status == "rejected" and not row.reason:
            wrong.append(f"{name}: rejected without a reason")
        if fuzz == "no_video" and row.status == "ok":
            wrong.append(f"{name}: no video, and yet stored")
        fates["rejected" if row.status == "rejected" else "kept in part" if row.reason else "no complaint"] += 1
    reasons = Counter(str(rows[name].reason).split(" (")[0] for name in bad)
    crashed = sum(count for reason, count in reasons.items() if "crashed" in reason)
    stalled = sum(count for reason, count in reasons.items() if "no frame for" in reason)
    result = {"good": len(good), "bad": len(bad), **fates, "crashed decoders": crashed, "hung decoders": stalled}
    return {**result, "reasons": dict(reasons.most_common(12))}, wrong


def run(root: Path, arguments: argparse.Namespace) -> int:
    """Write the files, prepare them, and tell."""
    folder = root / "source" / "unlabelled"
    folder.mkdir(parents=True)
    good = write_good(folder, arguments.good)
    bad = write_bad(folder, arguments.bad, rng=np.random.default_rng(arguments.seed))
    start = time.perf_counter()
    prepare(root / "source", root / "store", short_side=48, workers=arguments.workers, stall_seconds=STALL_SECONDS)
    result, wrong = check(root / "store", good, bad)
    result["seconds"] = round(time.perf_counter() - start, 1)
    for name, value in result.items():
        print(f"{name}: {value}")
    print("\n".join(wrong) or "every good one is in, every bad one is listed")
    if arguments.json:
        arguments.json.write_text(json.dumps({**result, "wrong": wrong}, indent=2) + "\n")
    return 1 if wrong else 0


def main() -> int:
    """Run once; returns 1 where something must not be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--good", type=int, default=300)
    parser.add_argument("--bad", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="a new folder for the files, which are removed otherwise")
    arguments = parser.parse_args()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True)
        return run(arguments.keep, arguments)
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), arguments)


if __name__ == "__main__":
    sys.exit(main())
