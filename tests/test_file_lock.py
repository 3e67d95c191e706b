from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sparsedense.file_lock import file_lock

pytest.importorskip("fcntl")

HOLDER = """
import sys, time
from pathlib import Path
from sparsedense.file_lock import file_lock
with file_lock(Path(sys.argv[1]), busy=""):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_holds_the_file_until_it_lets_go_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path, busy="busy"):
        with pytest.raises(FileExistsError, match="busy"), file_lock(path, busy="busy"):
            pass
        assert path.exists()
    assert not path.exists()
    with pytest.raises(RuntimeError), file_lock(path, busy="busy"):
        raise RuntimeError
    with file_lock(path, busy="busy"):
        pass


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FileExistsError, match="busy"), file_lock(path, busy="busy"):
            pass
        holder.kill()
    assert path.exists()  # it had no time to tidy up
    with file_lock(path, busy="busy"):
        pass
    assert not path.exists()


def test_a_file_that_its_holder_removed_before_the_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    path, flock, locks = tmp_path / "lock", fcntl.flock, 0

    def removed_first(file: object, operation: int) -> None:
        nonlocal locks
        locks += 1
        if locks == 1:
            path.unlink()
        flock(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with file_lock(path, busy="busy"):
        assert path.exists()
        assert locks == 2
