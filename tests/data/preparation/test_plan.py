from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparsedense.data.preparation.arguments import PrepareArguments, parse_shard, same_splits, told_differences
from sparsedense.data.preparation.plan import Plan, PlannedVideo, read_plan, write_plan
from sparsedense.data.preparation.source_files import SourceFile

ARGUMENTS = PrepareArguments(
    codec="jpeg", short_side=128, quality=90, min_frames=2, max_shard_bytes=1000, dataset=None, split=1, lists=None,
    group_pattern=None, val_fraction=None, test_fraction=0.2, val_groups=(), test_groups=("b", "a"), seed=0,
)  # fmt: skip


def test_a_plan_comes_back_as_it_was(tmp_path: Path) -> None:
    known = SourceFile(num_bytes=3, modified_ns=4, sha256="5", retry=True, version="ETag 6")
    videos = [
        PlannedVideo("a\nb 走", "x", "g", "train", Path(os.fsdecode(b"/videos/\xff\n.mp4"))),
        PlannedVideo("a%20b.mp4", "x", "i", "train", "s3://bucket/a%20b.mp4"),
        PlannedVideo("c", None, "h", "unlabelled", None, known),
    ]
    plan = Plan(
        source="/videos",
        arguments=ARGUMENTS.record(),
        base="mark",
        class_names=("y", "x"),
        notes=("a note",),
        missing=("gone", "weg"),
        shard={"number": 2, "count": 3, "catalog": "mark"},
        videos=videos,
    )
    write_plan(tmp_path / "plan", plan)
    assert read_plan(tmp_path / "plan") == plan
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]
    assert [plan.row(number).label_id for number in range(3)] == [1, 1, -1]


def test_differences_between_arguments_are_told() -> None:
    before = ARGUMENTS.record()
    assert before["test_groups"] == ["a", "b"]  # in any order they mean the same
    now = {**before, "short_side": 64, "seed": 1}
    assert told_differences(before, now) == "short_side was 128 and is now 64, seed was 0 and is now 1"
    assert told_differences(before, before) == ""
    assert told_differences({}, now) == ""  # of an older store nothing is known
    assert same_splits(before, {**before, "short_side": 64})
    assert not same_splits(before, now)


@pytest.mark.parametrize(("shard", "expected"), [(None, None), ("1/1", (1, 1)), ("03/16", (3, 16))])
def test_shards_are_parsed(shard: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_shard(shard) == expected
