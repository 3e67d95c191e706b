import re
from itertools import pairwise
from pathlib import Path

from sparsedense.report.canvas import study_colours
from sparsedense.report.read_study import read_study
from sparsedense.report.study_figures import efficiency_pictures, pretraining_pictures, probe_pictures
from sparsedense.report.wording import percent
from tests.report.study_folders import whole_study

TEN = ("scratch", *(f"arm{number}" for number in range(9)))


def test_every_arm_ends_in_its_name_and_number(tmp_path: Path) -> None:
    study = read_study(whole_study(tmp_path / "study", arms=TEN))
    first, end = efficiency_pictures(study)
    for picture, moment in ((first, "first_epoch"), (end, "end")):
        for arm in TEN:
            summary = study.summary(arm, None, moment)
            assert summary is not None
            assert f"{arm} {percent(summary.test.mean)}" in picture.svg
        for tick in (">3<", ">10<", ">(40)<", "labelled videos a class", "guessing"):
            assert tick in picture.svg
    assert "first supervised epoch" in first.caption
    assert first.svg != end.svg


def test_labels_do_not_touch(tmp_path: Path) -> None:
    study = read_study(whole_study(tmp_path / "study", arms=TEN))
    for picture in efficiency_pictures(study):
        heights = sorted(height_of(picture.svg, arm) for arm in TEN)
        assert min(b - a for a, b in pairwise(heights)) > 10, "points"


def height_of(svg: str, arm: str) -> float:
    """Height of an arm's label in points."""
    found = re.search(rf"translate\([\d.]+ ([\d.]+)\)[^>]*>(?:(?!</text>).)*{arm} ", svg) or re.search(
        rf'<text[^>]*y="([\d.]+)"[^>]*>{arm} ', svg
    )
    assert found is not None, arm
    return float(found.group(1))


def test_one_number_of_labels_has_a_row_for_each_arm(tmp_path: Path) -> None:
    study = read_study(whole_study(tmp_path / "study", labels=(3,)))
    pictures = efficiency_pictures(study)
    assert len(pictures) == 2
    for arm in study.arms:
        assert f">{arm}<" in pictures[1].svg
    assert "dot = mean" in pictures[0].caption
    assert "labelled videos a class" not in pictures[0].svg


def test_arms_without_results_yet_are_left_out(tmp_path: Path) -> None:
    folder = whole_study(tmp_path / "study")
    study = read_study(folder)
    study.summaries[:] = [summary for summary in study.summaries if summary.arm != "speed"]
    assert "speed" not in efficiency_pictures(study)[0].svg
    study.summaries[:] = []
    assert efficiency_pictures(study) == []


def test_probes_stand_beside_a_random_network(tmp_path: Path) -> None:
    study = read_study(whole_study(tmp_path / "study"))
    knn, linear = probe_pictures(study)
    for text in ("sparsedense", "untrained weights", percent(0.18)):
        assert text in knn.svg
    assert percent(0.31) in linear.svg
    assert probe_pictures(read_study(whole_study(tmp_path / "bare", probes={}))) == []


def test_losses_are_drawn_with_their_guess(tmp_path: Path) -> None:
    study = read_study(whole_study(tmp_path / "study"))
    pictures = pretraining_pictures(study)
    assert [picture.caption.split(",")[0] for picture in pictures[:3]] == [
        "Alignment loss", "Contrast loss", "Speed loss",
    ]  # fmt: skip
    assert "collapse" in pictures[3].caption
    assert all("guessing" in picture.svg for picture in pictures[:3])
    assert "guessing" not in pictures[3].svg
    for runs in study.pretraining.values():
        for curves in runs[:1]:
            curves["guess_alignment"].values[-1] = 9.0
    assert "guessing" not in pretraining_pictures(study)[0].svg, "the runs do not agree"


def test_ten_arms_have_ten_colours() -> None:
    colours = study_colours(TEN, "scratch")
    assert len(set(colours.values())) == len(TEN)
    assert study_colours(["b", "a"], "a")["a"] == "scratch"
