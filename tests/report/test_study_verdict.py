"""The verdict of a study says no more than the numbers do, and chooses nothing by the test videos."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sparsedense.report.read_study import read_study
from sparsedense.report.study_verdict import study_verdict
from sparsedense.report.verdict import Verdict
from tests.report.study_folders import whole_study

FOUR = ("scratch", "a", "b", "c")


def judged(folder: Path, changes: dict[tuple[str, str], Any] | None = None, **options: Any) -> Verdict:
    """Verdict of a study in which some summaries are changed: by arm, and `difference` or `best_on_validation`."""
    whole_study(folder, **options)
    content = json.loads((folder / "results.json").read_text())
    for summary in content["summaries"]:
        for (arm, key), value in (changes or {}).items():
            if summary["arm"] == arm:
                summary[key] = value
    (folder / "results.json").write_text(json.dumps(content))
    found = study_verdict(read_study(folder))
    assert found is not None
    return found


def difference(mean: float, reach: float, pairs: int = 5) -> dict[str, float]:
    return {"mean": mean, "low": mean - reach, "high": mean + reach, "n": pairs, "p": 0.01, "p_holm": 0.02}


@pytest.mark.parametrize(
    ("mean", "reach", "tone", "words"),
    [
        (0.2, 0.1, "better", "sparsedense helps: +20.0 points of accuracy over scratch [95 % CI +10.0 to +30.0]"),
        (-0.2, 0.1, "worse", "sparsedense hurts: \N{MINUS SIGN}20.0 points"),
        (0.2, 0.2, "open", "Not shown to help: sparsedense has +20.0 points"),
        (0.2, 0.3, "open", "which includes zero"),
    ],
)  # fmt: skip
def test_the_interval_decides(tmp_path: Path, mean: float, reach: float, tone: str, words: str) -> None:
    found = judged(tmp_path / "study", {("sparsedense", "difference"): difference(mean, reach)})
    assert found.tone == tone
    assert words in found.headline


def test_the_arm_is_the_one_that_validation_chose_not_the_best_of_the_test_videos(tmp_path: Path) -> None:
    changes = {("a", "best_on_validation"): False, ("c", "best_on_validation"): True}
    found = judged(tmp_path / "study", changes, arms=FOUR)
    assert found.headline.startswith("c helps: +15.0 points")
    assert found.details[-1] == "3 of 6 gates passed, 2 failed, 1 not measured"


def test_no_arm_helps_where_validation_chooses_the_baseline(tmp_path: Path) -> None:
    changes = {("sparsedense", "best_on_validation"): False, ("scratch", "best_on_validation"): True}
    found = judged(tmp_path / "study", changes)
    assert found.tone == "worse"
    assert found.headline == "No arm helps with 3 labels a class: on the validation videos none is better than scratch."


@pytest.mark.parametrize(
    ("p_values", "means", "tone", "words"),
    [
        ((0.01, 0.04, 0.2), (0.2, 0.1, 0.1), "better", "2 of 3 arms better than scratch with 3 labels"),
        ((0.01, 0.04, 0.2), (0.2, -0.1, 0.1), "better", "1 of 3 arms better than scratch, 1 worse"),
        ((0.06, 0.2, 0.2), (0.2, 0.1, 0.1), "open", "0 of 3 arms better than scratch with"),
        ((0.01, 0.2, 0.2), (-0.2, 0.1, 0.1), "worse", "0 of 3 arms better than scratch, 1 worse"),
    ],
)
def test_without_validation_arms_are_only_counted(
    tmp_path: Path, p_values: Sequence[float], means: Sequence[float], tone: str, words: str
) -> None:
    changes: dict[tuple[str, str], Any] = {
        (arm, "difference"): difference(mean, 0.01) | {"p": p / 3, "p_holm": p}
        for arm, mean, p in zip("abc", means, p_values, strict=True)
    }
    found = judged(tmp_path / "study", changes, arms=FOUR, validated=False)
    assert (found.tone, words in found.headline) == (tone, True), found.headline
    assert "corrected for 3 comparisons; no validation chose among them" in found.headline


def test_a_single_arm_stands_for_itself_without_validation(tmp_path: Path) -> None:
    assert judged(tmp_path / "study", arms=("scratch", "ours"), validated=False).headline.startswith(
        "ours helps: +25.0"
    )


def test_one_pair_is_too_few(tmp_path: Path) -> None:
    found = judged(tmp_path / "study", num_seeds=1)
    assert found.tone == "open"
    assert found.headline.startswith("Too few pairs to tell: sparsedense has +25.0 points")
    found = judged(tmp_path / "unchosen", num_seeds=1, validated=False)
    assert found.headline.startswith("Too few pairs to tell with 3 labels a class")


def test_no_verdict_without_a_pair(tmp_path: Path) -> None:
    folder = whole_study(tmp_path / "study", summaries=[])
    assert study_verdict(read_study(folder)) is None
