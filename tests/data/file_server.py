"""A web server on this machine for a folder of files, which can be told to fail."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FileServer(ThreadingHTTPServer):
    """Serves a folder.

    Attributes:
        served: how often each file was sent.
        failures: files by name that fail so many times more: the connection ends in the middle.
    """

    def __init__(self, folder: Path) -> None:
        self.served, self.failures = Counter[str](), Counter[str]()
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(SimpleHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        name = Path(self.path).name
        if self.server.failures[name] > 0:
            self.server.failures[name] -= 1
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"the beginning")
            self.close_connection = True
            return
        self.server.served[name] += 1
        super().do_GET()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serve_files(folder: Path) -> Iterator[FileServer]:
    """Serve a folder while the block runs."""
    with FileServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
