from pathlib import Path

import pytest

from sparsedense.app.limits import RefusedError
from sparsedense.app.run_reports import RunReports


def test_runs_are_listed_with_what_they_measured(runs: Path) -> None:
    listed = {run["path"]: run for run in RunReports(runs).listed()}
    assert set(listed) == {"first", "deep/second", "unfinished", "linked-page"}
    assert listed["first"]["figures"] == [{"name": "accuracy", "value": 0.75}]
    assert {path for path, run in listed.items() if run["has_report"]} == {"first", "deep/second"}


def test_a_report_is_found(runs: Path) -> None:
    assert RunReports(runs).page("deep/second/report.html") == runs.resolve() / "deep/second/report.html"


@pytest.mark.parametrize(
    "path",
    [
        "../report.html",
        "first/../../report.html",
        "./first/report.html",
        "first//report.html",
        "/etc/passwd",
        "/report.html",
        "first/config.yaml",
        "first",
        "",
        "linked/report.html",
        "linked-page/report.html",
        "first\\report.html",
        "first/report.html\0",
        "first/\0/report.html",
        "%2e%2e/report.html",
        "absent/report.html",
    ],
)
def test_nothing_else_is_given_out(path: str, runs: Path) -> None:
    with pytest.raises(RefusedError, match="no such report") as refused:
        RunReports(runs).page(path)
    assert refused.value.status == 404


def test_a_file_is_no_folder_of_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        RunReports(tmp_path / "absent")
