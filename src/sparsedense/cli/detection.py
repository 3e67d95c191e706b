"""Commands that find when actions happen in long videos, and measure how well."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sparsedense.cli.detection_files import write_detections
from sparsedense.cli.output import print_json
from sparsedense.cli.parser import Precision, parse_function
from sparsedense.cli.prediction import VIDEOS_HELP, progress_where_long, read_status
from sparsedense.cli.tables import print_detection_evaluation, print_segments

if TYPE_CHECKING:
    from sparsedense.detection.head_calibration import HeadCalibrationReport
    from sparsedense.prediction.detection_calibration import CalibrationReport
    from sparsedense.prediction.long_videos import Detection


def detect(arguments: Sequence[str]) -> int:
    """Find when which action begins and ends in long videos."""

    def command(
        model: Path,
        videos: list[str],
        effort: float = 0.0,
        method: Literal["auto", "window", "head"] = "auto",
        min_score: float | None = None,
        json: bool = False,
        csv: Path | None = None,
        activitynet: Path | None = None,
        vtt: Path | None = None,
        srt: Path | None = None,
        timeline: Path | None = None,
        stride_frames: float | None = None,
        num_scales: int | None = None,
        fps: float | None = None,
        batch_size: int = 16,
        runtime: str = "auto",
        device: str = "auto",
        precision: Precision = "auto",
    ) -> int:
        """Skim each video, then look closely where the skim is unsure, and tell the actions with start and end.

        The exit status is 3 if some videos could not be read, 1 if none.

        Args:
            model: `model.safetensors` of a fine-tuned run, or what `sparsedense export` wrote.
            videos: what to read.
            effort: from 0, the sparse skim alone, to 1, every clip.
            method: `head`, the learned head of `finetune --task detection`; `window`, where the classes of clips are
                probable; `auto`, the head where the model has one.
            min_score: segments with less are left out; that of `sparsedense calibrate` if not given.
            json: print for each video, on a line of its own, a JSON list of its segments (`null` where it could not be
                read) and nothing else.
            csv: file to write, with a line for each segment of all videos.
            activitynet: file to write in ActivityNet's format of results, for all videos.
            vtt: file to write with captions in WebVTT; with several videos, a folder.
            srt: file to write with captions in SubRip; with several videos, a folder.
            timeline: picture to write, .png or .svg, of what happens when; with several videos, a folder for .png.
            stride_frames: of the finest clips, in frames; that of the calibration, or half of the training's, if not
                given.
            num_scales: of clips, each of twice the stride of the one before; that of the calibration, or 3, if not
                given.
            fps: frame rate, for videos that do not tell it.
            batch_size: clips that go through the network at a time.
            runtime: `torch`, `torch-export`, `onnx` or `openvino`; `auto` decides by the ending of the model.
            device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
            precision: `float32`, `bfloat16`, or `auto` for the one that the device computes faster in; of model files.
        """
        from sparsedense.export.exported_model import open_model

        recogniser = open_model(model, runtime=runtime, device=device, precision=precision)
        with progress_where_long("detect", videos) as advance:
            detections = recogniser.detect(
                videos,
                effort=effort,
                method=method,
                min_score=min_score,
                stride_frames=stride_frames,
                num_scales=num_scales,
                fps=fps,
                batch_size=batch_size,
                progress=advance,
            )
        write_detections(detections, csv=csv, activitynet=activitynet, vtt=vtt, srt=srt, timeline=timeline)
        if json:
            _print_lists(detections)
        else:
            print_segments(detections)
        errors = {each.video: each.error for each in detections if each.error is not None}
        damages = {each.video: each.damage for each in detections if each.damage is not None}
        return read_status(errors, damages, num_read=sum(each.error is None for each in detections))

    return command(**parse_function(command, "detect", arguments, several=("videos", VIDEOS_HELP)))


def calibrate(arguments: Sequence[str]) -> None:
    """Make the scores of a model probabilities, by annotated videos, and save that in its file."""

    def command(
        model: Path,
        videos: Path,
        annotations: Path | None = None,
        split: str = "val",
        method: Literal["auto", "window", "head"] = "auto",
        stride_frames: float | None = None,
        num_scales: int | None = None,
        fps: float | None = None,
        batch_size: int = 16,
        device: str = "auto",
        precision: Precision = "auto",
        json: bool = False,
    ) -> None:
        """Fit scores and the least score to report; every clip is computed.

        For the method `window` these are temperature, background and the weights of the scales; for a learned head,
        what makes of its scores the probability of being right at tIoU 0.5.

        Args:
            model: `model.safetensors` of a fine-tuned run; it is replaced.
            videos: folder of the videos, named by their ids.
            annotations: file in the format of ActivityNet; `annotations.json` in the folder if not given.
            split: `val`, or another that neither training nor judging uses.
            method: `head`, the learned head of `finetune --task detection`; `window`, the classes of clips; `auto`, the
                head where the model has one.
            stride_frames: of the finest clips, in frames; half of the training's if not given.
            num_scales: of clips, each of twice the stride of the one before; 3 if not given.
            fps: frame rate, for videos that do not tell it.
            batch_size: clips that go through the network at a time.
            device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
            precision: `float32`, `bfloat16`, or `auto` for the one that the device computes faster in; of model files.
            json: print one JSON object and nothing else.
        """
        from sparsedense.detection.trained_head import save_head_calibration
        from sparsedense.models.model_file import save_calibration
        from sparsedense.prediction.annotated_videos import ANNOTATIONS_NAME, find_annotated
        from sparsedense.prediction.detection_calibration import calibrate as calibrate_model
        from sparsedense.prediction.detection_calibration import calibrate_head
        from sparsedense.prediction.long_videos import DetectionSettings
        from sparsedense.prediction.video_recogniser import load_model
        from sparsedense.progress import progress_bar

        recogniser = load_model(model, device=device, precision=precision)
        annotated = find_annotated(annotations or videos / ANNOTATIONS_NAME, videos, split)
        settings = DetectionSettings(
            method=method, stride_frames=stride_frames, num_scales=num_scales, fps=fps, batch_size=batch_size
        )
        with progress_bar("calibrate") as advance:
            long_video_model = recogniser.long_video_model()
            if method == "head" or (method == "auto" and recogniser.head is not None):
                head_report = calibrate_head(long_video_model, annotated, settings, progress=advance)
                save_head_calibration(model, head_report.calibration)
                about, record = head_calibration_line(head_report), asdict(head_report)
            else:
                report = calibrate_model(long_video_model, annotated, settings, progress=advance)
                save_calibration(model, report.calibration.as_plain())
                about, record = _calibration_line(report), asdict(report)
        if json:
            print_json(record)
        else:
            print(f"{about}; saved in {model}")

    command(**parse_function(command, "calibrate", arguments))


def evaluate_detection(arguments: Sequence[str]) -> None:
    """Judge detection on annotated videos: `sparsedense evaluate --task detection`."""

    def command(
        model: Path,
        videos: Path,
        annotations: Path | None = None,
        split: str = "test",
        effort: float = 0.0,
        method: Literal["auto", "window", "head"] = "auto",
        stride_frames: float | None = None,
        num_scales: int | None = None,
        fps: float | None = None,
        batch_size: int = 16,
        device: str = "auto",
        precision: Precision = "float32",
        activitynet: Path | None = None,
        json: bool = False,
    ) -> None:
        """Measure mean average precision at tIoU 0.3-0.7 and 0.5:0.05:0.95 (with --task detection).

        Args:
            model: `model.safetensors` of a fine-tuned run, calibrated where no class is background, or an export of it.
            videos: folder of the videos, named by their ids.
            annotations: file in the format of ActivityNet; `annotations.json` in the folder if not given.
            split: `train`, `val` or `test`.
            effort: from 0, the sparse skim alone, to 1, every clip.
            method: `head`, the learned head of `finetune --task detection`; `window`, where the classes of clips are
                probable; `auto`, the head where the model has one.
            stride_frames: of the finest clips, in frames; that of the calibration, or half of the training's, if not
                given.
            num_scales: of clips, each of twice the stride of the one before; that of the calibration, or 3, if not
                given.
            fps: frame rate, for videos that do not tell it.
            batch_size: clips that go through the network at a time.
            device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
            precision: `float32`, for the same figures on every machine; `bfloat16`, or `auto`, as `detect` does.
            activitynet: file to write the segments to, in ActivityNet's format of results.
            json: print one JSON object and nothing else.
        """
        from sparsedense.detection.segment_files import write_results_json
        from sparsedense.export.exported_model import open_model
        from sparsedense.prediction.annotated_videos import ANNOTATIONS_NAME, find_annotated
        from sparsedense.prediction.annotated_videos import evaluate_detection as evaluate
        from sparsedense.prediction.long_videos import DetectionSettings
        from sparsedense.progress import progress_bar

        recogniser = open_model(model, device=device, precision=precision)
        annotated = find_annotated(annotations or videos / ANNOTATIONS_NAME, videos, split)
        settings = DetectionSettings(
            effort=effort,
            method=method,
            stride_frames=stride_frames,
            num_scales=num_scales,
            fps=fps,
            batch_size=batch_size,
        )
        with progress_bar("evaluate") as advance:
            result = evaluate(recogniser.long_video_model(), annotated, settings, progress=advance)
        if activitynet is not None:
            write_results_json(activitynet, {name: each.segments for name, each in result.detections.items()})
        if json:
            print_json(result.record())
        else:
            print_detection_evaluation(result)

    command(**parse_function(command, "evaluate --task detection", arguments))


def without_task(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The value of `--task`, `recognition` if it is not given, and the other arguments.

    Raises:
        ValueError: there is no such task.
    """
    task, rest = "recognition", list(arguments)
    for position, argument in enumerate(rest):
        name, equals, value = argument.partition("=")
        if name == "--task":
            task = value if equals else "".join(rest[position + 1 : position + 2])
            del rest[position : position + (1 if equals else 2)]
            break
    if task not in ("recognition", "detection"):
        raise ValueError(f"--task {task} is not known; use recognition or detection")
    return task, rest


def _calibration_line(report: "CalibrationReport") -> str:
    return (
        f"{report.videos} videos, {report.positions} positions: expected calibration error {report.ece_before:.3f} "
        f"(actions only) -> {report.ece_after:.3f} (with background), accuracy {report.accuracy:.1%}; segments from "
        f"score {report.calibration.min_score:.2f}, F1 {report.f1:.1%} at tIoU 0.5"
    )


def head_calibration_line(report: "HeadCalibrationReport") -> str:
    """What calibrating a head did, in a sentence."""
    return (
        f"{report.videos} videos, {report.detections} segments found: expected calibration error of their scores "
        f"{report.ece_before:.3f} -> {report.ece_after:.3f}; segments from score {report.calibration.min_score:.2f}, "
        f"F1 {report.f1:.1%} at tIoU 0.5"
    )


def _print_lists(detections: "Sequence[Detection]") -> None:
    from sparsedense.detection.segment_files import segment_record

    for detection in detections:
        print_json(None if detection.error is not None else [segment_record(segment) for segment in detection])
