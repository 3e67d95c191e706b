"""Clips of many videos in order, read by threads ahead of who uses them."""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from sparsedense.prediction.clips import ClipForm, VideoClips, read_clips
from sparsedense.prediction.sources import VideoSource
from sparsedense.video.errors import UnreadableVideoError

_AHEAD_PER_THREAD = 2  # enough that one long video does not stop the other threads


def read_ahead(
    sources: Sequence[VideoSource], form: ClipForm, *, num_threads: int
) -> Generator[tuple[VideoSource, VideoClips | UnreadableVideoError], None, None]:
    """Clips of each video, or why there are none, in the order of the sources.

    Threads will do, because FFmpeg decodes and scales without Python's lock; processes would each import torch first.
    Those who end the loop early close the generator, which ends the threads.

    Args:
        sources: what to read.
        form: which clips.
        num_threads: videos decoded at a time.

    Raises:
        ValueError: `num_threads` is below 1.
    """
    if num_threads < 1:
        raise ValueError(f"num_threads ({num_threads}) must be at least 1")
    stop = Event()
    waiting: deque[tuple[VideoSource, Future[VideoClips]]] = deque()
    pool = ThreadPoolExecutor(min(num_threads, len(sources) or 1), thread_name_prefix="decode")
    try:
        for source in sources:
            waiting.append((source, pool.submit(read_clips, source, form, stop)))
            if len(waiting) > num_threads * _AHEAD_PER_THREAD:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _next(
    waiting: deque[tuple[VideoSource, Future[VideoClips]]],
) -> tuple[VideoSource, VideoClips | UnreadableVideoError]:
    source, future = waiting.popleft()
    try:
        return source, future.result()
    except UnreadableVideoError as error:
        return source, error
