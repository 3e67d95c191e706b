"""Sources and stores behind a real web server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sparsedense.data.prepare import prepare
from sparsedense.data.remote_store import open_store
from sparsedense.data.store import FrameStore
from tests.data.conftest import files_of
from tests.data.nginx_server import serve_by_nginx
from tests.video import sample_videos as samples

pytest.importorskip("aiohttp")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    root = tmp_path / "web" / "videos"
    for number, name in enumerate(("run/1.mp4", "run/two words & 50%.mp4", "walk/走る.mp4", "unlabelled/deep/4.mp4")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        samples.write_numbered(root / name, 6 + number, height=32, width=32)
    (root / "walk" / "broken.mp4").write_text("no video")
    return root


def prepared(source: str | Path, out: Path) -> FrameStore:
    prepare(source, out, workers=0, codec="raw", short_side=32, val_fraction=0, test_fraction=0)
    return FrameStore(out)


def test_a_source_behind_nginx_gives_the_store_of_its_folder(videos: Path, tmp_path: Path) -> None:
    prepared(videos, tmp_path / "expected")
    with serve_by_nginx(videos.parent, tmp_path / "nginx") as url:
        prepared(f"{url}/videos", tmp_path / "store")
        requests = (tmp_path / "nginx" / "access.log").read_text().count(".mp4")
        assert not prepare(
            f"{url}/videos", tmp_path / "store", workers=0, codec="raw", short_side=32, val_fraction=0, test_fraction=0
        ).changed
    expected, found = files_of(tmp_path / "expected"), files_of(tmp_path / "store")
    for files in (expected, found):
        files.pop("sources.parquet")  # sizes, times and hashes as the server tells them
    assert found == expected
    assert requests >= 5


def test_a_store_behind_nginx_reads_as_on_a_disk(videos: Path, tmp_path: Path) -> None:
    local = prepared(videos, tmp_path / "web" / "store")
    with serve_by_nginx(tmp_path / "web", tmp_path / "nginx") as url:
        remote = open_store(f"{url}/store", cache=tmp_path / "cache")
        for video in local.videos().tolist():
            indices = np.arange(local.length_frames(video))
            assert torch.equal(remote.read(video, indices), local.read(video, indices))
        log = tmp_path / "nginx" / "access.log"
        assert log.read_text().count("GET /store/shards/shard-000000.tar ") == 1, "each shard is fetched once"
