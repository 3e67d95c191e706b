"""The page as a reader and a browser see it."""

import ast
import json
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import pytest

import sparsedense.report
from sparsedense.report import ReportError, write_report

MakeRun = Callable[..., Path]
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects text, links, ids and headings, and checks that every tag is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []
        self.ids: Counter[str] = Counter()
        self.pieces: list[str] = []
        self.open: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "srcset", "data", "action"}:
                self.links.append(value or "")
            if name == "id":
                self.ids[value or ""] += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.pieces))

    @property
    def headings(self) -> list[str]:
        return re.findall(r"<h2>(.*?)</h2>", self.source)


def check_self_contained(page: Page) -> None:
    assert page.tags["script"] == 0
    without_pictures = re.sub(r"base64,[A-Za-z0-9+/=]*", "", page.source)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", without_pictures)
    outside = [link for link in page.links if not link.startswith(("data:", "#", "./"))]
    assert outside == []
    assert [identity for identity, count in page.ids.items() if count > 1] == []
    targets = re.findall(r"url\(#([^)]*)\)", page.source) + [link[1:] for link in page.links if link.startswith("#")]
    assert set(targets) <= set(page.ids)


def test_a_run_page_shows_the_numbers(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "night run")
    evaluation = json.loads((run / "evaluation.json").read_text())
    path = write_report(run)
    page = Page(path)

    assert path == run / "report.html"
    check_self_contained(page)
    for key in ("accuracy", "f1", "accuracy_top5", "clip_accuracy"):
        assert f"{100 * evaluation[key]:.1f} %" in page.text, key
    for row in evaluation["per_class"]:
        assert re.search(rf"{row['name']} +{row['videos']} +{100 * row['precision']:.1f} %", page.text), row
    for fact in ("night run", "sparsedense train store", "AMD EPYC 7763", "1 min 23 s", "torch 2.9.0", "train 48"):
        assert fact in page.text, fact
    for figure in ("Figure 5", "Figure 6", "Figure 7", "Figure 8", "Figures 9 and 10"):
        assert figure in page.text, figure
    assert "batch_size: 13" in page.text
    assert "labels from epoch" in page.text
    assert page.source.count("data:image/png;base64,") == len(evaluation["examples"])


def test_a_comparison_page_shows_the_numbers(make_comparison: MakeRun, tmp_path: Path) -> None:
    folder = make_comparison(tmp_path / "demo")
    write_report(folder / "pretrain")
    write_report(folder / "finetune/pretrained-seed1")
    page = Page(write_report(folder))

    check_self_contained(page)
    expected = (
        *("+20.0 points", "+18.7 to +21.2", "3 paired seeds", "61.4 ± 1.9", "41.4 ± 2.2", "8.3 ± 0.9"),
        *("41.2 · 43.7 · 39.4", "47.3 %", "18.1 %", "87.1 %", "50.6 %", "7 min 18 s", "320 test videos"),
        *("3 labelled videos a class", "sparsedense demo --out runs/demo", "finetune/pretrained-seed0"),
    )
    for text in expected:
        assert text in page.text, text
    relative = [link for link in page.links if link.startswith("./")]
    assert relative == ["./pretrain/report.html", "./finetune/pretrained-seed1/report.html"]
    assert all((folder / link).exists() for link in relative)
    assert page.source.count("data:image/png") == 2 + 6


def test_no_part_without_its_data(make_run: MakeRun, make_comparison: MakeRun, tmp_path: Path) -> None:
    bare = make_run(tmp_path / "bare", evaluated=False, pretext=False)
    for name in ("config.yaml", "environment.json"):
        (bare / name).unlink()
    assert Page(write_report(bare)).headings == ["Accuracy over the epochs", "Losses and their weights", "Training"]

    judged = make_run(tmp_path / "judged")
    for name in ("config.yaml", "environment.json", "metrics.jsonl"):
        (judged / name).unlink()
    headings = Page(write_report(judged)).headings
    assert headings == ["What is taken for what", "Class by class", "Clips, and what the model said"]

    folder = make_comparison(tmp_path / "small", knn=None, controls=None, seconds=None, runs=None, difference=None)
    for name in ("views.png", "contact_sheet.png", "environment.json"):
        (folder / name).unlink()
    page = Page(write_report(folder))
    assert page.headings == ["The comparison", "How it works"]
    assert "no confidence interval" in page.text


@pytest.mark.parametrize("num_classes", [2, 101])
def test_few_and_many_classes(make_run: MakeRun, tmp_path: Path, num_classes: int) -> None:
    names = [f"action{i:03d}" for i in range(num_classes)]
    page = Page(write_report(make_run(tmp_path / "run", class_names=names)))
    check_self_contained(page)
    assert set(names) <= set(re.findall(r"<th>(.*?)</th>", page.source))
    assert f"{num_classes} classes" in page.text
    assert ("top-5 accuracy" in page.text) == (num_classes > 5)


def test_hostile_class_names_stay_text(make_run: MakeRun, tmp_path: Path) -> None:
    hostile = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b", "$x$ \\$5", "--><b>", "手を振る"]
    page = Page(write_report(make_run(tmp_path / "hostile", class_names=hostile)))
    tame = Page(write_report(make_run(tmp_path / "tame", class_names=["a", "b", "c", "d", "e", "f"])))
    check_self_contained(page)
    for name in hostile:
        assert page.text.count(name) >= 3, name
    for tag in ("img", "b", "script", "text"):
        assert page.tags[tag] == tame.tags[tag], tag


def test_curves_that_are_not_finite_are_drawn_as_far_as_they_go(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", evaluated=False)
    line = {"kind": "train", "epoch": 12, "step": 390, "loss": float("nan"), "loss_speed": float("inf")}
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps(line) + "\n")
    check_self_contained(Page(write_report(run)))


def test_matplotlib_is_left_as_it_was(make_run: MakeRun, tmp_path: Path) -> None:
    with mpl.rc_context({"font.size": 31.0, "axes.edgecolor": "pink"}):
        before = dict(mpl.rcParams)
        write_report(make_run(tmp_path / "run"))
        assert dict(mpl.rcParams) == before


def test_a_second_report_replaces_the_first_and_leaves_nothing_else(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    before = set(run.iterdir())
    write_report(run)
    write_report(str(run))
    assert set(run.iterdir()) - before == {run / "report.html"}


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"absent is not a folder.*sparsedense train"):
        write_report(tmp_path / "absent")
    with pytest.raises(ReportError, match=r"neither metrics.jsonl nor evaluation.json; run `sparsedense train`"):
        write_report(tmp_path)


def test_the_report_imports_no_other_part_of_the_library() -> None:
    for path in Path(sparsedense.report.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            foreign = [name for name in modules if name.startswith("sparsedense") and ".report" not in name]
            assert foreign == [], path
