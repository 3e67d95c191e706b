from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from sparsedense.data.errors import CatalogError, StoreError
from sparsedense.data.prepare import PrepareProgress, prepare
from sparsedense.data.store import FrameStore
from sparsedense.video.errors import DamagedVideoError
from sparsedense.video.read import stream_frames
from tests.data.conftest import BROKEN, CUT, GOOD, files_of
from tests.video import sample_videos as samples


def decoded(path: Path, short_side: int) -> samples.Frames:
    frames: list[samples.Frames] = []
    try:
        frames.extend(stream_frames(path, short_side=short_side))
    except DamagedVideoError:
        assert path.name == "cut.mp4"
    return np.stack(frames)


def test_good_videos_are_stored_and_broken_ones_listed_with_their_reason(video_folder: Path, tmp_path: Path) -> None:
    steps: list[PrepareProgress] = []
    summary = prepare(video_folder, tmp_path / "store", short_side=64, workers=0, progress=steps.append)
    assert dict(summary.rejects) == BROKEN
    assert (summary.ok, summary.rejected) == (len(GOOD) + 1, len(BROKEN))
    ((cut, reason),) = summary.damaged
    assert cut == CUT
    assert reason.startswith("damaged after frame ")
    assert summary.notes == ["1 other file ignored: .txt x1"]
    assert [step.done for step in steps] == list(range(1, len(GOOD) + len(BROKEN) + 2))
    assert (steps[-1].total, steps[-1].rejected, steps[-1].frames) == (13, len(BROKEN), summary.frames)
    assert steps[-1].files_per_second > 0
    assert steps[-1].frames_per_second > 0
    assert [path.name for path in tmp_path.iterdir()] == ["store"]

    rows = pq.read_table(tmp_path / "store" / "manifest.parquet").to_pylist()
    assert [row["path"] for row in rows] == sorted([*GOOD, *BROKEN, CUT])
    assert [row["video_id"] for row in rows] == list(range(13))
    for row in rows:
        path = row["path"]
        assert row["status"] == ("rejected" if path in BROKEN else "ok")
        assert row["reason"] == (reason if path == CUT else BROKEN.get(path))
        assert row["num_frames"] == GOOD.get(path, len(decoded(video_folder / CUT, 64)) if path == CUT else 0)
        unlabelled = path.startswith("unlabelled")
        assert row["label"] == (None if unlabelled else path.split("/")[0])
        assert row["label_id"] == (-1 if unlabelled else ("run", "walk").index(row["label"]))
        assert (row["split"] == "unlabelled") == unlabelled
        assert (row["shard"] == -1) == (row["index_start"] == -1) == (path in BROKEN)
    by_path = {row["path"]: row for row in rows}
    moving, phone = by_path["run/moving.mp4"], by_path["unlabelled/phone.mp4"]
    assert [moving[name] for name in ("width", "height", "source_width", "source_height")] == [85, 64, 160, 120]
    assert [phone[name] for name in ("width", "height", "source_width", "source_height")] == [48, 64, 48, 64]
    assert by_path["unlabelled/a.mp4"]["fps"] == pytest.approx(12.5)


def test_a_raw_store_holds_exactly_the_decoded_frames(video_folder: Path, raw_store: Path) -> None:
    store = FrameStore(raw_store)
    for video_id in store.videos():
        frames = decoded(video_folder / store.paths[video_id], store.short_side)
        stored = store.read(video_id, np.arange(store.num_frames[video_id])).permute(1, 2, 3, 0).numpy()
        assert np.array_equal(stored, frames)


def test_a_jpeg_store_holds_them_closely(video_folder: Path, jpeg_store: Path) -> None:
    store = FrameStore(jpeg_store)
    for video_id in store.videos():
        frames = decoded(video_folder / store.paths[video_id], store.short_side)
        stored = store.read(video_id, np.arange(store.num_frames[video_id])).permute(1, 2, 3, 0).numpy()
        assert stored.shape == frames.shape
        assert np.abs(stored.astype(int) - frames).mean() < 4


