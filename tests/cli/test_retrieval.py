import json
from pathlib import Path

import pytest

from sparsedense.cli import main
from sparsedense.models.model_file import save_model
from tests.conftest import HEIGHT
from tests.evaluation.colour_model import tiny_recogniser

Capture = pytest.CaptureFixture[str]


def test_from_a_store_to_its_nearest_videos(
    squares_path: Path, squares_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    model, index = tmp_path / "model.safetensors", str(tmp_path / "index")
    save_model(model, tiny_recogniser(()), provenance={"store": {"short_side": HEIGHT}})
    flags = ["--out", index, "--clips-per-video", "1", "--num-workers", "0", "--device", "cpu"]
    assert main(["index", str(model), str(squares_path), *flags]) == 0
    assert "index: 32 videos, dense and sparse features of 32 numbers (float16)" in capsys.readouterr().out
    good, bad = str(squares_folder / "val" / "down" / "down_val0.mp4"), str(tmp_path / "absent.mp4")
    assert main(["retrieve", index, good, bad, "--top-k", "2", "--json", "--view", "sparse", "--split=val"]) == 3
    shown = capsys.readouterr()
    records = json.loads(shown.out)
    assert [record["query"] for record in records] == [good, bad]
    assert records[0]["neighbours"][0]["path"] == "val/down/down_val0.mp4"
    assert {each["split"] for each in records[0]["neighbours"]} == {"val"}
    assert f"error: {bad}: file not found" in shown.err
    assert main(["retrieve", index, "val/down/down_val0.mp4", "--sheet", str(tmp_path / "sheet.png")]) == 0
    assert f"contact sheet: {tmp_path / 'sheet.png'}" in capsys.readouterr().out
    assert (tmp_path / "sheet.png").is_file()
    for arguments, message in (
        ([index, good, "--top-k", "0"], "--top-k (0) must be at least 1"),
        ([index, good, "--exclude-same-group"], "its group is not known"),
        ([str(tmp_path), good], "no such index"),
    ):
        assert main(["retrieve", *arguments]) == 1
        assert message in capsys.readouterr().err
