"""What the page accepts."""

from dataclasses import dataclass

# What a decoder has to hold at a time grows with the frame; 8K is 7680 x 4320.
MOST_PIXELS = 8192 * 4608
_FRAMES_PER_SECOND = 240  # of the fastest cameras in phones


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the page takes.

    Attributes:
        upload_bytes: largest upload.
        duration_seconds: longest video.
        waiting: most analyses that wait for their turn.
        kept: most videos that are kept; the oldest finished one goes first.
        stall_seconds: an upload that sends nothing for so long is given up.
        leave_seconds: an analysis that nobody watches for so long is given up.

    Raises:
        ValueError: a limit is not positive.
    """

    upload_bytes: int = 2_000_000_000
    duration_seconds: float = 7200.0
    waiting: int = 8
    kept: int = 12
    stall_seconds: float = 30.0
    leave_seconds: float = 8.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be above 0")

    @property
    def frames(self) -> int:
        """Most frames of a video."""
        return int(self.duration_seconds * _FRAMES_PER_SECOND)


class RefusedError(ValueError):
    """A request that the page does not grant.

    Args:
        status: of the HTTP answer.
        message: for people: what is wrong and what to do.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def size_text(num_bytes: float) -> str:
    """A number of bytes for people: `512 bytes`, `3.4 MB`, `2 GB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.3g} {unit}"
    return f"{num_bytes:g} bytes"


def duration_text(seconds: float) -> str:
    """A duration for people: `45 s`, `3 min`, `2 h 30 min`."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return " ".join(
        text for text in (f"{hours} h" if hours else "", f"{rest} min" if rest or not hours else "") if text
    )
