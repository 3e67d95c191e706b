"""An S3 server on this machine, of the `moto` library, that `s3://` URLs are read from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def serve_objects(bucket: str) -> Iterator[Any]:
    """Serve an empty bucket while the block runs; gives an s3fs file system.

    Processes that are started meanwhile find the server too, by their environment.
    """
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            objects = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
            objects.mkdir(bucket)
            yield objects
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            server.stop()


def upload(objects: Any, folder: Path, url: str) -> None:
    """Put the files below a folder below a URL."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            objects.pipe_file(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())
