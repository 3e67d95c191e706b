from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedense.experiments.job_records import (
    JobRecord,
    begin,
    read_record,
    record_path,
    settings_hash,
    started_path,
    write_atomically,
    write_record,
)
from sparsedense.settings_changes import changes

RECORD = JobRecord("finetune/a-store-3-seed0", {"epochs": 6}, {"accuracy": 0.5}, 12.5, "2026-01-01T00:00:00+00:00")
SETTINGS = st.dictionaries(
    st.sampled_from("abc"),
    st.one_of(st.integers(0, 2), st.none(), st.dictionaries(st.sampled_from("xy"), st.integers(0, 2), min_size=1)),
)


def test_a_record_comes_back(tmp_path: Path) -> None:
    assert read_record(tmp_path, RECORD.name) is None
    begin(tmp_path, RECORD.name, RECORD.settings)
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path, RECORD.name) == RECORD
    assert not started_path(tmp_path, RECORD.name).exists()


@pytest.mark.parametrize("text", ["", '{"name": "a", "sett', "[]", "{}", '{"name": 1}'])
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    write_record(tmp_path, RECORD)
    record_path(tmp_path, RECORD.name).write_text(text)
    assert read_record(tmp_path, RECORD.name) is None


def test_a_begun_run_goes_on_only_with_the_same_settings(tmp_path: Path) -> None:
    out, name = tmp_path / "out", "pretrain/a"
    assert not begin(out, name, {"epochs": 6})
    assert begin(out, name, {"epochs": 6})
    assert not begin(out, name, {"epochs": 7})
    assert begin(out, name, {"epochs": 7})
    out.rename(tmp_path / "moved")
    assert begin(tmp_path / "moved", name, {"epochs": 7})


def test_beginning_again_takes_back_that_it_was_finished(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    begin(tmp_path, RECORD.name, {"epochs": 8})
    assert read_record(tmp_path, RECORD.name) is None


@given(old=SETTINGS, new=SETTINGS)
def test_changes_are_named_where_the_hash_differs_and_only_there(
    old: dict[str, object], new: dict[str, object]
) -> None:
    assert (not changes(old, new)) == (settings_hash(old) == settings_hash(new))


def test_a_change_is_named_with_its_values() -> None:
    old = {"experiment": {"finetune": {"epochs": 6, "keep": "last"}}, "init": None}
    new = {"experiment": {"finetune": {"epochs": 8, "keep": "last"}, "seed": 1}, "init": None}
    assert list(changes(old, new).values()) == ["experiment.finetune.epochs: 6 -> 8", "experiment.seed: (absent) -> 1"]


def test_the_order_of_keys_is_no_change() -> None:
    assert settings_hash({"a": 1, "b": 2}) == settings_hash({"b": 2, "a": 1})


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_atomically(path, "first")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half \ud800")
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]
