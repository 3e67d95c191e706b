from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsedense.data.errors import StoreError
from sparsedense.data.preparation.merge import merge_stores
from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from tests.data.conftest import files_of
from tests.data.preparation.test_update import check_consistent, clips, write


@pytest.mark.parametrize(("codec", "count"), [("jpeg", 3), ("raw", 2), ("raw", 20)])
def test_merged_parts_are_the_store_of_one_run_byte_for_byte(
    codec: str, count: int, video_folder: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"codec": codec, "short_side": 64, "workers": 0, "max_shard_bytes": 80_000}
    shutil.copytree(video_folder, source := tmp_path / "source")
    shutil.copy(source / "walk" / "1.mp4", source / "run" / "copy.mp4")
    whole = prepare(source, tmp_path / "whole", **settings)
    parts = [tmp_path / f"part{number}" for number in range(1, count + 1)]
    for number, part in enumerate(parts, start=1):
        prepare(source, part, shard=f"{number}/{count}", **settings)
    rows = [len(FrameStore(part)) for part in parts]
    assert sum(rows) == 14
    assert max(rows) - min(rows) <= 1
    merged = merge_stores(parts[::-1], tmp_path / "merged")
    assert files_of(tmp_path / "merged") == files_of(tmp_path / "whole")
    assert any("run/copy.mp4" in note for note in whole.notes)
    assert (merged.notes, merged.rejects, merged.damaged) == (whole.notes, whole.rejects, whole.damaged)
    assert not prepare(source, tmp_path / "merged", **settings).changed  # and it is brought up to date as that one


def test_parts_that_do_not_make_a_whole_are_refused(video_folder: Path, tmp_path: Path) -> None:
    def part(shard: str | None, name: str, source: Path = video_folder, **changes: Any) -> Path:
        prepare(source, tmp_path / name, shard=shard, **{"workers": 0, "codec": "raw", "short_side": 16, **changes})
        return tmp_path / name

    one, two = part("1/3", "one"), part("2/3", "two")
    with pytest.raises(StoreError, match="of 3 parts, '3/3' are missing"):
        merge_stores([one, two], tmp_path / "out")
    with pytest.raises(StoreError, match="of 3 parts, '3/3' are missing"):
        merge_stores([one, two, two], tmp_path / "out")
    with pytest.raises(StoreError, match=r"has short_side 12 and .*one has 16"):
        merge_stores([one, two, part("3/3", "other format", short_side=12)], tmp_path / "out")
    changed = shutil.copytree(video_folder, tmp_path / "copy" / video_folder.name)
    (changed / "walk" / "1.mp4").rename(changed / "walk" / "9.mp4")
    with pytest.raises(StoreError, match="the source has changed between them"):
        merge_stores([one, two, part("3/3", "other source", changed)], tmp_path / "out")
    with pytest.raises(StoreError, match="is the store of a whole source and others are parts"):
        merge_stores([one, part(None, "whole")], tmp_path / "out")
    with pytest.raises(StoreError, match="1 store given; at least two"):
        merge_stores([one], tmp_path / "out")
    with pytest.raises(StoreError, match="two is a frame store already; use --overwrite"):
        merge_stores([one, two], two)
    with pytest.raises(StoreError, match="shard was '1/3' and is now None"):
        part(None, "one")
    assert not (tmp_path / "out").exists()


def test_a_part_of_a_source_that_changed_is_not_brought_up_to_date(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(4):
        write(source / "a" / f"{number}.mp4", 4)
    prepare(source, tmp_path / "part", shard="1/2", workers=0)
    assert not prepare(source, tmp_path / "part", shard="1/2", workers=0).changed
    write(source / "a" / "9.mp4", 4)
    with pytest.raises(StoreError, match=r"has changed since .*part was made from a part of it"):
        prepare(source, tmp_path / "part", shard="1/2", workers=0)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_is_i_of_n(shard: str, video_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not I/N with I from 1 to N"):
        prepare(video_folder, tmp_path / "store", shard=shard)


def test_stores_of_several_sources_follow_each_other(tmp_path: Path) -> None:
    for name, label, number in (("one", "walk", 1), ("one", "sit", 2), ("two", "hop", 3), ("two", "walk", 4)):
        write(tmp_path / name / label / f"{number}.mp4", 4 + number)
    for name in ("one", "two"):
        prepare(tmp_path / name, tmp_path / f"{name} store", codec="raw", workers=0, test_fraction=0, val_fraction=0)
    merge_stores([tmp_path / "one store", tmp_path / "two store"], tmp_path / "merged")
    store = FrameStore(tmp_path / "merged")
    assert store.class_names == ("hop", "sit", "walk")
    assert store.paths == ["sit/2.mp4", "walk/1.mp4", "hop/3.mp4", "walk/4.mp4"]
    assert store.label_ids.tolist() == [1, 2, 0, 2]
    assert {name: len(numbers) for name, numbers in clips(store).items()} == {
        "sit/2.mp4": 6, "walk/1.mp4": 5, "hop/3.mp4": 7, "walk/4.mp4": 8,
    }  # fmt: skip
    check_consistent(tmp_path / "merged")
    assert np.unique([row for row in store.manifest["video_id"].to_pylist()]).tolist() == [0, 1, 2, 3]

    shutil.copytree(tmp_path / "one store", tmp_path / "three store")
    with pytest.raises(StoreError, match=r"sit/2\.mp4 is in .*one store and in .*three store; names must differ"):
        merge_stores([tmp_path / "one store", tmp_path / "three store"], tmp_path / "again")
