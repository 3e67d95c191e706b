"""Every kind of file that is normal in a folder of videos, with what becomes of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
from av.video.reformatter import Interpolation

from sparsedense.data.manifest import ManifestRow, read_rows
from sparsedense.data.preparation.merge import merge_stores
from sparsedense.data.preparation.store_assembly import read_missing
from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from tests.video import sample_videos as samples

UNSCALED = 100_000
NO_VIDEO = "not a video file (Invalid data found when processing input)"


def decoded_in_order(path: Path) -> samples.Frames:
    """The reference: what PyAV gives from the beginning to the end, turned upright."""
    frames = []
    with av.open(os.fspath(path)) as container:
        for frame in container.decode(video=0):
            pixels = frame.reformat(format="rgb24", interpolation=Interpolation.AREA).to_ndarray()
            frames.append(np.rot90(pixels, round(frame.rotation / 90)))
    return np.stack(frames)


def encoded(path: Path, num_frames: int, **settings: object) -> Path:
    return samples.write_encoded(path, num_frames, **settings)  # type: ignore[arg-type]


def write_hdr(path: Path) -> None:
    """10-bit HEVC in BT.2020 with the PQ curve, as phones film it."""
    colours = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=none:pools=none:frame-threads=1"
    encoded(path, 12, codec="libx265", pix_fmt="yuv420p10le", options={"x265-params": colours})


def write_uneven(path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).integers(1, 9, 30)).tolist()
    encoded(path, 30, times=times)


def write_8k(path: Path) -> None:
    """Two grey frames of 7680 x 4320."""
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuvj420p"
        for grey in (60, 200):
            planes = np.full((4320 * 3 // 2, 7680), 128, dtype=np.uint8)
            planes[:4320] = grey
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuvj420p")))
        container.mux(stream.encode(None))


def write_renamed(path: Path) -> None:
    """An MP4 file that calls itself something else."""
    samples.write_numbered(path.with_suffix(".mp4"), 11).rename(path)


def write_picture(path: Path) -> None:
    encoded(path.with_suffix(".png"), 1, codec="png", pix_fmt="rgb24")
    path.with_suffix(".png").rename(path)


GOOD: dict[str, tuple[Callable[[Path], object], int]] = {
    "rotated.mp4": (lambda path: samples.write_rotated(path, 10), 10),
    "uneven times.mkv": (write_uneven, 30),
    "odd size.mp4": (lambda path: samples.write_numbered(path, 9, height=33, width=45), 9),
    "10 bit.mkv": (lambda path: encoded(path, 10, pix_fmt="yuv420p10le"), 10),
    "hdr.mkv": (write_hdr, 12),
    "alpha.mov": (lambda path: encoded(path, 8, codec="png", pix_fmt="rgba"), 8),
    "alpha prores.mov": (lambda path: encoded(path, 5, codec="prores_ks", pix_fmt="yuva444p10le"), 5),
    "moving.gif": (lambda path: encoded(path, 14, codec="gif", pix_fmt="rgb8"), 14),
    "b-frames.avi": (lambda path: encoded(path, 20, codec="mpeg4", options={"bf": "2"}), 20),
    "an mp4.avi": (write_renamed, 11),
    "走る ñ 50% 'x' [red].mp4": (lambda path: samples.write_numbered(path, 7), 7),
    "two\nlines.mp4": (lambda path: samples.write_numbered(path, 6), 6),
    "-dash.mp4": (lambda path: samples.write_numbered(path, 3), 3),
    "a:b.mp4": (lambda path: samples.write_numbered(path, 4), 4),
    os.fsdecode(b"bytes \xff.mp4"): (lambda path: samples.write_numbered(path, 5), 5),
}
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "audio only.mp4": (samples.write_audio_only, "no video stream (audio only)"),
    "song with cover.mp4": (
        lambda path: samples.write_audio_only(path, cover=True),
        "no video stream (audio only)",
    ),
    "zero bytes.mp4": (Path.touch, "file is empty"),
    "text.mp4": (lambda path: path.write_text("no video\n" * 50), NO_VIDEO),
    "no header.mp4": (samples.write_headless, NO_VIDEO),
    "one frame.mp4": (lambda path: samples.write_numbered(path, 1), "1 frame, at least 2 needed"),
    "a picture.mp4": (write_picture, "1 frame, at least 2 needed"),
    "loop.mp4": (lambda path: path.symlink_to(path.name), "file not found"),
    "dangling.mp4": (lambda path: path.symlink_to("nowhere.mp4"), "file not found"),
    "pipe.mp4": (os.mkfifo, "not a regular file"),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("normal") / "source" / "unlabelled"
    folder.mkdir(parents=True)
    for name, (write, _) in {**GOOD, **BAD}.items():
        write(folder / name)
    samples.write_truncated(folder / "cut.mp4", 40, keep=0.8)
    shutil.copy(folder / "-dash.mp4", folder / "a video.txt")
    (folder / "folder.mp4").mkdir()
    samples.write_numbered(folder / "folder.mp4" / "inside.mp4", 8)
    (folder / "loop").symlink_to("..")
    return folder.parent


@pytest.fixture(scope="module")
def store(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("normal") / "store"
    summary = prepare(source, out, codec="raw", short_side=UNSCALED, workers=1)
    assert summary.notes == ["1 other file ignored: .txt x1"]
    return out


def row_of(store: Path, name: str) -> ManifestRow:
    shown = "unlabelled/" + name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    (row,) = (row for row in read_rows(store) if row.path == shown)
    return row


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_is_stored_frame_for_frame_as_a_reference_decodes_it(name: str, source: Path, store: Path) -> None:
    row = row_of(store, name)
    assert (row.status, row.reason, row.num_frames) == ("ok", None, GOOD[name][1])
    stored = FrameStore(store).read(row.video_id, np.arange(row.num_frames)).permute(1, 2, 3, 0).numpy()
    reference = decoded_in_order(source / "unlabelled" / name)
    assert stored.shape == reference.shape
    assert np.array_equal(stored, reference)
    assert (row.height, row.width) == (row.source_height, row.source_width) == reference.shape[1:3]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_listed_with_its_reason(name: str, store: Path) -> None:
    row = row_of(store, name)
    assert (row.status, row.reason, row.num_frames) == ("rejected", BAD[name][1], 0)


def test_nothing_else_is_in_the_store(store: Path) -> None:
    names = {row.path for row in read_rows(store)}
    assert len(names) == len(GOOD) + len(BAD) + 2
    assert "unlabelled/folder.mp4/inside.mp4" in names  # a folder may be called as it likes; a loop of links ends


def test_a_truncated_file_keeps_what_decodes_and_says_so(source: Path, store: Path) -> None:
    row = row_of(store, "cut.mp4")
    assert row.status == "ok"
    assert row.reason is not None
    assert row.reason.startswith(f"damaged after frame {row.num_frames} (")
    assert 5 < row.num_frames < 40
    stored = FrameStore(store).read(row.video_id, np.arange(row.num_frames)).permute(1, 2, 3, 0).numpy()
    assert samples.numbers_of(stored) == list(range(row.num_frames))


def test_alpha_is_dropped_and_hdr_keeps_its_numbers(store: Path) -> None:
    """No background is put under what is transparent, and no curve is applied to what is bright: both are stated."""
    opened = FrameStore(store)
    for name in ("alpha.mov", "hdr.mkv"):
        row = row_of(store, name)
        frames = opened.read(row.video_id, np.arange(row.num_frames)).permute(1, 2, 3, 0).numpy()
        assert samples.numbers_of(frames) == list(range(row.num_frames))


def test_one_frame_and_8k_at_the_usual_size(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    write_8k(small / "8k.avi")
    samples.write_numbered(small / "one frame.mp4", 1)
    prepare(small, tmp_path / "store", min_frames=1, workers=0)
    row, single = read_rows(tmp_path / "store")
    assert (row.width, row.height, row.source_width, row.source_height) == (228, 128, 7680, 4320)
    assert (single.status, single.num_frames) == ("ok", 1)
    means = FrameStore(tmp_path / "store").read(0, np.array([0, 1])).float().mean(dim=(0, 2, 3))
    assert abs(means[0] - 60) < 3
    assert abs(means[1] - 200) < 3


def test_a_folder_of_pictures_is_one_video(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "148092"
    folder.mkdir(parents=True)
    for number, frame in enumerate(samples.numbered_frames(6), start=1):
        (folder / f"{number:05d}.jpg").write_bytes(simplejpeg.encode_jpeg(frame, 95, colorspace="RGB"))
    (tmp_path / "source" / "list.csv").write_text("path,label\n148092,swipe\n")
    prepare(tmp_path / "source" / "list.csv", tmp_path / "store", workers=0)
    store = FrameStore(tmp_path / "store")
    assert samples.numbers_of(store.read(0, np.arange(6)).permute(1, 2, 3, 0).numpy()) == list(range(6))
    assert not prepare(tmp_path / "source" / "list.csv", tmp_path / "store", workers=0).changed
    (folder / "00006.jpg").unlink()
    prepare(tmp_path / "source" / "list.csv", tmp_path / "store", workers=0)
    assert FrameStore(tmp_path / "store").num_frames.tolist() == [5]


def test_a_public_data_set_is_read_as_its_owners_distribute_it(tmp_path: Path) -> None:
    for name in ("v_Walk_g01_c01", "v_Walk_g02_c01", "v_Run_g01_c01"):
        folder = tmp_path / "UCF-101" / name.split("_")[1]
        folder.mkdir(parents=True, exist_ok=True)
        samples.write_encoded(folder / f"{name}.avi", 4, codec="mpeg4")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Run\n2 Walk\n")
    (lists / "trainlist01.txt").write_text("Walk/v_Walk_g02_c01.avi 2\nWalk/v_Walk_g03_c01.avi 2\n")
    (lists / "testlist01.txt").write_text("Walk/v_Walk_g01_c01.avi\nRun/v_Run_g01_c01.avi\n")

    def prepared() -> FrameStore:
        prepare(tmp_path / "UCF-101", tmp_path / "store", dataset="ucf101", lists=lists, workers=0)
        return FrameStore(tmp_path / "store")

    def splits(store: FrameStore) -> dict[str, str]:
        return {Path(path).stem: str(split) for path, split in zip(store.paths, store.splits, strict=True)}

    expected = {"v_Run_g01_c01": "test", "v_Walk_g01_c01": "test", "v_Walk_g02_c01": "train"}
    assert splits(prepared()) == expected
    assert read_missing(tmp_path / "store") == ["Walk/v_Walk_g03_c01.avi"]
    samples.write_encoded(tmp_path / "UCF-101" / "Walk" / "v_Walk_g03_c01.avi", 5, codec="mpeg4")  # it was missing
    assert splits(prepared()) == {**expected, "v_Walk_g03_c01": "train"}
    assert read_missing(tmp_path / "store") == []


def test_missing_videos_are_named_in_parts_and_in_what_they_are_merged_to(tmp_path: Path) -> None:
    folder = tmp_path / "jester"
    for number in ("1", "2"):
        (folder / number).mkdir(parents=True)
        (folder / number / "00001.jpg").write_bytes(simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8)))
        (folder / number / "00002.jpg").write_bytes(simplejpeg.encode_jpeg(np.ones((16, 16, 3), np.uint8)))
    (folder / "jester-v1-labels.csv").write_text("Swiping Left\nNo gesture\n")
    (folder / "jester-v1-train.csv").write_text("1;No gesture\n9;Swiping Left\n")
    (folder / "jester-v1-validation.csv").write_text("2;No gesture\n")
    parts = [tmp_path / "part1", tmp_path / "part2"]
    for position, part in enumerate(parts, start=1):
        prepare(folder, part, dataset="jester", shard=f"{position}/2", workers=0)
    merge_stores(parts, tmp_path / "merged")
    assert [read_missing(store) for store in (*parts, tmp_path / "merged")] == [["9"]] * 3


def test_a_file_without_permission_is_listed_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "source" / "a").mkdir(parents=True)
    samples.write_numbered(tmp_path / "source" / "a" / "open.mp4", 3)
    secret = samples.write_numbered(tmp_path / "source" / "a" / "secret.mp4", 4)
    secret.chmod(0)
    if os.access(secret, os.R_OK):
        pytest.skip("this user may read everything")
    summary = prepare(tmp_path / "source", tmp_path / "store", workers=0)
    assert summary.rejects == [("a/secret.mp4", "Permission denied")]
    assert not prepare(tmp_path / "source", tmp_path / "store", workers=0).changed
    secret.chmod(0o644)
    assert prepare(tmp_path / "source", tmp_path / "store", workers=0).rejects == []
