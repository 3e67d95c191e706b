from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparsedense.data.catalog import read_catalog
from sparsedense.data.errors import CatalogError

ROWS = {
    "path": ["a/1.mp4", "2.mp4", "3.mp4", "4.mp4"],
    "label": ["walk", "run", None, "run"],
    "group": ["g1", "g2", None, "g3"],
    "split": ["train", "Validation", None, "test"],
}


def write(file: Path, /, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), file)
    return file


def test_a_parquet_file_reads_like_the_same_csv(tmp_path: Path) -> None:
    lines = [",".join(value or "" for value in row) for row in zip(*ROWS.values(), strict=True)]
    (tmp_path / "mine.csv").write_text("\n".join(["path,label,group,split", *lines]))
    catalog = read_catalog(write(tmp_path / "mine.parquet", **ROWS, other=[[1], [2], [3], [4]]))
    assert catalog == read_catalog(tmp_path / "mine.csv")
    assert [entry.split for entry in catalog] == ["train", "val", "unlabelled", "test"]


def test_whole_numbers_and_categories_are_labels(tmp_path: Path) -> None:
    numbers = write(tmp_path / "n.parquet", path=["1.mp4", "2.mp4"], label=[7, None])
    assert [entry.label for entry in read_catalog(numbers)] == ["7", None]
    categories = pa.array(["walk", "run"]).dictionary_encode()
    table = write(tmp_path / "c.parquet", path=pa.array(["1.mp4", "2.mp4"], pa.large_string()), label=categories)
    assert [entry.label for entry in read_catalog(table)] == ["walk", "run"]
    unlabelled = write(tmp_path / "u.parquet", path=["1.mp4"], label=pa.nulls(1))
    assert [entry.split for entry in read_catalog(unlabelled)] == ["unlabelled"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["1.mp4"]}, r"has no column label, only \['path'\]"),
        ({"path": ["1.mp4"], "label": [1.5]}, "column 'label' is of type double; write it as text"),
        ({"path": ["1.mp4"], "label": [date(2020, 1, 1)]}, "column 'label' is of type date32"),
        ({"path": ["1.mp4"], "label": [["a", "b"]]}, "column 'label' is of type list"),
        ({"path": ["1.mp4", "1.mp4"], "label": ["a", "b"]}, r"line 2: '1\.mp4' is also in line 1"),
        ({"path": ["1.mp4", None], "label": ["a", "b"]}, "line 2: the path is empty"),
        ({"path": pa.array([], pa.string()), "label": pa.array([], pa.string())}, "no videos in"),
    ],
)
def test_a_parquet_file_that_makes_no_sense_is_explained(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "v.parquet", **columns)
    with pytest.raises(CatalogError, match=message) as caught:
        read_catalog(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_parquet_is_explained(tmp_path: Path) -> None:
    (tmp_path / "v.parquet").write_text("path,label\n")
    with pytest.raises(CatalogError, match=r"v\.parquet cannot be read as Parquet"):
        read_catalog(tmp_path / "v.parquet")


@pytest.mark.parametrize("name", ["videos.csv", "videos.jsonl", "videos.parquet"])
def test_a_folder_may_hold_its_table_in_any_format(tmp_path: Path, name: str) -> None:
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk" / "other.mp4").touch()
    if name.endswith("parquet"):
        write(tmp_path / name, path=["1.mp4"], label=["a"])
    else:
        csv = name.endswith("csv")
        (tmp_path / name).write_text("path,label\n1.mp4,a\n" if csv else '{"path": "1.mp4", "label": "a"}\n')
    assert [entry.label for entry in read_catalog(tmp_path)] == ["a"]
    (tmp_path / ("videos.jsonl" if name == "videos.csv" else "videos.csv")).write_text("path,label\n")
    with pytest.raises(CatalogError, match=r"holds videos\.csv and videos\.\w+; keep one"):
        read_catalog(tmp_path)
