"""An upload on its way to the disk: its size is limited while it comes, and its name is only ever shown."""

import asyncio
import shutil
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from sparsedense.app.limits import Limits, RefusedError, size_text

_LONGEST_NAME = 120
_SPARE_BYTES = 200_000_000  # of the disk


def display_name(told: str) -> str:
    """What to call an upload: the last part of its name, without what cannot be seen; it is never used as a path."""
    last = told.replace("\\", "/").rstrip("/").rpartition("/")[2]
    # Control characters, and those that turn the direction of writing to hide an ending.
    seen = "".join(letter for letter in last if unicodedata.category(letter)[0] != "C").strip()
    return (seen if len(seen) <= _LONGEST_NAME else f"{seen[: _LONGEST_NAME - 1]}…") or "video"


def check_headers(headers: Headers, folder: Path, limits: Limits) -> None:
    """Refuse an upload before it comes, where its headers suffice for that.

    Raises:
        RefusedError: it is too large, packed, a form, or the disk is full.
    """
    if headers.get("content-encoding", "identity") != "identity":
        raise RefusedError(415, "The upload is compressed; send the video itself.")
    if headers.get("content-type", "").startswith("multipart/"):
        raise RefusedError(415, "The upload is a form; send the video itself as the body of the request.")
    told = headers.get("content-length")
    num_bytes = int(told) if told is not None and told.isdecimal() else 0
    if num_bytes > limits.upload_bytes:
        raise _too_large(limits)
    if shutil.disk_usage(folder).free < num_bytes + _SPARE_BYTES:
        raise RefusedError(507, "There is not enough space on the disk for this upload.")


async def receive_file(chunks: AsyncIterator[bytes], path: Path, limits: Limits) -> None:
    """Write an upload to the disk as it comes; memory does not grow with it.

    Args:
        chunks: the body.
        path: a new file.
        limits: how large it may be, and how long nothing may come.

    Raises:
        RefusedError: it is too large, stands still, or the disk is full.
    """
    num_bytes = 0
    try:
        with path.open("xb") as file:
            while True:
                async with asyncio.timeout(limits.stall_seconds):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                num_bytes += len(chunk)
                if num_bytes > limits.upload_bytes:
                    raise _too_large(limits)
                await run_in_threadpool(file.write, chunk)
    except TimeoutError:
        raise RefusedError(408, f"Nothing came for {limits.stall_seconds:g} s; try the upload again.") from None
    except OSError as error:
        raise RefusedError(507, f"The upload could not be stored: {error.strerror}.") from error


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"The file is too large: up to {size_text(limits.upload_bytes)} are accepted.")
