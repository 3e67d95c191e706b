from __future__ import annotations

from pathlib import Path

import pytest

from sparsedense.data.manifest import ManifestRow
from sparsedense.data.preparation.journal import JournalEntry, append_entries, recover_entries
from sparsedense.data.preparation.source_files import SourceFile


def entry(number: int) -> JournalEntry:
    row = ManifestRow(
        video_id=number, path=f"two\nlines 走 {number}", label=None, label_id=-1, group="g", split="train",
        status="ok", fps=29.97002997002997,
    )  # fmt: skip
    return JournalEntry(row, SourceFile(num_bytes=number, modified_ns=2**60 + number, sha256="ab"), 512 * number)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    append_entries(path, [entry(0), entry(1)])
    append_entries(path, [entry(2)])
    return path


def test_entries_come_back_as_they_were(journal: Path) -> None:
    assert recover_entries(journal) == [entry(0), entry(1), entry(2)]
    assert recover_entries(journal.with_name("missing")) == []


def test_a_line_that_was_cut_short_anywhere_is_dropped_and_the_journal_goes_on(journal: Path) -> None:
    whole = journal.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        journal.write_bytes(whole[:end])
        assert recover_entries(journal) == [entry(0), entry(1)]
        assert journal.stat().st_size == last
    append_entries(journal, [entry(2), entry(3)])
    assert recover_entries(journal) == [entry(0), entry(1), entry(2), entry(3)]


def test_a_line_that_a_power_failure_filled_with_zeros_is_dropped_with_all_behind_it(journal: Path) -> None:
    whole = journal.read_bytes()
    first = whole.index(b"\n") + 1
    journal.write_bytes(whole[:first] + bytes(100) + b"\n" + whole[first:])
    assert recover_entries(journal) == [entry(0)]
