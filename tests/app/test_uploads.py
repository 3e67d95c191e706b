import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from sparsedense.app.limits import Limits, RefusedError
from sparsedense.app.uploads import check_headers, display_name, receive_file

LIMITS = Limits(upload_bytes=1000, stall_seconds=0.05)


@given(st.text(max_size=300))
def test_a_name_is_short_visible_and_no_path(told: str) -> None:
    name = display_name(told)
    assert 0 < len(name) <= 120
    assert "/" not in name
    assert "\\" not in name
    assert name.isprintable() or all(letter.isprintable() or letter.isspace() for letter in name)


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\videos\\kick.avi", "kick.avi"),
        ("kick\x00.mp4", "kick.mp4"),
        ("\u202egpj.exe", "gpj.exe"),
        ("", "video"),
        ("///", "video"),
    ],
)
def test_names(told: str, name: str) -> None:
    assert display_name(told) == name


async def _chunks(*parts: bytes, wait_seconds: float = 0) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(wait_seconds)


def test_an_upload_is_written_as_it_comes(tmp_path: Path) -> None:
    asyncio.run(receive_file(_chunks(b"ab", b"", b"cd"), tmp_path / "upload", LIMITS))
    assert (tmp_path / "upload").read_bytes() == b"abcd"


def test_what_is_too_large_is_refused_before_all_of_it_came(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(400)

    with pytest.raises(RefusedError, match="too large: up to 1 kB") as refused:
        asyncio.run(receive_file(endless(), tmp_path / "upload", LIMITS))
    assert refused.value.status == 413
    assert (tmp_path / "upload").stat().st_size <= 1000


def test_an_upload_that_stands_still_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"Nothing came for 0.05 s") as refused:
        asyncio.run(receive_file(_chunks(b"a", b"b", wait_seconds=2), tmp_path / "upload", LIMITS))
    assert refused.value.status == 408


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-length": "1001"}, 413),
        ({"content-encoding": "gzip"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_headers_suffice_to_refuse(headers: dict[str, str], status: int, tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as refused:
        check_headers(Headers(headers), tmp_path, LIMITS)
    assert refused.value.status == status
    check_headers(Headers({"content-length": "1000"}), tmp_path, LIMITS)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(RefusedError, match="not enough space") as refused:
        check_headers(Headers({"content-length": "100"}), tmp_path, LIMITS)
    assert refused.value.status == 507
