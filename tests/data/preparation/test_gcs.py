"""Sources and stores at `gs://`, against an emulator of Google Cloud Storage on this machine."""

from __future__ import annotations

import importlib
import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparsedense.data.prepare import prepare
from sparsedense.data.remote_store import open_store
from tests.data.conftest import files_of
from tests.video import sample_videos as samples

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
    for name in ("gcsfs", "gcp_storage_emulator")  # not imported here: it looks at the environment when it is
]


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A file system with an empty bucket `videos`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    emulator = importlib.import_module("gcp_storage_emulator.server")
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="videos")
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it asks Google itself for the kind of bucket
        gcsfs: Any = importlib.import_module("gcsfs")
        gcsfs.GCSFileSystem.clear_instance_cache()
        try:
            yield gcsfs.GCSFileSystem(token="anon")
        finally:
            gcsfs.GCSFileSystem.clear_instance_cache()
            server.stop()


def prepared(source: str | Path, out: str | Path, cache: Path) -> None:
    prepare(source, out, cache=cache, workers=0, codec="raw", short_side=16, val_fraction=0, test_fraction=0)


def test_a_bucket_gives_and_takes_the_store_of_a_folder(bucket: Any, tmp_path: Path) -> None:
    for number, name in enumerate(("run/1.mp4", "run/走 2%.mp4", "walk/3.mp4")):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples.write_numbered(path, 4 + number, height=16, width=16)
        bucket.pipe_file(f"videos/source/videos/{name}", path.read_bytes())
    prepared(tmp_path / "videos", tmp_path / "expected", tmp_path)
    prepared("gs://videos/source/videos", "gs://videos/store", tmp_path / "cache")
    expected = files_of(tmp_path / "expected")
    found = {name.removeprefix("videos/store/") for name in bucket.find("videos/store")}
    assert found == expected.keys()
    for name in expected.keys() - {"sources.parquet"}:
        assert bucket.cat_file(f"videos/store/{name}") == (tmp_path / "expected" / name).read_bytes()
    assert open_store("gs://videos/store", cache=tmp_path / "read").info.num_videos == 3
