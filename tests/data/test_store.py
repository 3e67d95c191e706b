from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

import sparsedense.data.store as store_module
from sparsedense.data.augment import CropBox
from sparsedense.data.errors import StoreError
from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore
from tests.data.conftest import BROKEN, GOOD
from tests.video import sample_videos as samples


@pytest.fixture(params=["jpeg_store", "raw_store"])
def store(request: pytest.FixtureRequest) -> FrameStore:
    return FrameStore(request.getfixturevalue(request.param))


def test_videos_are_selected_by_split_length_and_label(store: FrameStore) -> None:
    every = store.videos()
    assert every.dtype == np.int64
    assert {store.paths[video] for video in every} == {*GOOD, "walk/cut.mp4"}
    assert {store.paths[video] for video in store.videos(split="unlabelled")} == {
        "unlabelled/a.mp4",
        "unlabelled/phone.mp4",
    }
    assert set(store.videos(labelled=False)) == set(store.videos(split="unlabelled"))
    assert set(store.videos(labelled=True)) == set(store.videos(split=["train", "val", "test"]))
    assert set(store.videos(min_frames=25)) == {video for video in every if store.num_frames[video] >= 25}
    assert len(store.videos(split="val")) == 0
    assert store.splits_present == ("test", "train", "unlabelled")
    for choice in ({}, {"split": "train"}, {"labelled": False}, {"min_frames": 25}):
        assert store.count_videos(**choice) == len(store.videos(**choice))
    assert store.lengths_frames().tolist() == store.num_frames[every].tolist()
    with pytest.raises(ValueError, match="split 'dev' is not known; use train, val, test, unlabelled"):
        store.videos(split="dev")


def test_columns_have_one_entry_a_row(store: FrameStore) -> None:
    assert len(store) == len(GOOD) + len(BROKEN) + 1
    assert len(store.groups) == len(store.paths) == len(store.splits) == len(store.fps) == len(store)
    assert store.class_names == ("run", "walk")
    assert set(store.label_ids.tolist()) == {-1, 0, 1}
    assert store.num_frames[store.paths.index("walk/empty.mp4")] == 0
    assert np.isnan(store.fps[store.paths.index("walk/empty.mp4")])
    assert store.fps[store.paths.index("unlabelled/a.mp4")] == 12.5


@settings(deadline=None, max_examples=40)
@given(indices=st.lists(st.integers(0, 29), min_size=1, max_size=40), codec=st.sampled_from(["jpeg", "raw"]))
def test_read_gives_the_frames_at_the_indices(
    indices: list[int], codec: str, jpeg_store: Path, raw_store: Path
) -> None:
    store = FrameStore({"jpeg": jpeg_store, "raw": raw_store}[codec])
    clip = store.read(store.paths.index("walk/1.mp4"), np.array(indices))
    assert clip.shape == (3, len(indices), 48, 64)
    assert clip.dtype == torch.uint8
    assert samples.numbers_of(clip.permute(1, 2, 3, 0).numpy()) == indices


