from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from sparsedense.data.clip_config import ClipConfig
from sparsedense.data.contact_sheet import contact_sheet
from sparsedense.data.errors import StoreError
from sparsedense.data.file_cache import FileCache
from sparsedense.data.inspect import inspect_store, print_summary
from sparsedense.data.store import FrameStore
from tests.conftest import FewSquares
from tests.data.conftest import BROKEN, GOOD


def test_the_summary_counts_what_is_there(jpeg_store: Path) -> None:
    summary = inspect_store(jpeg_store, clips=ClipConfig(length=8, skip_ratio=2.0, min_dense_stride_frames=1.25))
    assert summary.min_frames == 20
    assert summary.split_videos["unlabelled"] == 2
    assert summary.kept["unlabelled"] == 0
    assert sum(summary.split_videos.values()) == len(GOOD) + 1
    assert sum(summary.kept.values()) == sum(frames >= 20 for frames in GOOD.values()) + 1
    assert summary.split_groups["unlabelled"] == 2
    assert {name: sum(counts.values()) for name, counts in summary.class_videos.items()} == {"run": 3, "walk": 3}
    assert summary.length_quantiles[0] == min(GOOD.values())
    assert dict(summary.fps) == {"25": len(GOOD), "12.5": 1}
    assert dict(summary.sizes)["48x64"] == 1
    reasons = {reason.reason: reason for reason in summary.rejects}
    assert sum(reason.count for reason in summary.rejects) == len(BROKEN)
    broken = reasons["not a video file (Invalid data found when processing input)"]
    assert broken.examples == ("walk/headless.mp4", "walk/text.avi")
    assert reasons["N frame, at least N needed"].count == 1
    assert [reason.examples for reason in summary.damaged] == [("walk/cut.mp4",)]
    assert summary.num_bytes == sum(file.stat().st_size for file in (jpeg_store / "shards").iterdir())


def test_the_default_filter_is_the_papers(jpeg_store: Path) -> None:
    assert inspect_store(jpeg_store).min_frames == 109


def test_a_filter_may_be_given_and_is_named(jpeg_store: Path) -> None:
    summary = inspect_store(jpeg_store, clips=ClipConfig(length=10, skip_ratio=2.0, min_dense_stride_frames=1.0))
    text = io.StringIO()
    print_summary(summary, recipe="tclr+small", console=Console(file=text, width=120))
    assert "the length filter of the recipe tclr+small leaves" in " ".join(text.getvalue().split())
    assert ">= 20 frames" in text.getvalue()


def test_classes_that_lack_videos_are_named(squares: FrameStore, few_squares: FewSquares) -> None:
    assert not inspect_store(squares.path).gaps
    rows = [("train/down/down_train0.mp4", "down", "train"), ("test/down/down_test0.mp4", "down", "test")]
    summary = inspect_store(few_squares(*rows, ("test/right/right_test0.mp4", "right", "test")).path)
    told = "1 class without a training video (all videos of the class are of one group): 'right'"
    assert summary.gaps == (told,)
    text = io.StringIO()
    print_summary(summary, console=Console(file=text, width=120))
    assert f"Warning: {told}" in text.getvalue()


def test_the_printed_summary_shows_it(jpeg_store: Path) -> None:
    text = io.StringIO()
    print_summary(inspect_store(jpeg_store), console=Console(file=text, width=120), max_classes=1)
    printed = text.getvalue()
    for expected in ("8 videos", "run", "... and 1 more", "walk/empty.mp4", "file is empty", ">= 109 frames",
                     "25 x7", "damaged after frame N", "1 other file ignored: .txt x1"):  # fmt: skip
        assert expected in printed
    assert "walk  " not in printed


def test_a_store_at_a_url_is_as_in_its_folder(
    jpeg_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsedense.data.remote_store.DEFAULT_CACHE", tmp_path / "cache")
    here, there = inspect_store(jpeg_store), inspect_store(jpeg_store.as_uri())
    assert there.location == jpeg_store.as_uri()
    assert replace(there, location=here.location) == here
    assert not list((tmp_path / "cache").rglob("*.tar")), "nothing of the frames is copied to be counted"
    sheets = [
        contact_sheet(store, tmp_path / name) for store, name in ((jpeg_store, "a.png"), (jpeg_store.as_uri(), "b.png"))
    ]
    assert sheets[0].read_bytes() == sheets[1].read_bytes()


def test_a_server_that_tells_no_size_leaves_it_unknown(
    jpeg_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsedense.data.remote_store.DEFAULT_CACHE", tmp_path / "cache")
    monkeypatch.setattr(FileCache, "size", lambda cache, name: -1 if name.endswith(".tar") else 10)
    summary, text = inspect_store(jpeg_store.as_uri()), io.StringIO()
    assert summary.num_bytes == -1
    print_summary(summary, console=Console(file=text, width=150))
    assert "of unknown size" in text.getvalue()


def test_a_url_where_a_folder_is_needed_is_told() -> None:
    with pytest.raises(StoreError, match="https:/host/store is a URL, and this takes a store in a folder"):
        FrameStore(Path("https://host/store"))


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a frame store"):
        inspect_store(tmp_path)
