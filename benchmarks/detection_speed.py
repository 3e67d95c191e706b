"""How much faster than the video plays `sparsedense detect` is, and whether its memory grows with the video's length.

R(2+1)D-18 with random weights on clips of 16 x 112 x 112 of a training stride of 4 frames, 320 x 240 H.264 at 25
frames a second, default effort. Random weights are unsure of everything, so more effort is spent to the last clip. Each
length runs in a process of its own, whose peak memory is told. A long video is a short one, its packets written again
and again, so that it is made in seconds.

    python benchmarks/detection_speed.py
    python benchmarks/detection_speed.py --minutes 3,180 --depth 10 --width 0.125 --size 40 --frame 160x120 --fps 5
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
import torch
from torch import Tensor

from footage import footage
from sparsedense.data.clip_config import ClipConfig
from sparsedense.detection.scan import DEFAULT_EFFORT
from sparsedense.export.export_model import export_model
from sparsedense.export.exported_model import open_model
from sparsedense.models.encoder import EncoderConfig
from sparsedense.models.model_file import save_model
from sparsedense.models.recogniser import build_recogniser
from sparsedense.video.decoder import VideoDecoder
from sparsedense.video.write import write_video

PIECE_SECONDS = 20
TRAINING_STRIDE_FRAMES = 4.0


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


def measure(model: Path, video: Path, options: argparse.Namespace) -> None:
    """Detect in this process, and print what it took; the parts go on side by side."""
    recogniser = open_model(model, device="cpu", precision=options.precision)
    network_seconds, logits_of = 0.0, recogniser.quarter_logits

    def timed(clips_BCTHW: Tensor) -> Tensor:
        nonlocal network_seconds
        begun = time.perf_counter()
        logits = logits_of(clips_BCTHW)
        network_seconds += time.perf_counter() - begun
        return logits

    recogniser.quarter_logits = timed  # type: ignore[method-assign]
    started, processor_started = time.perf_counter(), time.process_time()
    detection = recogniser.detect([video], effort=options.effort, stride_frames=options.stride_frames)[0]
    seconds, processor_seconds = time.perf_counter() - started, time.process_time() - processor_started
    if detection.error is not None:
        raise SystemExit(f"{video}: {detection.error}")
    peak_memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    with VideoDecoder(video) as decoder:
        frames = sum(1 for _ in decoder.pictures())
    found = {
        "seconds": seconds,
        "times_real_time": detection.counts.duration_seconds / seconds,
        "processor_seconds": processor_seconds,
        "network_seconds": network_seconds,
        "decoding_alone_seconds": time.perf_counter() - started,
        "frames_in_file": frames,
        "peak_memory_mb": peak_memory_mb,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(found | asdict(detection.counts)))


def write_model(path: Path, options: argparse.Namespace) -> None:
    """A model file with random weights."""
    torch.manual_seed(0)
    clips = ClipConfig(length=16, size=options.size, evaluation_stride_frames=TRAINING_STRIDE_FRAMES)
    network = build_recogniser(
        EncoderConfig(depth=options.depth, width=options.width),
        tuple(f"action {number}" for number in range(20)),
        clips=asdict(clips),
    )
    save_model(path, network, provenance={})


def print_found(minutes: str, found: dict[str, float]) -> None:
    """What was measured, in a few lines."""
    clips = found["clips_computed"]
    processor = f"{found['processor_seconds']:.1f} s of processor time, {found['threads']} threads"
    each = f"{found['network_seconds'] / clips:.3f} s each; {found['clips_exhaustive']} are all clips"
    print(
        f"{minutes:>6} min: {found['times_real_time']:6.1f} x real time ({found['seconds']:.1f} s; {processor}), peak "
        f"{found['peak_memory_mb']:.0f} MB\n"
        f"        network {found['network_seconds']:.1f} s for {clips} clips ({each}), "
        f"decoding alone {found['decoding_alone_seconds']:.1f} s\n"
        f"        {found['frames_decoded']} frames decoded of {found['frames_in_file']} in the file, "
        f"{found['frames_converted']} converted, at most {found['most_frames_held']} held"
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=lambda text: [float(part) for part in text.split(",")], default=[1.0, 3.0])
    parser.add_argument("--effort", type=float, default=DEFAULT_EFFORT)
    parser.add_argument("--stride-frames", type=float, help="of the finest clips; half of the training's if not given")
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--frame", type=lambda text: [int(part) for part in text.split("x")], default=[320, 240])
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument("--onnx", action="store_true", help="let ONNX Runtime compute")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure each length in a process of its own."""
    options = parse_arguments()
    if options.measure:
        model, video = options.measure
        measure(model, video, options)
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        model, piece = Path(folder) / "model.safetensors", Path(folder) / "piece.mp4"
        write_model(model, options)
        if options.onnx:
            model = export_model(model, model.with_suffix(".onnx")).path
        width, height = options.frame
        write_video(piece, footage(PIECE_SECONDS * options.fps, height, width, seed=0), fps=options.fps, crf=23)
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
        print_found(name, found)
    lengths = sorted(results, key=float)
    growth = results[lengths[-1]]["peak_memory_mb"] / results[lengths[0]]["peak_memory_mb"]
    print(f"memory of {lengths[-1]} minutes against {lengths[0]}: {growth:.2f} x")


if __name__ == "__main__":
    main()
