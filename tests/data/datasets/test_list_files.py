from __future__ import annotations

from pathlib import Path

import pytest

from sparsedense.data.datasets.list_files import find_list, find_lists, read_json, read_lines
from sparsedense.data.errors import CatalogError
from tests.data.datasets.layouts import touch, write_lines


def test_lists_are_found_near_the_top_only(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt", "one/two/b.txt", "one/two/three/four/c.txt", "one/two/three/four/five/d.txt", "e.csv")
    assert [path.name for path in find_lists(tmp_path, "*.txt")] == ["a.txt", "b.txt", "c.txt"]


def test_folders_with_thousands_of_folders_are_not_searched(tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / "frames" / str(number)).mkdir(parents=True)
    touch(tmp_path, "frames/7/a.txt", "frames/b.txt", "labels/c.txt")
    assert [path.name for path in find_lists(tmp_path, "*.txt")] == ["b.txt", "c.txt"]


def test_the_first_name_is_preferred_and_equal_copies_are_one(tmp_path: Path) -> None:
    write_lines(tmp_path / "old.txt", ["1"])
    assert find_list(tmp_path, "new.txt", "old.txt", hint="").name == "old.txt"
    write_lines(tmp_path / "lists" / "new.txt", ["2"])
    assert find_list(tmp_path, "new.txt", "old.txt", hint="").name == "new.txt"
    write_lines(tmp_path / "copy" / "new.txt", ["2"])
    assert find_list(tmp_path, "new.txt", hint="") == tmp_path / "copy" / "new.txt"
    write_lines(tmp_path / "copy" / "new.txt", ["3"])
    with pytest.raises(CatalogError, match=r"different files new.txt: .*copy.*lists"):
        find_list(tmp_path, "new.txt", hint="")


def test_a_missing_list_is_told_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"has no file a.txt or b.txt, only nothing; look there"):
        find_list(tmp_path, "a.txt", "b.txt", hint="look there")
    touch(tmp_path, "videos/1.mp4", "c.txt")
    with pytest.raises(CatalogError, match=r"only 'c.txt', 'videos/'; look there"):
        find_list(tmp_path, "a.txt", hint="look there")
    with pytest.raises(CatalogError, match=r"c.txt is not a folder"):
        find_lists(tmp_path / "c.txt", "*")


def test_lines_of_any_system(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffone \r\n\r\n  two\nthree".encode())
    assert read_lines(tmp_path / "a.txt") == [(1, "one"), (3, "two"), (4, "three")]
    (tmp_path / "a.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(CatalogError, match=r"a.txt is not UTF-8 text"):
        read_lines(tmp_path / "a.txt")
    with pytest.raises(CatalogError, match=r"b.json cannot be read: No such file"):
        read_json(tmp_path / "b.json")
