"""A live stream on this machine: MPEG-TS over TCP, written by FFmpeg's libraries at a given pace."""

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, cast

import av
import numpy as np
from numpy.typing import NDArray

FPS = 25
_TS_PACKET_BYTES = 188


@contextmanager
def serve_stream(
    frames: Iterable[NDArray[np.uint8]], *, pace: float, noise_at: int | None = None, joined_at: int = 0
) -> Iterator[str]:
    """Serve frames to the first who connects.

    Args:
        frames: RGB (H, W, 3).
        pace: how many times faster than 25 frames a second.
        noise_at: before the frame of this number, bytes that are no video are sent.
        joined_at: what comes before the frame of this number is not sent, as to one who comes late.

    Yields:
        the URL.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, frames, pace, noise_at, joined_at))
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            with suppress(OSError), socket.create_connection(server.getsockname(), timeout=1):
                pass  # lets a server go that nobody came to
            thread.join()


class _Pipe:
    """A connection as a file that FFmpeg writes to."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.is_silent = False

    def write(self, data: bytes) -> int:
        if not self.is_silent:
            self._connection.sendall(data)
        return len(data)


def _serve(
    server: socket.socket, frames: Iterable[NDArray[np.uint8]], pace: float, noise_at: int | None, joined_at: int
) -> None:
    connection, _ = server.accept()
    # Who has seen enough goes away.
    with connection, suppress(OSError, av.error.FFmpegError):
        pipe = _Pipe(connection)
        # Each packet is written at once, so that silence ends with the right frame.
        container = av.open(cast("IO[bytes]", pipe), "w", format="mpegts", options={"flush_packets": "1"})
        with container:
            options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
            stream = container.add_stream("libx264", rate=FPS, options=options)
            stream.codec_context.thread_count = 1
            begun = time.monotonic()
            for number, frame in enumerate(frames):
                if number == 0:
                    stream.width, stream.height, stream.pix_fmt = frame.shape[1], frame.shape[0], "yuv420p"
                time.sleep(max(0.0, begun + number / (FPS * pace) - time.monotonic()))
                if number == noise_at:
                    connection.sendall(np.random.default_rng(0).bytes(20 * _TS_PACKET_BYTES))
                pipe.is_silent = number < joined_at
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
