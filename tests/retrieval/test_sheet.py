from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sparsedense.data.prepare import prepare
from sparsedense.retrieval.index import Index
from sparsedense.retrieval.index_files import IndexFileError
from sparsedense.retrieval.queries import Retrieval, retrieve
from sparsedense.retrieval.sheet import write_sheets
from tests.video.sample_videos import write_truncated

QUERY, FOUND = "test/down/down_test0.mp4", "test/right/right_test1.mp4"


def picture(path: Path) -> NDArray[np.uint8]:
    """Pixels (H, W, 3), RGB."""
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return np.asarray(pixels[:, :, ::-1], dtype=np.uint8)


def colourful(pixels: NDArray[np.uint8], channel: int) -> int:
    """How many pixels are of the colour of a square."""
    rest = np.delete(pixels, channel, axis=2)
    return int(((pixels[:, :, channel] > 180) & (rest.max(axis=2) < 90)).sum())


def found(index: Index, query: str | Path) -> Retrieval:
    row = index.row_of(FOUND)
    assert row is not None
    (neighbours,) = index.search(np.asarray(index.features("dense")[row : row + 1]), k=2)
    return Retrieval(str(query), tuple(neighbours), video_id=None)


def test_the_query_is_on_top_and_what_was_found_below(index: Index, squares_folder: Path, tmp_path: Path) -> None:
    answer = found(index, squares_folder / QUERY)
    assert answer.neighbours[0].path == FOUND
    (path,) = write_sheets(tmp_path / "sheet.png", index, [answer])
    pixels = picture(path)
    top, second = pixels[:130], pixels[140:240]
    assert colourful(top, 1) > 500 > colourful(top, 2)  # `down` is green, `right` is blue
    assert colourful(second, 2) > 500 > colourful(second, 1)
    assert (pixels[:, :20] == 255).all()
    text = pixels[20:120, 20:270]
    assert (text.min(axis=2) < 100).sum() > 50
    (of_store,) = write_sheets(tmp_path / "own.png", index, retrieve(index, [QUERY], k=2))
    assert colourful(picture(of_store)[:130], 1) > 500


def test_several_queries_have_a_sheet_each(index: Index, squares_folder: Path, tmp_path: Path) -> None:
    answers = [found(index, squares_folder / QUERY)] * 2 + [Retrieval("bad.mp4", error="no video")]
    written = write_sheets(tmp_path / "sheets", index, answers, several=True)
    assert [path.name for path in written] == ["down_test0.png", "down_test0-2.png"]
    assert all(path.is_file() for path in written)


def test_a_damaged_query_shows_what_is_good_of_it(index: Index, tmp_path: Path) -> None:
    video = write_truncated(tmp_path / "short.mp4", 40, keep=0.6)
    (path,) = write_sheets(tmp_path / "sheet.png", index, [found(index, video)])
    assert path.is_file()


def test_a_long_name_leaves_the_frames_free(index: Index, squares_folder: Path, tmp_path: Path) -> None:
    video = tmp_path / f"{'a very long name ' * 8}.mp4"
    video.write_bytes((squares_folder / QUERY).read_bytes())
    (path,) = write_sheets(tmp_path / "sheet.png", index, [found(index, video)])
    assert (picture(path)[:130, 270:280] == 255).all()


def test_another_store_is_refused(index: Index, squares_folder: Path, tmp_path: Path) -> None:
    prepare(squares_folder / "val", tmp_path / "store", short_side=16, workers=1)
    with pytest.raises(IndexFileError, match=r"store is not the store that .* was made of, or was changed since"):
        write_sheets(tmp_path / "sheet.png", index, [found(index, QUERY)], store=tmp_path / "store")
    with pytest.raises(ValueError, match=r"sheet\.jpg: a contact sheet is written as \.png"):
        write_sheets(tmp_path / "sheet.jpg", index, [found(index, QUERY)])
    with pytest.raises(ValueError, match="which standard input cannot"):
        write_sheets(tmp_path / "sheet.png", index, [found(index, "-")])
