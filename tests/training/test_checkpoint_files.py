import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsedense.training import checkpoint_files
from sparsedense.training.checkpoint_files import (
    BEST,
    STATE,
    is_whole,
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    remove_checkpoints,
    remove_drafts,
    write_checkpoint,
)

CONTENT = {"weights": torch.arange(5.0), "step": 3, "names": ["a", None], "pair": (1.5, True)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "new", STATE, 12, CONTENT)
    assert list_checkpoints(path.parent, STATE) == [(12, path)]
    assert list(path.parent.iterdir()) == [path]
    for lazily in (False, True):
        content = read_checkpoint(path, lazily=lazily)
        assert torch.equal(content.pop("weights"), CONTENT["weights"])  # type: ignore[arg-type]
        assert content == {key: value for key, value in CONTENT.items() if key != "weights"}


def test_the_newest_is_that_of_the_largest_step(tmp_path: Path) -> None:
    paths = {step: write_checkpoint(tmp_path, STATE, step, {"step": step}) for step in (9, 100, 20)}
    write_checkpoint(tmp_path, BEST, 500, {})
    assert [number for number, _ in list_checkpoints(tmp_path, STATE)] == [100, 20, 9]
    assert newest_checkpoint(tmp_path) == paths[100]
    remove_checkpoints(tmp_path, STATE, keep=[paths[20]])
    assert newest_checkpoint(tmp_path) == paths[20]
    assert [number for number, _ in list_checkpoints(tmp_path, BEST)] == [500]
    assert newest_checkpoint(tmp_path / "missing") is None


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_any_damage_is_seen_and_named(tmp_path: Path, data: st.DataObject) -> None:
    remove_checkpoints(tmp_path, STATE, keep=[])
    older, newer = (write_checkpoint(tmp_path, STATE, step, CONTENT) for step in (1, 2))
    whole = newer.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    newer.write_bytes(whole[:at] if cut else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert not is_whole(newer)
    with pytest.warns(UserWarning, match=rf"{newer} is damaged"):
        assert newest_checkpoint(tmp_path) == older


def test_what_a_killed_process_was_writing_is_no_checkpoint(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, STATE, 1, CONTENT)
    draft = tmp_path / f".{STATE}-000000002.4711.partial"
    draft.write_bytes(path.read_bytes()[:100])
    assert newest_checkpoint(tmp_path) == path
    remove_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_the_user_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "step-by-step.ckpt"
    mine.write_text("notes")
    remove_checkpoints(tmp_path, STATE, keep=[])
    assert newest_checkpoint(tmp_path) is None
    assert mine.exists()


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'harm'}",)

    path = write_checkpoint(tmp_path, STATE, 1, {"harm": Harmful()})
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        read_checkpoint(path)
    assert not (tmp_path / "harm").exists()


def test_a_full_disk_leaves_what_is_there(small_disk: Path) -> None:
    good = write_checkpoint(small_disk, STATE, 1, {"weights": torch.ones(1000)})
    with pytest.raises(OSError, match="No space left") as caught:
        write_checkpoint(small_disk, STATE, 2, {"weights": torch.ones(10, 100_000)})
    assert caught.value.errno == errno.ENOSPC
    assert list(small_disk.iterdir()) == [good]
    assert newest_checkpoint(small_disk) == good
    assert is_whole(write_checkpoint(small_disk, STATE, 3, {"weights": torch.ones(1000)}))


def test_a_disk_that_is_full_at_the_end_leaves_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = write_checkpoint(tmp_path, STATE, 1, CONTENT)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(tmp_path, STATE, 2, CONTENT)
    assert list(tmp_path.iterdir()) == [good]


def test_a_state_that_cannot_be_read_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_checkpoint(tmp_path, STATE, 3, {"weights": torch.ones(3)})

    def fails(*_: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", fails)
        with pytest.raises(OSError, match="Input/output error"):
            newest_checkpoint(tmp_path)
    assert newest_checkpoint(tmp_path) == path
    monkeypatch.setattr(checkpoint_files, "list_checkpoints", lambda *_: [(4, tmp_path / "gone.ckpt"), (3, path)])
    with pytest.warns(UserWarning, match="damaged"):
        assert newest_checkpoint(tmp_path) == path
