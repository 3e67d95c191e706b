from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sparsedense.data.preparation.source_files import (
    SourceFile,
    hash_content,
    look_at,
    read_source_files,
    write_source_files,
)


def test_a_file_is_known_by_size_time_and_content(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 3_000_000)
    os.utime(path, ns=(1, 123_456_789))
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    assert look_at(path) == SourceFile(num_bytes=3_000_000, modified_ns=123_456_789)
    assert hash_content(path, alive=beat) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert beats == 3


def test_what_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("missing", "pipe", "folder", "loop"):
        assert look_at(tmp_path / name) is None
    assert hash_content(tmp_path / "missing") is None


def test_a_folder_of_pictures_is_known_as_one_video(tmp_path: Path) -> None:
    folder = tmp_path / "video"
    folder.mkdir()
    for number in range(1, 4):
        (folder / f"{number:05d}.jpg").write_bytes(bytes([number]) * number)
        os.utime(folder / f"{number:05d}.jpg", ns=(number, 10 - number))
    (folder / "notes.txt").write_text("left out")
    assert look_at(folder) == SourceFile(num_bytes=6, modified_ns=9)
    before = hash_content(folder)
    assert before == hashlib.sha256(b"\1\2\2\3\3\3").hexdigest()
    assert hash_content(Path(shutil.copytree(folder, tmp_path / "copy"))) == before
    (folder / "00002.jpg").write_bytes(b"22")
    assert hash_content(folder) != before


def test_files_come_back_as_they_were_written(tmp_path: Path) -> None:
    files = [SourceFile(num_bytes=1, modified_ns=2**62, sha256="ab"), SourceFile(retry=True)]
    write_source_files(tmp_path, files)
    assert read_source_files(tmp_path, num_rows=2) == files
    assert [path.name for path in tmp_path.iterdir()] == ["sources.parquet"]


def test_a_store_made_before_urls_could_be_sources_keeps_what_it_knows(tmp_path: Path) -> None:
    files = [SourceFile(num_bytes=1, modified_ns=2, sha256="ab"), SourceFile(retry=True)]
    write_source_files(tmp_path, files)
    path = tmp_path / "sources.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["version"]), path)
    assert read_source_files(tmp_path, num_rows=2) == files


def test_a_version_is_known_by_time_or_by_what_a_server_says() -> None:
    here, there, silent = SourceFile(num_bytes=1, modified_ns=2), SourceFile(version="ETag a"), SourceFile(num_bytes=1)
    for file in (here, there):
        assert replace(file, sha256="ab").same_version(file)
        assert not file.same_version(replace(file, num_bytes=9))
    assert not here.same_version(replace(here, modified_ns=9))
    assert not there.same_version(replace(there, version="ETag b"))
    assert not silent.same_version(silent)  # nothing tells that it has not changed


@pytest.mark.parametrize("damage", ["missing", "other rows", "no parquet"])
def test_of_a_store_without_them_nothing_is_known(damage: str, tmp_path: Path) -> None:
    if damage == "other rows":
        write_source_files(tmp_path, [SourceFile(num_bytes=1)])
    if damage == "no parquet":
        (tmp_path / "sources.parquet").write_text("damaged")
    assert read_source_files(tmp_path, num_rows=2) == [SourceFile(), SourceFile()]
