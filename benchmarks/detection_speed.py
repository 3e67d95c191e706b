"""How much faster than the video plays `sparsedense detect` is, and whether its memory grows with the video's length.

R(2+1)D-18 with random weights on clips of 16 x 112 x 112, 320 x 240 H.264 at 25 frames a second, default effort. Each
length runs in a process of its own, whose peak memory is told. A long video is a short one, its packets written again
and again, so that it is made in seconds.

    python benchmarks/detection_speed.py --minutes 3,180 --json
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import av

from footage import footage
from sparsedense.data.clip_config import ClipConfig
from sparsedense.models.encoder import EncoderConfig
from sparsedense.models.model_file import save_model
from sparsedense.models.recogniser import build_recogniser
from sparsedense.video.write import write_video

FPS = 25
PIECE_SECONDS = 20


def write_long(piece: Path, path: Path, *, times: int) -> None:
    """Write the packets of a video so many times, one after the other."""
    with av.open(str(path), "w") as target:
        offset, stream = 0, None
        for _ in range(times):
            with av.open(str(piece)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue  # the empty packet that ends a file
                    packet.dts, packet.pts, packet.stream = packet.dts + offset, packet.pts + offset, stream
                    target.mux(packet)
                offset += video.duration or 0


def measure(model: Path, video: Path, effort: float, stride_frames: float | None) -> None:
    """Detect in this process, and print what it took."""
    from sparsedense.prediction.video_recogniser import load_model

    recogniser = load_model(model)
    started = time.perf_counter()
    detection = recogniser.detect([video], effort=effort, stride_frames=stride_frames)[0]
    seconds = time.perf_counter() - started
    if detection.error is not None:
        raise SystemExit(f"{video}: {detection.error}")
    found = {
        "seconds": seconds,
        "times_real_time": detection.counts.duration_seconds / seconds,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found | asdict(detection.counts)))


def main() -> None:
    """Measure each length in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=lambda text: [float(part) for part in text.split(",")], default=[1.0, 3.0])
    parser.add_argument("--effort", type=float, default=0.25)
    parser.add_argument("--stride-frames", type=float, help="of the finest clips; half of the training's if not given")
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        model, video = options.measure
        measure(model, video, options.effort, options.stride_frames)
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        model, piece = Path(folder) / "model.safetensors", Path(folder) / "piece.mp4"
        network = build_recogniser(
            EncoderConfig(depth=options.depth, width=options.width),
            tuple(f"action {number}" for number in range(20)),
            clips=asdict(ClipConfig(length=16, size=options.size)),
        )
        save_model(model, network, provenance={})
        write_video(piece, footage(PIECE_SECONDS * FPS, 240, 320, seed=0), fps=FPS, crf=23)
        for minutes in options.minutes:
            video = Path(folder) / f"{minutes:g}.mp4"
            write_long(piece, video, times=max(1, round(minutes * 60 / PIECE_SECONDS)))
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", str(model), str(video)]
            results[f"{minutes:g}"] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            video.unlink()
    if options.json:
        print(json.dumps(results))
        return
    for name, found in results.items():
        print(
            f"{name:>6} min: {found['times_real_time']:6.1f} x real time, peak {found['peak_memory_mb']:6.0f} MB, "
            f"{found['frames_decoded']} frames decoded, {found['clips_computed']} of {found['clips_exhaustive']} clips"
        )
    lengths = sorted(results, key=float)
    growth = results[lengths[-1]]["peak_memory_mb"] / results[lengths[0]]["peak_memory_mb"]
    print(f"memory of {lengths[-1]} minutes against {lengths[0]}: {growth:.2f} x")


if __name__ == "__main__":
    main()
