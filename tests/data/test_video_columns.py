from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsedense.data.errors import StoreError
from sparsedense.data.manifest import SCHEMA, ManifestRow
from sparsedense.data.splits import SPLITS
from sparsedense.data.video_columns import FramePlace, VideoColumns, read_text

ROW = ManifestRow(video_id=0, path="a", label=None, label_id=-1, group="g", split="train", status="ok")
REJECTED = replace(ROW, status="rejected", reason="no")


def write_manifest(store: Path, rows: Sequence[ManifestRow]) -> None:
    """As `prepare` does, without waiting for the disk."""
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA), store / "manifest.parquet")


def ok(shard: int, start: int, frames: int, height: int, width: int, label: int) -> ManifestRow:
    split = SPLITS[label % len(SPLITS)]
    return replace(
        ROW,
        label_id=label,
        split=split,
        shard=shard,
        index_start=start,
        num_frames=frames,
        height=height,
        width=width,
    )


BIG = 2**31 - 1
ROWS = st.one_of(
    st.just(REJECTED),
    st.builds(
        ok,
        st.integers(0, 3),
        st.integers(0, 2**40),
        st.integers(1, BIG),
        st.sampled_from([48, 128, 129, 30_000]),
        st.sampled_from([64, 171, 70_000]),
        st.integers(-1, 40_000),
    ),
)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, max_size=12))
def test_columns_say_what_the_rows_say(rows: list[ManifestRow], tmp_path: Path) -> None:
    write_manifest(tmp_path, [replace(row, video_id=number) for number, row in enumerate(rows)])
    columns = VideoColumns.read(tmp_path)
    assert len(columns) == len(rows)
    assert columns.num_frames.tolist() == [row.num_frames for row in rows]
    assert columns.label_ids.tolist() == [row.label_id for row in rows]
    assert [SPLITS[code] for code in columns.split_codes] == [row.split for row in rows]
    assert columns.readable.tolist() == [row.status == "ok" for row in rows]
    shards = columns.shards()
    assert len(shards) == len(rows)
    for number, row in enumerate(rows):
        if row.status == "ok":
            expected = FramePlace(row.shard, row.index_start, row.num_frames, row.height, row.width)
            assert columns.place(number) == expected
            assert shards[number] == row.shard


def test_a_video_takes_few_bytes(tmp_path: Path) -> None:
    rows = [
        replace(ok(number // 100, number % 100 * 250, 250, 128, 171, 3), video_id=number, path="x" * 200)
        for number in range(4_000)
    ]
    write_manifest(tmp_path, rows)
    columns = VideoColumns.read(tmp_path)
    assert sum(column.nbytes for column in columns._columns.values()) < 4_000 * 16


def test_a_started_process_maps_the_columns(tmp_path: Path) -> None:
    write_manifest(tmp_path, [ok(0, 0, 20, 48, 64, 1), REJECTED])
    columns = VideoColumns.read(tmp_path)
    copied = pickle.loads(pickle.dumps(columns))
    assert copied.place(0) == columns.place(0)
    assert columns.num_frames.tolist() == copied.num_frames.tolist() == [20, 0]


def test_an_unknown_split_is_an_error(tmp_path: Path) -> None:
    write_manifest(tmp_path, [ROW, replace(ROW, split="dev")])
    with pytest.raises(StoreError, match=r"manifest\.parquet has the split 'dev'; known are train, val"):
        VideoColumns.read(tmp_path)


def test_another_layout_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "manifest.parquet")
    with pytest.raises(StoreError, match=r"has the columns \['path'\], expected"):
        VideoColumns.read(tmp_path)


def test_a_text_is_read_alone(tmp_path: Path) -> None:
    write_manifest(tmp_path, [replace(ROW, path=f"video {number}") for number in range(5)])
    assert read_text(tmp_path, "path", 3) == "video 3"
    with pytest.raises(IndexError, match="video 5 does not exist"):
        read_text(tmp_path, "path", 5)