def test_repeated_frames_are_decoded_once(jpeg_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FrameStore(jpeg_store)
    decode, calls = simplejpeg.decode_jpeg, 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return decode(*args, **kwargs)

    monkeypatch.setattr(simplejpeg, "decode_jpeg", counted)
    store.read(store.paths.index("walk/1.mp4"), np.array([4, 4, 5, 5, 5, 6]))
    assert calls == 3


def test_a_clip_may_be_changed_without_touching_the_store(store: FrameStore) -> None:
    video = store.paths.index("walk/1.mp4")
    clip = store.read(video, np.array([3, 4]))
    before = clip.clone()
    clip.zero_()
    assert torch.equal(store.read(video, np.array([3, 4])), before)


def test_what_does_not_exist_is_named(store: FrameStore) -> None:
    video, broken = store.paths.index("walk/1.mp4"), store.paths.index("walk/empty.mp4")
    with pytest.raises(IndexError, match=rf"frames 2 to 30 of walk/1\.mp4 \(video {video}\).* it has 30 frames"):
        store.read(video, np.array([2, 30]))
    with pytest.raises(IndexError, match="frames -1 to 5"):
        store.read(video, np.array([5, -1]))
    with pytest.raises(IndexError, match="non-empty"):
        store.read(video, np.array([], dtype=np.int64))
    with pytest.raises(IndexError, match="video 99 does not exist"):
        store.read(99, np.array([0]))
    with pytest.raises(StoreError, match=r"walk/empty\.mp4 .* was rejected by prepare: file is empty"):
        store.read(broken, np.array([0]))


@settings(deadline=None, max_examples=40)
@given(data=st.data(), codec=st.sampled_from(["jpeg", "raw"]))
def test_a_window_is_cut_out_of_the_frames(data: st.DataObject, codec: str, jpeg_store: Path, raw_store: Path) -> None:
    store = FrameStore({"jpeg": jpeg_store, "raw": raw_store}[codec])
    video = store.paths.index("walk/1.mp4")
    top, left = data.draw(st.integers(0, 47)), data.draw(st.integers(0, 63))
    box = CropBox(top, left, data.draw(st.integers(1, 48 - top)), data.draw(st.integers(1, 64 - left)))
    indices = np.array(data.draw(st.lists(st.integers(0, 29), min_size=1, max_size=8)))
    part = store.read(video, indices, window=box)
    assert part.permute(1, 2, 3, 0).is_contiguous(), "so that the fast kernels apply"
    whole = store.read(video, indices)
    assert torch.equal(part, whole[:, :, top : top + box.height, left : left + box.width])


@pytest.mark.parametrize(
    "box", [CropBox(-1, 0, 4, 4), CropBox(0, 0, 49, 4), CropBox(40, 0, 9, 4), CropBox(0, 61, 4, 4)]
)
def test_a_window_that_leaves_the_frame_is_an_error(box: CropBox, store: FrameStore) -> None:
    with pytest.raises(IndexError, match=r"does not lie in the frames, 48 x 64, of walk/1\.mp4 \(video \d+\)"):
        store.read(store.paths.index("walk/1.mp4"), np.array([0]), window=box)


def test_stored_bytes_are_the_frames(jpeg_store: Path, raw_store: Path) -> None:
    jpeg, raw = FrameStore(jpeg_store), FrameStore(raw_store)
    video = jpeg.paths.index("walk/1.mp4")
    indices = np.array([7, 3])
    files, pixels = jpeg.stored_bytes(video, indices), raw.stored_bytes(video, indices)
    decoded = np.stack([simplejpeg.decode_jpeg(file, "RGB") for file in files])
    assert np.array_equal(decoded, jpeg.read(video, indices).permute(1, 2, 3, 0).numpy())
    assert np.array_equal(np.stack(pixels).reshape(2, 48, 64, 3), raw.read(video, indices).permute(1, 2, 3, 0).numpy())


@pytest.fixture(scope="module")
def many_shards(squares_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards") / "store"
    prepare(squares_folder, path, short_side=40, workers=0, max_shard_bytes=200_000)
    return path


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc to count open files in")
def test_only_so_many_shards_are_open(many_shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_MOST_OPEN_SHARDS", 2)
    store = FrameStore(many_shards)
    assert len(np.unique(store.shard_numbers(store.videos()))) > 8
    before = open_files()
    expected = [store.read(int(video), np.array([1])) for video in store.videos()]
    assert open_files() <= before + 4, "two files a shard"
    for video, frames in zip(store.videos(), expected, strict=True):
        assert torch.equal(store.read(int(video), np.array([1])), frames), "of a shard that is opened again"


class FirstFrames(Dataset[torch.Tensor]):
    """The mean of the first frames of each video, to be read in loader workers."""

    def __init__(self, store: FrameStore) -> None:
        self.store = store
        self.ids = store.videos()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, item: int) -> torch.Tensor:
        return self.store.read(int(self.ids[item]), np.arange(5)).float().mean()


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_loader_workers_read_what_the_parent_reads(context: str, jpeg_store: Path) -> None:
    frames = FirstFrames(FrameStore(jpeg_store))
    here = torch.stack([frames[item] for item in range(len(frames))])  # opens the shards before the fork
    workers = 2 if context == "fork" else 1  # to start one takes seconds
    loader = DataLoader(frames, batch_size=3, num_workers=workers, multiprocessing_context=context)
    assert torch.equal(torch.cat(list(loader)), here)


def test_an_open_store_pickles_without_its_files(jpeg_store: Path) -> None:
    store = FrameStore(jpeg_store)
    clip = store.read(0, np.array([1]))
    data = pickle.dumps(store)
    assert len(data) < 1000, "a file name, not the columns"
    assert torch.equal(pickle.loads(data).read(0, np.array([1])), clip)


def test_a_folder_that_is_no_store_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"missing does not exist; make one with `sparsedense prepare"):
        FrameStore(tmp_path / "missing")
    with pytest.raises(StoreError, match=r"is not a frame store \(it has no store\.json\); .* --out STORE`$"):
        FrameStore(tmp_path)


def test_a_damaged_store_is_explained(raw_store: Path, jpeg_store: Path, tmp_path: Path) -> None:
    def copied(store: Path, name: str) -> Path:
        return Path(shutil.copytree(store, tmp_path / name))

    other = copied(jpeg_store, "other version")
    info = json.loads((other / "store.json").read_text())
    (other / "store.json").write_text(json.dumps({**info, "format_version": 99}))
    with pytest.raises(StoreError, match="format version 99, expected 1"):
        FrameStore(other)
    (other / "store.json").write_text("{")
    with pytest.raises(StoreError, match=r"store\.json is damaged"):
        FrameStore(other)
    no_manifest = copied(jpeg_store, "no manifest")
    (no_manifest / "manifest.parquet").unlink()
    with pytest.raises(StoreError, match=r"manifest\.parquet cannot be read"):
        FrameStore(no_manifest)
    no_shard = copied(jpeg_store, "no shard")
    (no_shard / "shards" / "shard-000000.tar").unlink()
    with pytest.raises(StoreError, match=r"shard-000000\.tar cannot be read"):
        FrameStore(no_shard).read(0, np.array([0]))
    for store in (raw_store, jpeg_store):
        cut = copied(store, f"cut {store.name}")
        shard = cut / "shards" / "shard-000000.tar"
        shard.write_bytes(shard.read_bytes()[:30_000])
        with pytest.raises(StoreError, match=r"are damaged .* make the store again"):
            FrameStore(cut).read(0, np.arange(25))