@pytest.mark.parametrize("codec", ["jpeg", "raw"])
def test_the_bytes_do_not_depend_on_the_number_of_workers(codec: str, video_folder: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        prepare(video_folder, tmp_path / str(workers), codec=codec, workers=workers, max_shard_bytes=60_000)
    one, two = files_of(tmp_path / "0"), files_of(tmp_path / "2")
    assert sum(name.endswith(".tar") for name in one) > 2
    assert one == two


def test_shards_are_plain_tar_files_in_webdataset_naming(jpeg_store: Path, raw_store: Path) -> None:
    with tarfile.open(jpeg_store / "shards" / "shard-000000.tar") as tar:
        names = tar.getnames()
        assert names[:2] == ["00000000.000000.jpg", "00000000.000001.jpg"]
        assert names[25:27] == ["00000000.json", "00000001.000000.jpg"]
        metadata = tar.extractfile("00000000.json")
        assert metadata is not None
        assert b'"label": "run"' in metadata.read()
    with tarfile.open(raw_store / "shards" / "shard-000000.tar") as tar:
        assert tar.getnames()[:2] == ["00000000.frames.npy", "00000000.json"]
        tar.extract("00000001.frames.npy", raw_store.parent, filter="data")
    frames = np.load(raw_store.parent / "00000001.frames.npy")
    assert frames.shape == (12, 33, 45, 3)
    assert np.array_equal(frames, FrameStore(raw_store).read(1, np.arange(12)).permute(1, 2, 3, 0).numpy())


def test_a_store_made_otherwise_is_replaced_only_on_request_and_nothing_else_ever(
    video_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "store"
    out.mkdir()  # an empty folder is no obstacle
    prepare(video_folder, out, workers=0, short_side=32)
    with pytest.raises(StoreError, match="short_side was 32 and is now 128; use --overwrite to make it again, or"):
        prepare(video_folder, out, workers=0)
    with pytest.raises(CatalogError):
        prepare(tmp_path / "missing", out, workers=0, overwrite=True)
    assert FrameStore(out).short_side == 32
    prepare(video_folder, out, workers=0, short_side=16, overwrite=True)
    assert FrameStore(out).short_side == 16
    with pytest.raises(StoreError, match="exists and is not a frame store"):
        prepare(video_folder, video_folder / "walk", overwrite=True)
    assert (video_folder / "walk" / "1.mp4").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_listed_file_that_is_missing_is_a_reject_and_not_an_error(video_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(f"path,label\n{video_folder}/walk/1.mp4,walk\ngone.mp4,walk\n")
    summary = prepare(tmp_path / "v.csv", tmp_path / "store", workers=0)
    assert summary.rejects == [("gone.mp4", "file not found")]
    assert summary.ok == 1


def test_a_source_of_broken_files_only_is_an_error_with_reasons(tmp_path: Path) -> None:
    (tmp_path / "source" / "a").mkdir(parents=True)
    (tmp_path / "source" / "a" / "1.mp4").write_text("no video")
    with pytest.raises(CatalogError, match=r"none of the 1 video of source can be used \(a/1\.mp4: not a video file"):
        prepare(tmp_path / "source", tmp_path / "store", workers=0)
    assert not (tmp_path / "store").exists()


def test_shorter_videos_can_be_rejected(video_folder: Path, tmp_path: Path) -> None:
    summary = prepare(video_folder, tmp_path / "store", workers=0, min_frames=20)
    rejects = dict(summary.rejects)
    assert {path for path, frames in GOOD.items() if frames < 20} <= rejects.keys()
    assert rejects["run/odd.mp4"] == "12 frames, at least 20 needed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"codec": "png"}, "codec 'png' is not known; use one of jpeg, raw"),
        ({"quality": 0}, r"quality \(0\) must be from 1 to 100"),
        ({"short_side": 0}, r"short_side \(0\) must be at least 1"),
        ({"workers": -1}, r"workers \(-1\) must be at least 0"),
        ({"lists": "somewhere"}, r"lists \(somewhere\) are of a public data set; name it with dataset"),
        ({"dataset": "ucf101", "test_groups": ["g01"]}, "dataset 'ucf101' has groups and splits of its own; leave out"),
    ],
)
def test_arguments_out_of_range_are_refused(
    arguments: dict[str, Any], message: str, video_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(video_folder, tmp_path / "store", **arguments)


def test_a_script_without_main_guard_is_told_what_to_do(video_folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from sparsedense.data.prepare import prepare\n"
        f"prepare({str(video_folder)!r}, {str(tmp_path / 'store')!r}, workers=2)\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode != 0
    assert "if __name__ == '__main__'" in run.stderr.splitlines()[-1]
