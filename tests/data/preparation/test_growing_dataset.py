"""A public data set whose missing videos arrive later: what was drawn for validation stays there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsedense.data.errors import StoreError
from sparsedense.data.manifest import read_rows
from sparsedense.data.preparation.merge import merge_stores
from sparsedense.data.prepare import PrepareSummary, prepare
from tests.data.conftest import files_of
from tests.video import sample_videos as samples

FILMS, TAKES = 8, 3


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """HMDB51's layout with two classes: takes 0 and 1 of each film train, take 2 of every other film tests."""
    root = tmp_path / "source"
    for label in ("sword", "wave"):
        lines = []
        for film in range(FILMS):
            for take in range(TAKES):
                name = f"Film{film}_{label}_f_cm_np1_le_med_{take}.avi"
                lines.append(f"{name} {2 if take == 2 and film % 2 else 1}")
                path = root / "hmdb51_org" / label / name
                path.parent.mkdir(parents=True, exist_ok=True)
                samples.write_encoded(path, 3 + film + take, codec="mpeg4")
        lists = root / "testTrainMulti_7030_splits" / f"{label}_test_split1.txt"
        lists.parent.mkdir(exist_ok=True)
        lists.write_text("".join(f"{line} \n" for line in lines))
    return root


def prepared(source: Path, out: Path, *, shard: str | None = None, overwrite: bool = False) -> PrepareSummary:
    return prepare(source, out, dataset="hmdb51", val_fraction=0.3, short_side=16, workers=0, shard=shard,
                   overwrite=overwrite)  # fmt: skip


def splits_of(store: Path) -> dict[str, tuple[str, str]]:
    return {Path(row.path).stem: (row.group, row.split) for row in read_rows(store)}


def test_no_video_moves_between_train_and_val_when_others_arrive(source: Path, tmp_path: Path) -> None:
    store, aside = tmp_path / "store", tmp_path / "aside"
    aside.mkdir()
    # All of the films 2 and 3, and a take of each other one, are missing at first.
    late = [path for path in sorted(source.rglob("*.avi")) if path.name[4] in "23" or path.stem.endswith("_0")]
    folders = {path.name: path.parent for path in late}
    for path in late:
        path.replace(aside / path.name)
    prepared(source, store)
    before = splits_of(store)
    for name, folder in folders.items():
        (aside / name).replace(folder / name)
    fresh = tmp_path / "fresh"
    prepared(source, fresh)
    assert any(splits_of(fresh)[name] != split for name, split in before.items()), (
        "a new draw differs, or nothing is shown"
    )

    prepared(source, store)
    after = splits_of(store)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * FILMS * TAKES
    for film in range(FILMS):
        drawn = {split for group, split in after.values() if group == f"Film{film}" and split != "test"}
        assert len(drawn) == 1, f"film {film} is in train and val"
    assert {split for _, split in after.values()} == {"train", "val", "test"}
    assert not prepared(source, store).changed


def test_parts_of_lists_that_cut_a_group_can_be_merged(source: Path, tmp_path: Path) -> None:
    prepared(source, tmp_path / "whole")
    for number in (1, 2):
        prepared(source, tmp_path / f"part{number}", shard=f"{number}/2")
    merge_stores([tmp_path / "part1", tmp_path / "part2"], tmp_path / "merged")
    assert files_of(tmp_path / "merged") == files_of(tmp_path / "whole")


def test_stores_that_contradict_each_other_about_a_group_are_not_merged(tmp_path: Path) -> None:
    for split, name in (("train", "one"), ("test", "two")):
        folder = tmp_path / name
        folder.mkdir()
        samples.write_numbered(folder / f"{name}.mp4", 4, height=16, width=16)
        (folder / "videos.csv").write_text(f"path,label,group,split\n{name}.mp4,walk,anna,{split}\n")
        prepare(folder, tmp_path / f"store_{name}", short_side=16, workers=0)
    with pytest.raises(StoreError, match="groups in more than one of train, val and test: 'anna'"):
        merge_stores([tmp_path / "store_one", tmp_path / "store_two"], tmp_path / "merged")
