"""Addresses of videos on other machines."""

import re
from pathlib import Path

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_url(path: str | Path) -> bool:
    """Whether a string is a URL, such as `https://host/clip.mp4` or `rtsp://camera`; a `Path` never is one."""
    return isinstance(path, str) and _SCHEME.match(path) is not None
