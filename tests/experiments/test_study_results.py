import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sparsedense.experiments.job_records import JobRecord
from sparsedense.experiments.significance import paired_difference
from sparsedense.experiments.study_jobs import Cell
from sparsedense.experiments.study_results import StudyResults, collect_results, write_rows

SEEDS = range(3)
# Test accuracy at the end of each arm and seed; validation prefers `b`, the test videos `a`.
TEST = {"scratch": [0.4, 0.5, 0.3], "a": [0.7, 0.9, 0.8], "b": [0.6, 0.8, 0.4]}
VALIDATION = {"scratch": [0.4, 0.4, 0.4], "a": [0.5, 0.5, 0.5], "b": [0.9, 0.4, 0.4]}


def record(name: str, results: dict[str, Any]) -> JobRecord:
    return JobRecord(name, {"kind": name.partition("/")[0]}, results, 2.0, "")


def scores(accuracy: float) -> dict[str, float]:
    return {"accuracy": accuracy, "f1": accuracy / 2, "videos": 20}


def study(*, validated: bool = True, without: set[str] | None = None) -> StudyResults:
    cells, records = [], {}
    for seed in SEEDS:
        for arm in TEST:
            names: dict[int | None, str] = {3: f"finetune/{arm}-store-3-seed{seed}"}
            pretrained = arm != "scratch"
            probe = f"probe/{arm}-seed{seed}" if pretrained else None
            cells.append(Cell(arm, "store", seed, f"pretrain/{arm}" if pretrained else None, probe, names))
            end = {"val": scores(VALIDATION[arm][seed])} if validated else {}
            end["test"] = scores(TEST[arm][seed])
            first = {split: scores(0.1) for split in end}
            records[names[3]] = record(names[3], {"run": names[3], "first_epoch": first, "end": end})
            if probe is not None:
                found = {
                    "knn": {"model": 0.6 + seed / 10, "random": 0.1, "untrained": 0.2},
                    "linear": {"model": 0.8, "random": 0.1, "untrained": 0.3},
                }
                records[probe] = record(probe, found)
    records = {name: found for name, found in records.items() if name not in (without or set())}
    return collect_results(cells, records, baseline="scratch")


def test_a_run_has_a_row_for_each_moment_and_split() -> None:
    rows = study().rows
    assert len(rows) == len(SEEDS) * len(TEST) * 2 * 2
    (row,) = [r for r in rows if (r.arm, r.seed, r.moment, r.split) == ("a", 1, "end", "test")]
    assert (row.store, row.labels_per_class, row.accuracy, row.f1) == ("store", 3, 0.9, 0.45)
    assert (row.knn, row.linear, row.seconds, row.run) == (0.7, 0.8, 2.0, "finetune/a-store-3-seed1")
    scratch = next(r for r in rows if r.arm == "scratch")
    assert (scratch.knn, scratch.linear) == (0.2, 0.3), "from scratch it is the untrained network's"


def test_the_rows_open_as_a_table(tmp_path: Path) -> None:
    rows = study(without={"probe/a-seed0", "probe/b-seed0"}).rows
    write_rows(tmp_path / "results.parquet", rows)
    table = pq.read_table(tmp_path / "results.parquet").to_pylist()
    assert list(table[0]) == [
        "arm", "store", "seed", "labels_per_class", "moment", "split", "accuracy", "f1", "knn", "linear", "seconds",
        "run",
    ]  # fmt: skip
    assert len(table) == len(rows)
    assert table[0]["knn"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["results.parquet"]


def test_differences_are_paired_and_corrected_over_the_arms() -> None:
    results = study()
    found = {arm: results.summary(arm, 3, "end") for arm in TEST}
    p_values = {}
    for arm in ("a", "b"):
        summary, expected = found[arm], paired_difference(TEST[arm], TEST["scratch"])
        assert summary is not None
        assert summary.difference is not None
        assert {k: v for k, v in summary.difference.items() if k != "p_holm"} == pytest.approx(expected)
        p_values[arm] = (summary.difference["p"], summary.difference["p_holm"])
    small, large = sorted(p_values.values())
    assert small[1] == pytest.approx(2 * small[0])
    assert large[1] == pytest.approx(max(2 * small[0], large[0]))
    scratch = found["scratch"]
    assert scratch is not None
    assert scratch.difference is None


def test_the_arm_is_chosen_on_validation_and_judged_on_test() -> None:
    results = study()
    chosen = [s.arm for s in results.summaries if s.moment == "end" and s.best_on_validation]
    assert chosen == ["b"]
    summary = results.summary("b", 3, "end")
    assert summary is not None
    assert summary.test["mean"] == pytest.approx(0.6)
    assert summary.validation == pytest.approx(1.7 / 3)
    assert not any(s.best_on_validation for s in study(validated=False).summaries)


def test_the_arm_is_chosen_on_the_pairs_that_all_arms_have() -> None:
    results = study(without={"finetune/scratch-store-3-seed0"})
    assert [s.arm for s in results.summaries if s.moment == "end" and s.best_on_validation] == ["a"]


def test_an_accuracy_has_an_interval_within_its_bounds() -> None:
    for summary in study().summaries:
        assert 0 <= summary.test["low"] <= summary.test["mean"] <= summary.test["high"] <= 1


def test_what_is_missing_leaves_the_pairs_that_are_there() -> None:
    results = study(without={"finetune/scratch-store-3-seed2", "finetune/b-store-3-seed0", "probe/a-seed1"})
    a, b = results.summary("a", 3, "end"), results.summary("b", 3, "end")
    assert a is not None
    assert b is not None
    assert a.test["n"] == 3
    assert a.difference is not None
    assert b.difference is not None
    assert a.difference["n"] == 2
    assert a.difference["mean"] == pytest.approx(0.35)
    assert b.difference == pytest.approx({"mean": 0.3, "n": 1})
    assert len(results.probes["a"]) == 2
    assert a.best_on_validation or b.best_on_validation
    assert study(without={f"finetune/{arm}-store-3-seed{seed}" for arm in TEST for seed in SEEDS}).summaries == []


def test_nothing_is_compared_without_the_baseline() -> None:
    results = study(without={f"finetune/scratch-store-3-seed{seed}" for seed in SEEDS})
    assert {summary.difference is None for summary in results.summaries} == {True}
    assert not any(math.isnan(summary.test["mean"]) for summary in results.summaries)


def test_pairs_of_a_store_count_once_for_the_interval_over_stores() -> None:
    cells, records = [], {}
    ends = {
        ("scratch", "s1"): (0.2, 0.4),
        ("scratch", "s2"): (0.5, 0.5),
        ("a", "s1"): (0.5, 0.6),
        ("a", "s2"): (0.6, 0.7),
    }
    for (arm, store), accuracies in ends.items():
        for seed, accuracy in enumerate(accuracies):
            name = f"finetune/{arm}-{store}-3-seed{seed}"
            cells.append(Cell(arm, store, seed, None, None, {3: name}))
            moment = {"test": scores(accuracy)}
            records[name] = record(name, {"run": name, "first_epoch": moment, "end": moment})
    summary = collect_results(cells, records, baseline="scratch").summary("a", 3, "end")
    assert summary is not None
    assert summary.difference is not None
    assert summary.difference["n"] == 4
    expected = paired_difference([0.55, 0.65], [0.3, 0.5])
    assert summary.difference_over_stores == pytest.approx(expected)
    assert {s.difference_over_stores is None for s in study().summaries} == {True}, "there is one store only"
