"""The page of a study as a reader and a browser see it."""

import json
import re
from pathlib import Path

from sparsedense.report import write_report
from sparsedense.report.canvas import PALETTE
from tests.report.study_folders import GATE_NAMES, whole_study
from tests.report.test_page import Page, check_self_contained


def test_the_page_shows_the_numbers(tmp_path: Path) -> None:
    folder = whole_study(tmp_path / "ablation")
    for name in ("pretrain/speed-store-seed1", "finetune/speed-store-3-seed0"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "report.html").touch()
    page = Page(write_report(folder))
    check_self_contained(page)
    expected = (
        *("sparsedense helps: +25.0 points", "+21.6 to +28.4", "60.6 %", "57.2 to 64.0", "Holm 0.0008", "0.0004"),
        *("3 labels a class", "10 labels a class", "All labels", "best on validation", "baseline", *GATE_NAMES),
        *("✓ pass", "✗ fail", "○ not measured", "0.42 of guessing", "+25.0 points", "pretrain longer"),
        *("5 seeds (0, 1, 2, 3, 4)", "320 test videos", "64 validation videos", "3, 10, all (40) labels a class"),
        *("sparsedense compare ablation --store runs/store", "30 min 30 s", "finetune/speed-store-all-seed4"),
    )
    for text in expected:
        assert text in page.text, text
    assert [link for link in page.links if link.startswith("./")] == [
        "./pretrain/speed-store-seed1/report.html",
        "./finetune/speed-store-3-seed0/report.html",
    ]
    assert page.headings == [
        "Gates", "Accuracy against labels", "All arms", "What the encoders know before any label", "Pretraining",
        "Repeat it",
    ]  # fmt: skip
    assert "not done yet" not in page.text


def test_of_several_stores_the_interval_over_them_is_shown(tmp_path: Path) -> None:
    folder = whole_study(tmp_path / "study")
    assert "over 4 stores" not in Page(write_report(folder)).text
    results = json.loads((folder / "results.json").read_text())
    results["stores"] = [results["stores"][0] | {"name": f"s{number}"} for number in range(4)]
    results["summaries"][1]["difference_over_stores"] = {"mean": 0.25, "low": 0.153, "high": 0.347, "n": 4, "p": 0.01}
    (folder / "results.json").write_text(json.dumps(results))
    text = Page(write_report(folder)).text
    assert "over 4 stores +15.3 to +34.7" in text
    assert "one number a store" in text


def test_what_failed_and_what_is_missing_is_told(tmp_path: Path) -> None:
    failed = {"finetune/speed-store-3-seed1": "out of <memory>"}
    folder = whole_study(tmp_path / "study", failed=failed, jobs={"done": 30, "all": 36})
    page = Page(write_report(folder))
    assert "5 more runs are not done yet" in page.text
    assert "finetune/speed-store-3-seed1 : out of <memory>" in page.text


def test_a_study_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    folder = whole_study(
        tmp_path / "study", summaries=[], probes={}, pretrain={}, runs=[], seconds={}, jobs={"done": 0, "all": 36}
    )
    (folder / "gates.json").write_text('{"gates": []}')
    page = Page(write_report(folder))
    assert page.headings == ["Repeat it"]
    assert "36 more runs are not done yet" in page.text


def test_without_validation_the_page_says_so(tmp_path: Path) -> None:
    page = Page(write_report(whole_study(tmp_path / "study", validated=False)))
    assert "There are no validation videos, so no arm is chosen." in page.text
    assert "best on validation" not in page.text


def test_every_colour_has_its_dark_form() -> None:
    style = (Path(__file__).parents[2] / "src/sparsedense/report/templates/style.css").read_text()
    dark = style[style.index("prefers-color-scheme: dark") :]
    assert {name for name in PALETTE if not re.search(rf"--{name}: #", dark)} == set()


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    folder = whole_study(tmp_path / "study", arms=("scratch", "<b>ours</b>", "$x$"), labels=(3,))
    page = Page(write_report(folder))
    assert "<b>ours</b>" in page.text
    assert "$x$" in page.text
