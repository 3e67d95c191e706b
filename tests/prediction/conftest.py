from pathlib import Path

import pytest

from sparsedense.data.prepare import prepare
from sparsedense.data.store import FrameStore


@pytest.fixture(scope="session")
def raw_store(squares_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    """The squares scaled down, without the losses of JPEG."""
    path = tmp_path_factory.mktemp("raw") / "store"
    prepare(squares_folder, path, short_side=26, codec="raw", workers=1)
    return FrameStore(path)
