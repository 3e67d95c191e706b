"""Several scans of one video at different efforts, for the cost of the greatest: frames and clips are computed once."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import tee

import numpy as np
from numpy.typing import NDArray

from sparsedense.detection.held_frames import Frame, TimedPicture
from sparsedense.detection.scan import Score

# The clips of a scan come again in another one within two windows; 16-frame clips have 112 a window.
_REMEMBERED_CLIPS = 1024


def shared_pictures(pictures: Iterable[TimedPicture], count: int) -> tuple[Iterator[TimedPicture], ...]:
    """The same frames for several scans that go side by side.

    The first scan must convert all that the others will: it goes ahead and has the greatest effort.
    """
    return tee(_kept(pictures), count)


def _kept(pictures: Iterable[TimedPicture]) -> Iterator[TimedPicture]:
    for timed in pictures:
        kept = _KeptPicture(timed.picture)
        yield TimedPicture(timed.seconds, kept)
        kept.forget_source()  # the first scan is past it; a decoded frame is large, and nobody will ask for it


class _KeptPicture:
    """A frame that is converted when it is first called for, and then kept."""

    def __init__(self, convert: Callable[[], Frame]) -> None:
        self._convert: Callable[[], Frame] | None = convert
        self._picture: Frame | None = None

    def __call__(self) -> Frame:
        if self._picture is None:
            assert self._convert is not None, "a scan called for a frame that the first scan passed by"
            self._picture = self._convert()
        return self._picture

    def forget_source(self) -> None:
        self._convert = None


class RememberedScore:
    """Scores clips, and knows those that came again a little later.

    Args:
        score: clips (B, T, S, S, 3) to rows (B, R, D).
    """

    def __init__(self, score: Score) -> None:
        self._score = score
        self._rows: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    def __call__(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Rows (B, R, D) of clips."""
        keys = [hashlib.blake2b(clip.tobytes(), digest_size=16).digest() for clip in clips]
        new = [index for index, key in enumerate(keys) if key not in self._rows]
        if new:
            self._rows.update(zip([keys[index] for index in new], self._score(clips[new]), strict=True))
        rows = np.stack([self._rows[key] for key in keys])
        while len(self._rows) > _REMEMBERED_CLIPS:
            self._rows.popitem(last=False)
        return rows
