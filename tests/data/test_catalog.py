from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from sparsedense.data.catalog import Catalog, read_catalog
from sparsedense.data.errors import CatalogError


def make_files(root: Path, *names: str) -> Path:
    """Files that are listed by name only: a catalog does not open them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def table_of(catalog: Catalog) -> dict[str, tuple[str | None, str, str]]:
    return {catalog.name(entry): (entry.label, entry.group, entry.split) for entry in catalog}


def test_class_folders_with_unlabelled_videos(tmp_path: Path) -> None:
    names = [f"{label}/{number}.MP4" for label in ("walk", "run") for number in range(10)]
    make_files(tmp_path, *names, "run/deep/er.avi", "unlabeled/x.mkv", "loose.mp4")
    catalog = read_catalog(tmp_path, seed=3)
    table = table_of(catalog)
    assert list(table) == ["loose.mp4", *sorted(n for n in names if n[0] == "r"), "run/deep/er.avi",
                           "unlabeled/x.mkv", *sorted(n for n in names if n[0] == "w")]  # fmt: skip
    assert table["run/deep/er.avi"][0] == "run"
    assert table["unlabeled/x.mkv"] == (None, "unlabeled/x", "unlabelled")
    assert table["loose.mp4"] == (None, "loose", "unlabelled")
    assert catalog.notes == (f"1 video in no class folder of {tmp_path.name} taken as unlabelled",)
    counts = Counter((label, split) for label, _, split in table.values())
    assert counts["walk", "train"] == 7
    assert (counts["walk", "val"], counts["walk", "test"]) == (1, 2)
    assert len(catalog) == len(table)
    assert read_catalog(tmp_path, seed=3).entries == catalog.entries


def test_other_and_hidden_files_are_left_out_and_counted(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.mp4", "a/notes.txt", "b.TXT", "LICENSE", "a/.hidden.mp4", ".cache/2.mp4")
    catalog = read_catalog(tmp_path, val_fraction=0, test_fraction=0)
    assert list(table_of(catalog)) == ["a/1.mp4"]
    assert catalog.notes == ("3 other files ignored: .txt x2, no extension x1",)


def test_split_folders_are_kept_as_they_are(tmp_path: Path) -> None:
    make_files(tmp_path, "train/a/1.mp4", "validation/a/2.mp4", "Test/b/3.mp4", "unlabelled/4.mp4", "extra/5.mp4",
               "train/unlabelled/6.mp4")  # fmt: skip
    catalog = read_catalog(tmp_path)
    table = {name: (label, split) for name, (label, _, split) in table_of(catalog).items()}
    assert table == {
        "train/a/1.mp4": ("a", "train"),
        "train/unlabelled/6.mp4": (None, "unlabelled"),
        "validation/a/2.mp4": ("a", "val"),
        "Test/b/3.mp4": ("b", "test"),
        "unlabelled/4.mp4": (None, "unlabelled"),
    }
    assert catalog.notes == ("1 video outside the split folders ignored: extra x1",)


def test_a_class_named_like_a_split_is_a_class(tmp_path: Path) -> None:
    make_files(tmp_path, "train/1.mp4", "car/2.mp4")
    assert {entry.label for entry in read_catalog(tmp_path)} == {"train", "car"}


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    make_files(tmp_path, "elsewhere/1.mp4", "source/b/2.mp4")
    (tmp_path / "source" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    assert list(table_of(read_catalog(tmp_path / "source"))) == ["a/1.mp4", "b/2.mp4"]


def test_a_csv_gives_labels_groups_and_splits(tmp_path: Path) -> None:
    absolute = tmp_path / "far" / "4.mp4"
    rows = ["split,label, path ,group", "train,a,x/1.mp4,g1", "Validation,b,2.mp4,", ",,3.mp4,"]
    rows += [f"test,a,{absolute},g2", "unlabelled,a,5.mp4,g2"]
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "my.csv").write_text("\ufeff" + "\r\n".join(rows), encoding="utf-8")
    catalog = read_catalog(tmp_path / "list" / "my.csv")
    assert table_of(catalog) == {
        "x/1.mp4": ("a", "g1", "train"),
        "2.mp4": ("b", "2", "val"),
        "3.mp4": (None, "3", "unlabelled"),
        absolute.as_posix(): ("a", "g2", "test"),
        "5.mp4": (None, "g2", "unlabelled"),
    }
    assert catalog[0].path == tmp_path / "list" / "x" / "1.mp4"
    assert catalog.notes == ("1 unlabelled video of groups that val or test use: 'g2'",)


def test_a_jsonl_file_and_a_csv_inside_a_folder_read_alike(tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text("path,label\n1.mp4,a\n2.mp4,\n")
    (tmp_path / "other.jsonl").write_text('{"path": "1.mp4", "label": "a"}\n\n{"path": "2.mp4", "label": null}\n')
    assert read_catalog(tmp_path).entries == read_catalog(tmp_path / "other.jsonl").entries


def test_a_list_in_the_folder_does_not_take_over_in_silence(tmp_path: Path) -> None:
    make_files(tmp_path, "1.mp4", "2.mp4", "more/3.mp4", "more/4.txt")
    (tmp_path / "videos.csv").write_text(f"path,label\n1.mp4,a\n{tmp_path / '2.mp4'},\n")
    expected = "videos and labels are those of videos.csv in the folder"
    in_folder, named = (
        read_catalog(source, val_fraction=0, test_fraction=0) for source in (tmp_path, tmp_path / "videos.csv")
    )
    assert in_folder.notes == (f"{expected}; 1 video file there not in it",)
    assert named.notes == (), "whoever names it knows"
    (tmp_path / "more" / "3.mp4").unlink()
    (tmp_path / "videos.csv").write_text("path,label,group,split\n1.mp4,a,g1,train\n2.mp4,a,g2,test\n")
    (note,) = read_catalog(tmp_path, group_pattern=r"\d").notes
    assert note == (
        "videos, labels, groups and splits are those of videos.csv in the folder, so --group-pattern, --val-fraction "
        "and --test-fraction have no effect on them"
    )


def test_a_split_that_stays_empty_is_told_with_the_reason(tmp_path: Path) -> None:
    make_files(tmp_path, *(f"{label}/{label}_{number}.mp4" for label in "ab" for number in range(5)))
    told = "stays empty: all videos of a class are of one group, which is never cut"
    assert read_catalog(tmp_path, group_pattern="[ab]").notes == (f"the split val {told}", f"the split test {told}")
    assert read_catalog(tmp_path, group_pattern="[ab]", val_fraction=0.0).notes == (f"the split test {told}",)
    assert read_catalog(tmp_path, group_pattern="[ab]", test_groups=["a"]).notes == (), "as it was asked for"
    make_files(tmp_path, "b/c.mp4")
    few = read_catalog(tmp_path, group_pattern="[abc]_?")
    assert few.notes[0] == "the split val stays empty: there are too few groups"


def test_groups_come_from_the_file_name_or_else_the_path(tmp_path: Path) -> None:
    make_files(tmp_path, *(f"{label}/s{subject}_{label}.mp4" for label in "ab" for subject in range(1, 5)), "a/odd.mp4")
    catalog = read_catalog(tmp_path, group_pattern=r"^(s\d+)_", test_groups=["s2"], val_groups=["s3"])
    for entry in catalog:
        expected = {"s2": "test", "s3": "val"}.get(entry.group, "train")
        assert entry.split == expected
    assert {entry.group for entry in catalog} == {"s1", "s2", "s3", "s4", "a/odd"}
    assert catalog.notes == (r"1 of 9 videos without a match of '^(s\\d+)_': each is its own group",)
    make_files(tmp_path / "deep", "a/subject 1/x.mp4", "b/subject 1/y.mp4", "a/subject 2/x.mp4")
    deep = read_catalog(tmp_path / "deep", group_pattern=r"subject \d")
    assert [entry.group for entry in deep] == ["subject 1", "subject 2", "subject 1"]


def test_named_groups_replace_given_splits(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("path,label,group,split\n1.mp4,a,s1,train\n2.mp4,a,s2,test\n")
    catalog = read_catalog(tmp_path / "v.csv", test_groups=["s1"])
    assert [entry.split for entry in catalog] == ["test", "train"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1.mp4,a\n", r"no column path, only \['file', 'label'\]; expected the columns path and label"),
        ("", "no column path and label"),
        ("path,label\n", "no videos in"),
        ("path,label\n,a\n", "line 2: the path is empty"),
        ("path,label\n1.mp4,a,b\n", "line 2: more values than columns"),
        ("path,label\n1.mp4,a\n1.mp4,b\n", r"line 3: '1\.mp4' is also in line 2"),
        ("path,label,split\n1.mp4,a,dev\n", "line 2: split 'dev' is not known; use train, val, test"),
        ("path,label,split\n1.mp4,,test\n", "line 2: a video of split 'test' needs a label"),
        ("path,label,split\n1.mp4,a,train\n2.mp4,a,\n", "a split for 1 of 2 labelled videos, and none for"),
        ("path,label,group,split\n1.mp4,a,g,train\n2.mp4,a,g,test\n", "into more than one of train, val and test: 'g'"),
    ],
)
def test_a_csv_that_makes_no_sense_is_explained(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises(CatalogError, match=message) as caught:
        read_catalog(tmp_path / "v.csv")
    assert str(tmp_path / "v.csv") in str(caught.value)


def test_files_that_are_no_lists_are_explained(tmp_path: Path) -> None:
    (tmp_path / "v.xlsx").touch()
    with pytest.raises(CatalogError, match=r"neither a folder nor a \.csv, \.jsonl or \.parquet file"):
        read_catalog(tmp_path / "v.xlsx")
    (tmp_path / "v.csv").write_bytes("path,label\n1.mp4,é\n".encode("latin-1"))
    with pytest.raises(CatalogError, match="save it as UTF-8"):
        read_catalog(tmp_path / "v.csv")
    for text, message in (("{", "line 1: not JSON"), ('{"label": "a"}', 'line 1: no "path"'), ("[1]", "line 1")):
        (tmp_path / "v.jsonl").write_text(text)
        with pytest.raises(CatalogError, match=message):
            read_catalog(tmp_path / "v.jsonl")


def test_folders_without_videos_are_explained(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"missing does not exist; expected class folders"):
        read_catalog(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogError, match=r"no videos in .*empty; expected class folders \(SOURCE/CLASS/video\.mp4"):
        read_catalog(tmp_path / "empty")
    make_files(tmp_path / "photos", "a/1.jpg", "a/2.jpg")
    with pytest.raises(CatalogError, match=r"no videos in .*photos \(2 other files ignored: \.jpg x2\)"):
        read_catalog(tmp_path / "photos")
    make_files(tmp_path / "flat", "train/a/1.mp4", "test/2.mp4")
    with pytest.raises(CatalogError, match=r"2\.mp4 lies in no class folder; put it into .*test/CLASS"):
        read_catalog(tmp_path / "flat")
    with pytest.raises(CatalogError, match=r"group_pattern '\(' is not a regular expression"):
        read_catalog(tmp_path / "flat", group_pattern="(")


def test_names_that_are_not_utf8_are_shown_escaped(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/a"
    os.mkdir(folder)  # noqa: PTH102
    Path(os.fsdecode(folder + b"/\xff.mp4")).touch()
    catalog = read_catalog(tmp_path)
    assert [catalog.name(entry) for entry in catalog] == [r"a/\xff.mp4"]
    assert Path(catalog[0].path).exists()
