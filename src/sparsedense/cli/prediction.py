"""Commands that use a model on videos.

Their exit status tells whether all videos were read (0), none (1) or some (3).
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from sparsedense.cli.output import print_json
from sparsedense.cli.parser import Precision, parse_function

if TYPE_CHECKING:
    from sparsedense.prediction.answers import LivePrediction, Prediction
    from sparsedense.progress import Advance

SOME_FAILED = 3
VIDEOS_HELP = "files, folders, globs, http URLs, or - for standard input"


def predict(arguments: Sequence[str]) -> int:
    """Recognise the actions in videos."""

    def command(
        model: Path,
        videos: list[str],
        top_k: int = 5,
        clips_per_video: int | None = None,
        json: bool = False,
        csv: Path | None = None,
        live: bool = False,
        window_seconds: float = 4.0,
        every_seconds: float = 1.0,
        batch_size: int = 16,
        num_threads: int | None = None,
        runtime: str = "auto",
        device: str = "auto",
        precision: Precision = "auto",
    ) -> int:
        """Tell the most probable actions of each video. The exit status is 3 if some could not be read, 1 if none.

        Args:
            model: `model.safetensors` of a fine-tuned run, or what `sparsedense export` made of it.
            videos: what to read.
            top_k: how many classes to tell.
            clips_per_video: evenly spaced clips a video, whose probabilities are averaged; 3 if not given, and 1 with
                --live; `evaluate` takes 10.
            json: print one JSON list with an object for each video and nothing else; with --live, an object a line.
            csv: file to write, with a line for each video and class.
            live: recognise what happens now, until Ctrl-C: VIDEOS is one URL (rtsp, http, tcp, udp), or a camera's
                number or device file.
            window_seconds: with --live, each line is about so many last seconds.
            every_seconds: with --live, the time between lines.
            batch_size: clips that go through the network at a time.
            num_threads: videos decoded at a time; one a core if not given.
            runtime: `torch`, `torch-export`, `onnx` or `openvino`; `auto` decides by the ending of the model.
            device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
            precision: `float32`, `bfloat16`, or `auto` for the one that the device computes faster in; of model files.
        """
        from sparsedense.export.exported_model import open_model
        from sparsedense.prediction.video_model import DEFAULT_CLIPS_PER_VIDEO

        if top_k < 1:
            raise ValueError(f"--top-k ({top_k}) must be at least 1")
        if live and (len(videos) != 1 or csv is not None):
            raise ValueError("--live takes one URL or camera, and no --csv; use --json for one object a line")
        recogniser = open_model(model, runtime=runtime, device=device, precision=precision)
        recogniser.check_classes()
        if live:
            predictions = recogniser.predict_live(
                videos[0],
                window_seconds=window_seconds,
                every_seconds=every_seconds,
                clips_per_video=1 if clips_per_video is None else clips_per_video,
            )
            return _print_live(predictions, top_k=top_k, as_json=json)
        with progress_where_long("predict", videos) as advance:
            answers = recogniser.predict(
                videos,
                clips_per_video=DEFAULT_CLIPS_PER_VIDEO if clips_per_video is None else clips_per_video,
                batch_size=batch_size,
                num_threads=num_threads,
                progress=advance,
            )
        return _print_answers(answers, top_k=top_k, as_json=json, csv=csv)

    return command(**parse_function(command, "predict", arguments, several=("videos", VIDEOS_HELP)))


def _print_answers(answers: "Sequence[Prediction]", *, top_k: int, as_json: bool, csv: Path | None) -> int:
    """Print and write predictions; returns the exit status."""
    from sparsedense.prediction.output import prediction_record, print_predictions, write_predictions_csv

    if csv is not None:
        write_predictions_csv(csv, answers, top_k=top_k)
    if as_json:
        print_json([prediction_record(answer, top_k=top_k) for answer in answers])
    else:
        print_predictions(answers, top_k=top_k)
    errors = {answer.video: answer.error for answer in answers if answer.error is not None}
    damages = {answer.video: answer.damage for answer in answers if answer.damage is not None}
    return read_status(errors, damages, num_read=sum(answer.error is None for answer in answers))


def _print_live(predictions: "Iterator[LivePrediction]", *, top_k: int, as_json: bool) -> int:
    """Print a line a prediction until the stream ends or Ctrl-C, which is the usual end; returns the exit status."""
    from sparsedense.prediction.output import live_line, live_record

    try:
        for prediction in predictions:
            line = json.dumps(live_record(prediction, top_k=top_k)) if as_json else live_line(prediction, top_k=top_k)
            print(line, flush=True)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return 0


def embed(arguments: Sequence[str]) -> int:
    """Write the features of videos to a file."""

    def command(
        model: Path,
        videos: list[str],
        out: Path = Path("features.npz"),
        clips_per_video: int = 3,
        batch_size: int = 16,
        num_threads: int | None = None,
        runtime: str = "auto",
        device: str = "auto",
        precision: Precision = "auto",
    ) -> int:
        """Write a row of features for each video. The exit status is 3 if some could not be read, 1 if none.

        Args:
            model: `model.safetensors` of a run, which needs no classes, or what `sparsedense export` made of it.
            videos: what to read.
            out: file to write; its ending decides the format: .npz and .parquet hold the names of the videos too, those
                of .npy are written to a text file beside it.
            clips_per_video: evenly spaced clips a video, whose features are averaged.
            batch_size: clips that go through the network at a time.
            num_threads: videos decoded at a time; one a core if not given.
            runtime: `torch`, `torch-export`, `onnx` or `openvino`; `auto` decides by the ending of the model.
            device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
            precision: `float32`, `bfloat16`, or `auto` for the one that the device computes faster in; of model files.
        """
        from sparsedense.export.exported_model import open_model
        from sparsedense.prediction.output import check_feature_format, write_features

        check_feature_format(out)
        recogniser = open_model(model, runtime=runtime, device=device, precision=precision)
        with progress_where_long("embed", videos) as advance:
            embeddings = recogniser.embed(
                videos,
                clips_per_video=clips_per_video,
                batch_size=batch_size,
                num_threads=num_threads,
                progress=advance,
            )
        if embeddings.videos:
            written = write_features(out, embeddings)
            rows, columns = embeddings.features_ND.shape
            print(f"{' and '.join(map(str, written))}: {rows} x {columns} features")
        return read_status(embeddings.errors, embeddings.damages, num_read=len(embeddings.videos))

    return command(**parse_function(command, "embed", arguments, several=("videos", VIDEOS_HELP)))


def progress_where_long(title: str, videos: Sequence[str]) -> "AbstractContextManager[Advance | None]":
    """A bar where there is something to wait for; for one short clip it would cost more than it shows."""
    if len(videos) == 1 and Path(videos[0]).is_file():
        return nullcontext()
    from sparsedense.progress import progress_bar

    return progress_bar(title)


def read_status(errors: Mapping[str, str], damages: Mapping[str, str], *, num_read: int) -> int:
    """Tell what could not be read; returns the exit status."""
    for video, damage in damages.items():
        print(f"warning: {video}: {damage}; only the frames before were used", file=sys.stderr)
    for video, error in errors.items():
        print(f"error: {video}: {error}", file=sys.stderr)
    if not errors:
        return 0
    return SOME_FAILED if num_read else 1
