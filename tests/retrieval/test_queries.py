from pathlib import Path

import numpy as np
import pytest

from sparsedense.models.model_file import save_model
from sparsedense.prediction.video_recogniser import load_model
from sparsedense.retrieval.index import Index
from sparsedense.retrieval.index_files import IndexFileError
from sparsedense.retrieval.output import print_retrievals, retrieval_record
from sparsedense.retrieval.queries import Retrieval, matching_model, retrieve
from tests.conftest import HEIGHT
from tests.evaluation.colour_model import tiny_recogniser

VIDEO = "test/down/down_test0.mp4"


@pytest.mark.parametrize("view", ["dense", "sparse"])
def test_a_file_finds_itself_in_the_store(index: Index, squares_folder: Path, view: str) -> None:
    (answer,) = retrieve(index, [squares_folder / VIDEO], view=view, k=3, device="cpu")
    assert (answer.query, answer.view) == (str(squares_folder / VIDEO), view)
    assert [each.path for each in answer.neighbours][:1] == [VIDEO]
    assert answer.neighbours[0].similarity > 0.999
    assert len(answer.neighbours) == 3


def test_a_video_of_the_store_finds_others_without_the_model(
    index: Index, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsedense.retrieval.queries.load_model", None)
    (answer,) = retrieve(index.path, [VIDEO], k=len(index))
    assert VIDEO not in [each.path for each in answer.neighbours]
    assert len(answer.neighbours) == len(index) - 1
    assert answer.video_id == index.video_id_of(index.row_of(VIDEO) or 0)
    group = index.group_of(index.row_of(VIDEO) or 0)
    (others,) = retrieve(index, [VIDEO], k=len(index), exclude_same_group=True)
    assert {each.row for each in others.neighbours} == {each.row for each in answer.neighbours if each.group != group}


def test_each_video_has_an_answer(index: Index, squares_folder: Path, tmp_path: Path) -> None:
    bad, files = tmp_path / "bad.mp4", squares_folder / "val"
    bad.write_text("no video")
    answers = retrieve(index, [bad, files, VIDEO], k=1, device="cpu")
    assert [answer.query for answer in answers] == [VIDEO, *map(str, sorted(files.rglob("*.mp4"))), str(bad)]
    assert "not a video file" in str(answers[-1].error)
    assert answers[-1].neighbours == ()


def test_another_model_is_refused(index: Index, model_path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    recogniser = tiny_recogniser(())
    next(recogniser.encoder.parameters()).data.add_(0.1)
    save_model(other, recogniser, provenance={"store": {"short_side": HEIGHT}})
    message = (
        r"other\.safetensors is not the model that .*index was made with: .* make the index again with `sparsedense"
    )
    with pytest.raises(IndexFileError, match=message):
        retrieve(index, [tmp_path / "clip.mp4"], model=other, device="cpu")
    with pytest.raises(IndexFileError, match="is not the model"):
        matching_model(index, load_model(model_path, device="cpu", short_side=HEIGHT + 1))
    assert matching_model(index, load_model(model_path, device="cpu")).name == str(model_path)


def test_a_model_that_is_gone_is_told(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    with pytest.raises(IndexFileError, match=r"which is not there any more; give that model with --model"):
        matching_model(index)


def test_a_group_that_is_not_known_is_told(index: Index, squares_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"is no video of .*, so its group is not known; name a video by its path"):
        retrieve(index, [squares_folder / VIDEO], exclude_same_group=True)


def test_answers_are_shown(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    (answer,) = retrieve(index, [VIDEO], k=2)
    record = retrieval_record(answer)
    assert record["neighbours"][1]["rank"] == 2
    assert record["neighbours"][0]["path"] == answer.neighbours[0].path
    assert np.isclose(record["neighbours"][0]["similarity"], answer.neighbours[0].similarity, atol=1e-6)
    assert record.keys() == retrieval_record(Retrieval("bad.mp4", error="no video")).keys()
    print_retrievals([answer, Retrieval("bad.mp4", error="no video")])
    shown = capsys.readouterr().out
    assert f"{answer.neighbours[0].similarity:.3f}" in shown
    assert "bad.mp4" not in shown
