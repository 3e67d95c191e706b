import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sparsedense.prediction.answers import Embeddings, Prediction
from sparsedense.prediction.output import (
    prediction_record,
    print_predictions,
    write_features,
    write_predictions_csv,
)

GOOD = Prediction("a, b.mp4", ("jump", "run", "sit"), np.array([0.75, 0.2, 0.05], dtype=np.float32), 120)
BAD = Prediction("[bold]c.mp4", error="file is empty")
FEATURES = Embeddings(np.arange(6, dtype=np.float32).reshape(2, 3), ("a.mp4", "é b.mp4"))


def test_a_record_is_json_with_the_same_keys_for_good_and_bad() -> None:
    good, bad = (json.loads(json.dumps(prediction_record(prediction, top_k=2))) for prediction in (GOOD, BAD))
    assert list(good) == list(bad)
    assert good == {
        "video": "a, b.mp4",
        "label": "jump",
        "probability": 0.75,
        "classes": [{"label": "jump", "probability": 0.75}, {"label": "run", "probability": pytest.approx(0.2)}],
        "num_frames": 120,
        "damage": None,
        "error": None,
    }
    assert (bad["label"], bad["probability"], bad["classes"], bad["error"]) == (None, None, [], "file is empty")


def test_a_csv_has_a_line_for_each_video_and_class(tmp_path: Path) -> None:
    path = tmp_path / "new" / "answers.csv"
    write_predictions_csv(path, [GOOD, BAD], top_k=2)
    with path.open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"video": "a, b.mp4", "rank": "1", "label": "jump", "probability": "0.750000", "error": ""},
            {"video": "a, b.mp4", "rank": "2", "label": "run", "probability": "0.200000", "error": ""},
            {"video": "[bold]c.mp4", "rank": "", "label": "", "probability": "", "error": "file is empty"},
        ]
    assert [file.name for file in path.parent.iterdir()] == ["answers.csv"]


def test_the_table_shows_the_most_probable_classes_and_no_failures(capsys: pytest.CaptureFixture[str]) -> None:
    print_predictions([GOOD, BAD, Prediction("[red]d.mp4", ("sit",), np.ones(1, dtype=np.float32))], top_k=2)
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("a, b.mp4", "jump", "75.0%", "run", "20.0%", "[red]d.mp4", "100.0%"))
    assert "5.0%" not in shown.replace("75.0%", "")
    assert "c.mp4" not in shown
    bars = {line.split("%")[0].split()[-1]: line.count("━") for line in shown.splitlines() if "%" in line}
    assert bars == {"75.0": 15, "20.0": 4, "100.0": 20}


def test_no_table_is_printed_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_predictions([BAD], top_k=2)
    assert capsys.readouterr().out == ""


def test_features_are_written_with_their_videos(tmp_path: Path) -> None:
    assert write_features(tmp_path / "f.npz", FEATURES) == [tmp_path / "f.npz"]
    with np.load(tmp_path / "f.npz") as arrays:
        np.testing.assert_array_equal(arrays["features"], FEATURES.features_ND)
        assert arrays["videos"].tolist() == list(FEATURES.videos)

    assert write_features(tmp_path / "f.npy", FEATURES) == [tmp_path / "f.npy", tmp_path / "f.videos.txt"]
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), FEATURES.features_ND)
    assert (tmp_path / "f.videos.txt").read_text(encoding="utf-8").splitlines() == list(FEATURES.videos)

    assert write_features(tmp_path / "f.parquet", FEATURES) == [tmp_path / "f.parquet"]
    table = pq.read_table(tmp_path / "f.parquet")
    assert table["video"].to_pylist() == list(FEATURES.videos)
    np.testing.assert_array_equal(np.stack(table["features"].to_pylist()), FEATURES.features_ND)

    assert {path.name for path in tmp_path.iterdir()} == {"f.npz", "f.npy", "f.videos.txt", "f.parquet"}


def test_features_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"f\.csv: features are written as \.npz, \.npy, \.parquet"):
        write_features(tmp_path / "f.csv", FEATURES)
    with pytest.raises(ValueError, match=r"line break in its name"):
        write_features(tmp_path / "f.npy", Embeddings(np.zeros((1, 3), dtype=np.float32), ("a\nb.mp4",)))
    assert not list(tmp_path.iterdir())
