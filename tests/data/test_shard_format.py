"""Shards are plain tar files in WebDataset naming: other programs read them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from sparsedense.data.store import FrameStore


@pytest.fixture(params=["jpeg_store", "raw_store"])
def path(request: pytest.FixtureRequest) -> Path:
    made: Path = request.getfixturevalue(request.param)
    return made


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar program")
def test_tar_unpacks_a_shard(path: Path, tmp_path: Path) -> None:
    store = FrameStore(path)
    subprocess.run(["tar", "-xf", path / "shards" / "shard-000000.tar", "-C", tmp_path], check=True)
    video = store.paths.index("walk/1.mp4")
    metadata = json.loads((tmp_path / f"{video:08d}.json").read_text())
    assert metadata["label"] == "walk"
    if store.codec == "raw":
        frames = np.load(tmp_path / f"{video:08d}.frames.npy")
    else:
        files = sorted(tmp_path.glob(f"{video:08d}.*.jpg"))
        frames = np.stack([simplejpeg.decode_jpeg(file.read_bytes(), "RGB") for file in files])
    assert np.array_equal(frames, store.read(video, np.arange(30)).permute(1, 2, 3, 0).numpy())


def test_webdataset_streams_a_shard(path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    store = FrameStore(path)
    samples = {
        int(sample["__key__"]): sample
        for sample in wds.WebDataset(str(path / "shards" / "shard-000000.tar"), shardshuffle=False)
    }
    assert list(samples) == store.videos().tolist()
    for video, sample in samples.items():
        assert json.loads(sample["json"])["label_id"] == store.label_ids[video]
        expected = store.read(video, np.arange(store.num_frames[video])).permute(1, 2, 3, 0).numpy()
        if store.codec == "raw":
            frames = np.load(io.BytesIO(sample["frames.npy"]))
        else:
            jpegs = [sample[f"{index:06d}.jpg"] for index in range(len(expected))]
            frames = np.stack([simplejpeg.decode_jpeg(jpeg, "RGB") for jpeg in jpegs])
        assert np.array_equal(frames, expected)
