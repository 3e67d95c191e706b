"""Predictions and features as what people read and programs take: a table, JSON, CSV, NumPy and Parquet files."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsedense.data.preparation.durable_files import complete_file
from sparsedense.prediction.answers import Embeddings, LivePrediction, Prediction

FEATURE_FORMATS = (".npz", ".npy", ".parquet")
_BAR_WIDTH = 20


def prediction_record(prediction: Prediction, *, top_k: int) -> dict[str, Any]:
    """A prediction as JSON can hold it, with the `top_k` most probable classes; the keys are always the same."""
    failed = prediction.error is not None
    return {
        "video": prediction.video,
        "label": None if failed else prediction.label,
        "probability": None if failed else prediction.probability,
        "classes": _class_records(prediction, top_k),
        "num_frames": prediction.num_frames,
        "damage": prediction.damage,
        "error": prediction.error,
    }


def live_record(prediction: LivePrediction, *, top_k: int) -> dict[str, Any]:
    """A prediction of a live stream as JSON can hold it, with the `top_k` most probable classes."""
    return {
        "start_seconds": round(prediction.start_seconds, 3),
        "end_seconds": round(prediction.end_seconds, 3),
        "label": prediction.labels[0],
        "probability": float(prediction.probabilities[0]),
        "classes": _class_records(prediction, top_k),
    }


def live_line(prediction: LivePrediction, *, top_k: int) -> str:
    """A prediction of a live stream on one line: `   12.0 s   jump 75.0%   run 20.0%`."""
    classes = zip(prediction.labels[:top_k], prediction.probabilities[:top_k].tolist(), strict=True)
    shown = "   ".join(f"{label} {probability:.1%}" for label, probability in classes)
    return f"{prediction.end_seconds:7.1f} s   {shown}"


def write_predictions_csv(path: str | Path, predictions: Sequence[Prediction], *, top_k: int) -> None:
    """A line for each video and class: `video,rank,label,probability,error`; the rank counts from 1.

    A video that could not be read has one line, with nothing but its error.
    """
    with complete_file(Path(path)) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["video", "rank", "label", "probability", "error"])
        for prediction in predictions:
            if prediction.error is not None:
                writer.writerow([prediction.video, "", "", "", prediction.error])
            for rank, label in enumerate(prediction.labels[:top_k], 1):
                probability = float(prediction.probabilities[rank - 1])
                writer.writerow([prediction.video, rank, label, f"{probability:.6f}", ""])


def print_predictions(predictions: Sequence[Prediction], *, top_k: int) -> None:
    """A table with a bar for each probability; videos that could not be read are left out."""
    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("video", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("probability", justify="right")
    table.add_column("", width=_BAR_WIDTH)
    for prediction in predictions:
        for rank, label in enumerate(prediction.labels[:top_k]):
            probability = float(prediction.probabilities[rank])
            table.add_row(
                Text("" if rank else prediction.video),
                Text(label),
                f"{probability:.1%}",
                ProgressBar(total=1.0, completed=probability, width=_BAR_WIDTH),
                style="" if rank else "bold",
                end_section=rank == min(top_k, len(prediction.labels)) - 1,
            )
    if table.row_count:
        Console().print(table)


def write_features(path: str | Path, embeddings: Embeddings) -> list[Path]:
    """Write features with the videos that they are of; the ending decides the format.

        features.npz        arrays `features` (N, D) and `videos` (N,)
        features.npy        the array (N, D); the videos are in features.videos.txt, one a line
        features.parquet    columns `video` and `features`, a list of D numbers

    Returns:
        the files written.

    Raises:
        ValueError: the ending is none of these, or, for .npy, the name of a video has a line break.
    """
    path = Path(path)
    check_feature_format(path)
    beside = path.with_suffix(".videos.txt")
    if path.suffix == ".npy":
        if any("\n" in video for video in embeddings.videos):
            raise ValueError(f"{path}: a video has a line break in its name; write .npz or .parquet")
        with complete_file(beside) as partial:
            lines = "".join(f"{video}\n" for video in embeddings.videos)
            partial.write_text(lines, encoding="utf-8", errors="surrogateescape")
    with complete_file(path) as partial:
        if path.suffix == ".parquet":
            _write_parquet(partial, embeddings)
        else:
            with partial.open("wb") as file:
                if path.suffix == ".npy":
                    np.save(file, embeddings.features_ND)
                else:
                    np.savez(file, features=embeddings.features_ND, videos=np.array(embeddings.videos, dtype=np.str_))
    return [path, beside] if path.suffix == ".npy" else [path]


def check_feature_format(path: Path) -> None:
    """Refuse a file that features cannot be written to.

    Raises:
        ValueError: its ending is not known.
    """
    if path.suffix not in FEATURE_FORMATS:
        raise ValueError(f"{path}: features are written as {', '.join(FEATURE_FORMATS)}; choose one by the ending")


def _class_records(prediction: Prediction | LivePrediction, top_k: int) -> list[dict[str, Any]]:
    shown = zip(prediction.labels[:top_k], prediction.probabilities[:top_k].tolist(), strict=True)
    return [{"label": label, "probability": probability} for label, probability in shown]


def _write_parquet(path: Path, embeddings: Embeddings) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    features_ND = embeddings.features_ND
    rows = pa.FixedSizeListArray.from_arrays(pa.array(features_ND.reshape(-1)), features_ND.shape[1])
    pq.write_table(pa.table({"video": pa.array(embeddings.videos, pa.string()), "features": rows}), path)
