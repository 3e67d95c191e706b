"""How videos are read where a model answers about them whole."""

from collections.abc import Callable
from typing import TypedDict

Progress = Callable[[int, int], None]


class ReadingOptions(TypedDict, total=False):
    """The keywords of `predict`."""

    clips_per_video: int
    batch_size: int
    num_threads: int | None
    progress: Progress | None
