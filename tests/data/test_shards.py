from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsedense.data.manifest import shard_index_path, shard_path
from sparsedense.data.shards import PartWriter, Place, ShardWriter, _tar_header


@given(
    name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=120),
    size=st.one_of(st.integers(0, 10**7), st.integers(0, 2**40)),
)
def test_a_tar_header_is_what_the_standard_library_writes(name: str, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    assert _tar_header(name, size) == member.tobuf(format=tarfile.GNU_FORMAT)


def write_part(path: Path, key: str, num_frames: int) -> np.ndarray:
    with PartWriter(path, key, codec="raw", quality=90) as part:
        for number in range(num_frames):
            part.add_frame(np.full((4, 6, 3), number % 256, dtype=np.uint8))
        return part.finish({"num_frames": num_frames})


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    max_bytes=st.integers(1, 12_000),
    cut=st.integers(0, 8),
    extra=st.integers(0, 3),
)
def test_a_writer_that_goes_back_to_a_sample_and_on_writes_the_same_shards(
    lengths: list[int], max_bytes: int, cut: int, extra: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("shards")

    def append(shards: ShardWriter, number: int) -> Place:
        spans = write_part(root / "part", f"{number:08d}", lengths[number])
        return shards.append(root / "part", spans)

    whole = ShardWriter(root / "whole", spans=root / "whole spans", max_bytes=max_bytes)
    places = [append(whole, number) for number in range(len(lengths))]
    whole.close()

    cut = min(cut, len(lengths))
    first = ShardWriter(root / "again", spans=root / "again spans", max_bytes=max_bytes)
    for number in range(min(cut + extra, len(lengths))):  # more than what is committed
        append(first, number)
    first.abandon()
    second = ShardWriter(root / "again", spans=root / "again spans", max_bytes=max_bytes)
    second.resume(*((places[cut - 1], lengths[cut - 1]) if cut else (None, 0)))
    assert [append(second, number) for number in range(cut, len(lengths))] == places[cut:]
    second.close()
    assert second.num_shards == whole.num_shards
    for number in range(whole.num_shards):
        for path_of in (shard_path, shard_index_path):
            assert path_of(root / "again", number).read_bytes() == path_of(root / "whole", number).read_bytes()
    assert not shard_path(root / "again", whole.num_shards).exists()


def test_what_was_written_after_the_sample_to_go_back_to_is_gone(tmp_path: Path) -> None:
    shards = ShardWriter(tmp_path, spans=tmp_path / "spans", max_bytes=10**6)
    place = shards.append(tmp_path / "part", write_part(tmp_path / "part", "00000000", 2))
    shards.append(tmp_path / "part", write_part(tmp_path / "part", "00000001", 300))
    shards.abandon()
    again = ShardWriter(tmp_path, spans=tmp_path / "spans", max_bytes=10**6)
    again.resume(place, 2)
    again.close()  # the file of the second sample has left the source
    assert np.load(shard_index_path(tmp_path, 0)).shape == (2, 2)
    assert shard_path(tmp_path, 0).stat().st_size == tarfile.RECORDSIZE
    with tarfile.open(shard_path(tmp_path, 0)) as tar:
        assert tar.getnames() == ["00000000.frames.npy", "00000000.json"]


def test_a_shard_without_samples_is_an_empty_archive(tmp_path: Path) -> None:
    shards = ShardWriter(tmp_path, spans=tmp_path / "spans", max_bytes=1000, first_shard=3)
    shards.close(even_if_empty=True)
    with tarfile.open(shard_path(tmp_path, 3)) as tar:
        assert tar.getnames() == []
    assert np.load(shard_index_path(tmp_path, 3), mmap_mode="r").shape == (0, 2)


def test_the_index_tells_where_the_frames_lie(tmp_path: Path) -> None:
    shards = ShardWriter(tmp_path, spans=tmp_path / "spans", max_bytes=10**6)
    places = [shards.append(tmp_path / "part", write_part(tmp_path / "part", f"{key:08d}", 3)) for key in range(2)]
    shards.close()
    assert [place.index_start for place in places] == [0, 3]
    data = shard_path(tmp_path, 0).read_bytes()
    for row, (start, length) in enumerate(np.load(shard_index_path(tmp_path, 0)).tolist()):
        assert data[start : start + length] == bytes([row % 3]) * 72
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == [f"{key:08d}.{end}" for key in range(2) for end in ("frames.npy", "json")]
        metadata = tar.extractfile("00000001.json")
        assert metadata is not None
        assert json.load(metadata) == {"num_frames": 3}
