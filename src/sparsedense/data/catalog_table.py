"""Videos listed in a CSV, JSONL or Parquet file: path or URL, label, and optionally group and split."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sparsedense.data.errors import CatalogError
from sparsedense.data.listing import SPLIT_NAMES, ListedVideo, Listing
from sparsedense.data.locations import Location, joined

_HELP = "expected the columns path and label (empty where unknown), and optionally group and split"


def read_table(path: Path, *, folder: Location | None = None) -> Listing:
    """Read a CSV, JSONL or Parquet list of videos.

    Args:
        path: the list.
        folder: where relative paths start; None for the list's folder.

    Raises:
        CatalogError: a column is missing, a value makes no sense, or a video is listed twice.
    """
    videos: list[ListedVideo] = []
    first_line: dict[Location, int] = {}
    for line, row in _rows(path):
        video = _listed(path, line, row, path.parent if folder is None else folder)
        if video.path in first_line:
            raise CatalogError(
                f"{path}, line {line}: {row['path']!r} is also in line {first_line[video.path]}; list it once"
            )
        first_line[video.path] = line
        videos.append(video)
    return Listing(videos, [])


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and columns of each row."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            if suffix == ".csv":
                yield from _csv_rows(path, csv.DictReader(file, restval="", restkey="(more)"))
            elif suffix == ".jsonl":
                for line, text in enumerate(file, start=1):
                    if text.strip():
                        yield line, _json_row(path, line, text)
            else:
                raise CatalogError(f"{path} is neither a folder nor a .csv, .jsonl or .parquet file; {_HELP}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{path} cannot be read as UTF-8 text: {error}; save it as UTF-8") from error


def _csv_rows(path: Path, reader: csv.DictReader[str]) -> Iterator[tuple[int, dict[str, str]]]:
    columns = [name.strip() for name in reader.fieldnames or []]
    missing = [name for name in ("path", "label") if name not in columns]
    if missing:
        raise CatalogError(f"{path} has no column {' and '.join(missing)}, only {columns}; {_HELP}")
    for row in reader:
        if "(more)" in row:
            raise CatalogError(f"{path}, line {reader.line_num}: more values than columns; quote values with commas")
        yield reader.line_num, {name.strip(): value.strip() for name, value in row.items()}


def _json_row(path: Path, line: int, text: str) -> dict[str, str]:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise CatalogError(f"{path}, line {line}: not JSON ({error}); write one object a line") from error
    if not isinstance(row, dict) or "path" not in row:
        raise CatalogError(f'{path}, line {line}: no "path"; write one object a line with path, label, group, split')
    return {name: "" if value is None else str(value) for name, value in row.items()}


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise CatalogError(f"{path} cannot be read as Parquet: {error}") from error
    with file:
        schema = file.schema_arrow
        missing = [name for name in ("path", "label") if name not in schema.names]
        if missing:
            raise CatalogError(f"{path} has no column {' and '.join(missing)}, only {schema.names}; {_HELP}")
        columns = [name for name in ("path", "label", "group", "split") if name in schema.names]
        for name in columns:
            _check_parquet_type(path, name, schema.field(name).type)
        row_number = 0
        for batch in file.iter_batches(columns=columns):
            for row in batch.to_pylist():
                row_number += 1
                yield row_number, {name: "" if value is None else str(value).strip() for name, value in row.items()}


def _check_parquet_type(path: Path, name: str, kind: pa.DataType) -> None:
    """Text and whole numbers have one way to be written; 3.0, a list or a date has not."""
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    text = pa.types.is_string(values) or pa.types.is_large_string(values) or pa.types.is_string_view(values)
    if not (text or pa.types.is_integer(values) or pa.types.is_null(values)):
        raise CatalogError(f"{path}: column {name!r} is of type {kind}; write it as text")


def _listed(path: Path, line: int, row: dict[str, str], folder: Location) -> ListedVideo:
    if not row["path"]:
        raise CatalogError(f"{path}, line {line}: the path is empty; give the video's file, or delete the line")
    split = row.get("split", "").lower()
    if split not in SPLIT_NAMES:
        raise CatalogError(
            f"{path}, line {line}: split {row['split']!r} is not known; use train, val, test, unlabelled or nothing"
        )
    split = SPLIT_NAMES[split]
    label = row.get("label", "") or None
    if label is None and split in ("val", "test"):
        raise CatalogError(f"{path}, line {line}: a video of split {split!r} needs a label; give it, or another split")
    if split == "unlabelled":
        label = None  # the split says that the label, if there is one, must not be used
    return ListedVideo(joined(folder, row["path"]), label, row.get("group", ""), split)
