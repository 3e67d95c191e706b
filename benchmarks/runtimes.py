"""How many clips a second each way of computing a recogniser does, and how far its logits are from eager float32's.

    python benchmarks/runtimes.py [--model MODEL --store STORE] [--threads 2] [--rounds 3] [--json OUT]
    python benchmarks/runtimes.py --depth 10 --width 0.125 --length 8 --size 32      # to try it

Without a model it is R(2+1)D-18 with random weights at 16x112x112. All ways use the same number of threads and see the
same clips; in each round every way computes one batch, one way after the other, so that other work on the machine
disturbs all alike; the median over the rounds counts. With a store of the model's classes, the int8 ways are calibrated
on its training videos, and the share of its test videos that each way recognises is told, by one clip each.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsedense.data.augment import to_float
from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.evaluation_clips import EvaluationClips
from sparsedense.data.store import FrameStore
from sparsedense.export.description import INPUT_NAME
from sparsedense.export.export_model import export_model
from sparsedense.export.exported_model import load_exported
from sparsedense.models.encoder import EncoderConfig
from sparsedense.models.model_file import load_model as read_recogniser
from sparsedense.models.model_file import save_model
from sparsedense.models.recogniser import build_recogniser
from sparsedense.prediction.video_recogniser import load_model

REFERENCE = "eager float32"
CALIBRATION_CLIPS = 8
Way = Callable[[Tensor], Tensor]


@dataclass
class Result:
    """A way of computing.

    Attributes:
        name: of the way.
        clips_per_second: median over the rounds; None where it was skipped.
        ratio: of that to eager float32's, median over the rounds.
        logit_difference: largest one to eager float32's logits.
        accuracy: share of the store's test videos, by one clip each.
        skipped: why it was left out.
    """

    name: str
    clips_per_second: float | None = None
    ratio: float | None = None
    logit_difference: float | None = None
    accuracy: float | None = None
    skipped: str | None = None


def random_model(folder: Path, arguments: argparse.Namespace) -> Path:
    """A model file with random weights, whose logits differ between clips."""
    torch.manual_seed(0)
    config = EncoderConfig(depth=arguments.depth, width=arguments.width, input=arguments.input)
    names = [f"class {number}" for number in range(101)]
    clips = asdict(ClipConfig(length=arguments.length, size=arguments.size))
    model = build_recogniser(config, names, clips=clips, speed_head=False)
    assert model.classifier is not None
    torch.nn.init.normal_(model.classifier.linear.weight)
    path = folder / "random.safetensors"
    save_model(path, model, provenance={})
    return path


def store_clips(store: FrameStore, split: str, clips: ClipConfig, most: int) -> tuple[Tensor, NDArray[np.int64]]:
    """The centred clips (N, 3, T, S, S) of some videos, evenly over the classes, and their classes (N,)."""
    videos = store.videos(split=split, labelled=True)
    chosen = videos[np.linspace(0, len(videos) - 1, min(most, len(videos))).round().astype(np.int64)]
    dataset = EvaluationClips(store, chosen, clips, num_clips=1)
    samples = [dataset[number] for number in range(len(chosen))]
    frames_NTHWC = torch.stack([sample.frames_THWC for sample in samples])
    return to_float(frames_NTHWC.permute(0, 4, 1, 2, 3)).contiguous(), store.label_ids[chosen]


def int8_file(onnx_path: Path, kind: str, calibration_clips: Tensor) -> Path:
    """An .onnx file whose convolutions compute with whole numbers, by ONNX Runtime's quantiser."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    class Clips(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._clips: Iterator[Tensor] = (clip[None] for clip in calibration_clips)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            clip = next(self._clips, None)
            return None if clip is None else {INPUT_NAME: clip.numpy()}

    out = onnx_path.with_name(f"int8-{kind}.onnx")
    if kind == "dynamic":
        quantize_dynamic(onnx_path, out, weight_type=QuantType.QInt8)
    else:
        quantize_static(
            onnx_path,
            out,
            Clips(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=["Conv", "Gemm"],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    return out


def eager_ways(path: Path) -> dict[str, Callable[[], Way]]:
    """What PyTorch does by itself; each is made when it is asked for."""
    layout = torch.channels_last_3d

    def channels_last(dtype: torch.dtype) -> Way:
        other = read_recogniser(path).eval().to(memory_format=layout)

        def run(clips: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                logits: Tensor = other(clips.contiguous(memory_format=layout))
            return logits.float()

        return run

    return {
        REFERENCE: lambda: read_recogniser(path).eval(),
        "folded float32": lambda: load_model(path, device="cpu", precision="float32").logits,
        "folded bfloat16": lambda: load_model(path, device="cpu", precision="bfloat16").logits,
        "channels_last_3d": lambda: channels_last(torch.float32),
        "compiled": lambda: torch.compile(read_recogniser(path).eval()),
        "bf16, channels_last_3d": lambda: channels_last(torch.bfloat16),
    }


def exported_ways(folder: Path, path: Path, threads: int, calibration: Tensor) -> dict[str, Callable[[], Way]]:
    """What computes an exported file."""
    onnx_path = folder / "model.onnx"

    def opened(file: Path, runtime: str) -> Way:
        if not onnx_path.exists():
            export_model(path, onnx_path)
        return load_exported(file, runtime=runtime, device="cpu", num_threads=threads).logits

    def int8(kind: str) -> Way:
        opened(onnx_path, "onnx")
        return opened(int8_file(onnx_path, kind, calibration), "onnx")

    return {
        "onnxruntime": lambda: opened(onnx_path, "onnx"),
        "OpenVINO": lambda: opened(onnx_path, "openvino"),
        "onnxruntime int8, dynamic": lambda: int8("dynamic"),
        "onnxruntime int8, static": lambda: int8("static"),
    }


@torch.inference_mode()
def made_ways(makers: dict[str, Callable[[], Way]], clips: Tensor, results: dict[str, Result]) -> dict[str, Way]:
    """The ways that work here, each after a batch to warm up; of the others, why not."""
    if find_spec("onnxruntime") is None:
        makers = {name: make for name, make in makers.items() if "onnx" not in name and name != "OpenVINO"}
    ways: dict[str, Way] = {}
    for name, make in makers.items():
        try:
            way = make()
            logits = way(clips)
        except (RuntimeError, ValueError, NotImplementedError, OSError) as error:
            results[name] = Result(name, skipped=str(error).strip().splitlines()[0][:100])
            continue
        ways[name] = way
        results[name] = Result(name, logit_difference=float((logits - ways[REFERENCE](clips)).abs().max()))
    return ways


@torch.inference_mode()
def time_ways(ways: dict[str, Way], clips: Tensor, rounds: int, results: dict[str, Result]) -> None:
    """Let all ways compute the clips in turn, several rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way(clips)
            seconds[name].append(time.perf_counter() - started)
    for name, taken in seconds.items():
        results[name].clips_per_second = len(clips) / median(taken)
        results[name].ratio = median(base / own for base, own in zip(seconds[REFERENCE], taken, strict=True))


@torch.inference_mode()
def judge_ways(
    ways: dict[str, Way], clips: Tensor, labels: NDArray[np.int64], batch: int, results: dict[str, Result]
) -> None:
    """How many test videos each way recognises."""
    for name, way in ways.items():
        # Whole batches only: what was compiled or quantised for one size need not take another.
        whole = clips[: len(clips) // batch * batch]
        answers = np.concatenate([way(part).argmax(dim=1).numpy() for part in torch.split(whole, batch)])
        results[name].accuracy = float((answers == labels[: len(answers)]).mean())


def print_table(results: list[Result], about: str) -> None:
    """What was measured."""
    print(about)
    print(f"{'':26} {'clips/s':>8} {'x eager':>8} {'max logit difference':>21} {'accuracy':>9}")
    for each in results:
        if each.skipped is not None:
            print(f"{each.name:26} skipped: {each.skipped}")
            continue
        accuracy = "" if each.accuracy is None else f"{each.accuracy:9.1%}"
        print(f"{each.name:26} {each.clips_per_second:8.2f} {each.ratio:8.2f} {each.logit_difference:21.1e} {accuracy}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="model file; random weights if not given")
    parser.add_argument("--store", type=Path, help="store of the model's classes, for the accuracy")
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--input", default="rgb")
    parser.add_argument("--length", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--batch", type=int, default=1, help="clips a batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--most-videos", type=int, default=100, help="test videos of the store, at most")
    parser.add_argument("--without", nargs="*", default=[], help="names of ways to leave out")
    parser.add_argument("--json", type=Path, help="file for the results")
    return parser.parse_args()


def main() -> None:
    """Measure, print and write."""
    arguments = parse_arguments()
    if arguments.store is not None and arguments.model is None:
        raise SystemExit("--store needs --model: random weights recognise nothing")
    torch.set_num_threads(arguments.threads)
    logging.disable(logging.WARNING)  # the quantiser's advice
    results: dict[str, Result] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = arguments.model or random_model(folder, arguments)
        model = load_model(path, device="cpu")
        clips = ClipConfig(**model.clips)  # type: ignore[arg-type]
        noise = torch.rand(CALIBRATION_CLIPS, 3, clips.length, clips.size, clips.size)
        store = None if arguments.store is None else FrameStore(arguments.store)
        calibration = noise if store is None else store_clips(store, "train", clips, CALIBRATION_CLIPS)[0]
        makers = eager_ways(path) | exported_ways(folder, path, arguments.threads, calibration)
        makers = {name: make for name, make in makers.items() if name not in arguments.without}
        batch = calibration[torch.arange(arguments.batch) % len(calibration)]
        ways = made_ways(makers, batch, results)
        time_ways(ways, batch, arguments.rounds, results)
        if store is not None:
            judge_ways(ways, *store_clips(store, "test", clips, arguments.most_videos), arguments.batch, results)
    config = model.encoder.config
    about = (
        f"R(2+1)D-{config.depth}, width {config.width:g}, input {config.input}, "
        f"{clips.length}x{clips.size}x{clips.size}, batches of {arguments.batch}, {arguments.threads} threads, "
        f"{arguments.rounds} rounds"
    )
    print_table(list(results.values()), about)
    if arguments.json is not None:
        content: dict[str, Any] = {"about": about, "ways": [asdict(each) for each in results.values()]}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
