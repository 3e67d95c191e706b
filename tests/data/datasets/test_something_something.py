from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparsedense.data.datasets import read_dataset
from sparsedense.data.errors import CatalogError
from tests.data.datasets.layouts import table_of, touch, write_lines


def row(number: int, template: str) -> dict[str, Any]:
    return {"id": str(number), "label": "holding a cup", "template": template, "placeholders": ["a cup"]}


def write_labels(folder: Path, prefix: str = "") -> None:
    folder.mkdir(parents=True)
    classes = {"Holding something": "0", "Pushing something from left to right": "1"}
    files: dict[str, Any] = {
        "labels": classes,
        "train": [row(1, "Holding [something]"), row(2, "Pushing [something] from left to right")],
        "validation": [row(3, "Holding [something]")],
        "test": [{"id": "4"}],
    }
    for name, content in files.items():
        (folder / f"{prefix}{name}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("prefix", ["", "something-something-v2-"])
def test_templates_are_the_classes(tmp_path: Path, prefix: str) -> None:
    write_labels(tmp_path / "labels", prefix)
    touch(tmp_path / "20bn-something-something-v2", "1.webm", "2.webm", "3.webm", "4.webm")
    catalog = read_dataset("ssv2", tmp_path)
    assert table_of(catalog) == {
        "20bn-something-something-v2/1.webm": ("Holding something", "1", "train"),
        "20bn-something-something-v2/2.webm": ("Pushing something from left to right", "2", "train"),
        "20bn-something-something-v2/3.webm": ("Holding something", "3", "val"),
    }
    assert catalog.notes[0] == "1 test video without answers (test-answers.csv) left out"


def test_answers_make_the_test(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels")
    touch(tmp_path / "videos", "1.webm", "4.webm")
    write_lines(tmp_path / "labels" / "test-answers.csv", ["4;Holding something"])
    catalog = read_dataset("ssv2", tmp_path)
    assert [(entry.label, entry.split) for entry in catalog] == [
        ("Holding something", "train"),
        ("Holding something", "test"),
    ]
    assert catalog.missing == ("2.webm", "3.webm")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            [{"id": "1", "template": "Eating [something]"}],
            "video 1 is of 'Eating something', which labels.json does not",
        ),
        ([{"id": "1"}], "expected an object with id and template"),
        ({"id": "1"}, "expected a list of objects"),
    ],
)
def test_lists_that_make_no_sense_are_named(tmp_path: Path, content: object, message: str) -> None:
    write_labels(tmp_path / "labels")
    (tmp_path / "labels" / "train.json").write_text(json.dumps(content))
    with pytest.raises(CatalogError, match=message) as caught:
        read_dataset("ssv2", tmp_path)
    assert "train.json" in str(caught.value)


def test_broken_json_and_missing_labels_are_named(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels")
    (tmp_path / "labels" / "train.json").write_text("[{")
    with pytest.raises(CatalogError, match=r"train.json is not JSON"):
        read_dataset("ssv2", tmp_path)
    (tmp_path / "labels" / "labels.json").unlink()
    with pytest.raises(
        CatalogError, match=r"no file labels.json or something-something-v2-labels.json, only 'labels/'"
    ):
        read_dataset("ssv2", tmp_path)
