import json
from pathlib import Path

import pytest

from sparsedense.cli import main

OPTIONS = ["--workers", "0,1", "--rounds", "2", "--batch-size", "2", "--clip-length", "4", "--size", "16"]


def test_bench_data_prints_a_table(squares_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "data", str(squares_path), *OPTIONS]) == 0
    shown = capsys.readouterr().out
    for row in ("read", "decode", "crop", "collate", "augment", "JPEG decoder alone", "loader in this process"):
        assert row in shown
    assert "loader, 1 worker" in shown


def test_bench_data_prints_json(squares_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "data", str(squares_path), "--json", *OPTIONS]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["loader"]) == {"0", "1"}
    assert found["clip_length"] == 4


def test_only_data_can_be_measured(squares_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "network", str(squares_path)])
    assert "data" in capsys.readouterr().err
