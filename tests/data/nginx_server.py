"""A real nginx on this machine for a folder of files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_CONFIGURATION = """
{user}
daemon off;
pid {work}/nginx.pid;
error_log {work}/error.log;
events {{ }}
http {{
    access_log {work}/access.log;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}; autoindex on; }}
}}
"""
_PATIENCE_SECONDS = 20.0


@contextmanager
def serve_by_nginx(folder: Path, work: Path) -> Iterator[str]:
    """Serve a folder while the block runs; gives its URL. Skips the test where nginx is not installed.

    Args:
        folder: what to serve, with listings.
        work: an empty folder for the server's own files; its `access.log` has a line a request.
    """
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    work.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""  # its workers would be another user, who may not read the folder
    configuration = work / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(user=user, work=work, port=port, folder=folder))
    with subprocess.Popen([nginx, "-e", str(work / "error.log"), "-c", str(configuration)]) as server:
        try:
            _wait(port, work / "error.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait(port: int, log: Path) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nginx does not answer: {log.read_text() if log.exists() else 'no log'}")
