from pathlib import Path

import pytest

from sparsedense.experiments.folder_lock import folder_lock


def test_a_folder_is_held_by_one_until_it_lets_go(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    folder = tmp_path / "deep" / "out"
    with (
        folder_lock(folder),
        pytest.raises(FileExistsError, match=r"another `sparsedense compare` works in .*out"),
        folder_lock(folder),
    ):
        pass
    with pytest.raises(RuntimeError), folder_lock(folder):
        raise RuntimeError
    with folder_lock(folder):
        pass
