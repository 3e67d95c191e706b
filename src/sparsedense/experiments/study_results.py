"""What a study found so far: a row a run, and for each number of labels every arm with its difference to the baseline.

The arm is chosen on the validation videos, the figures are of the test videos.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sparsedense.evaluation.probe_samples import UNTRAINED
from sparsedense.experiments.job_records import JobRecord
from sparsedense.experiments.significance import holm, mean_interval, paired_difference
from sparsedense.experiments.study_jobs import Cell

MOMENTS = ("first_epoch", "end")
CHOICE_SPLIT, FIGURE_SPLIT = "val", "test"
_SCHEMA = pa.schema(
    [
        pa.field("arm", pa.string(), nullable=False),
        pa.field("store", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("labels_per_class", pa.int64()),
        pa.field("moment", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("accuracy", pa.float64(), nullable=False),
        pa.field("f1", pa.float64(), nullable=False),
        pa.field("knn", pa.float64()),
        pa.field("linear", pa.float64()),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("run", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Row:
    """One run at one moment on one split.

    Attributes:
        labels_per_class: None is all labels.
        moment: `first_epoch` or `end` of the fine-tuning.
        accuracy, f1: of the videos, in 0..1.
        knn, linear: of the weights that the run started from, before any label; None where they were not probed. A run
            from scratch has those of the untrained network.
        seconds: of training and evaluating the run.
        run: its folder.
    """

    arm: str
    store: str
    seed: int
    labels_per_class: int | None
    moment: str
    split: str
    accuracy: float
    f1: float
    knn: float | None
    linear: float | None
    seconds: float
    run: str


@dataclass(frozen=True)
class ArmSummary:
    """One arm with one number of labels at one moment.

    Attributes:
        test: `mean`, `low`, `high`, `n` of the accuracy over the pairs.
        f1: mean macro-F1 of the test videos.
        validation: mean accuracy on the validation videos, None without any.
        difference: `mean`, `low`, `high`, `n`, `p`, `p_holm` against the baseline; None for the baseline itself.
        best_on_validation: whether validation chooses this arm.
        difference_over_stores: `difference` with one number a store, the mean over its seeds, and no `p_holm`;
            None with fewer than two stores. Pairs of one store share its test videos: only this speaks of new stores.
    """

    arm: str
    labels_per_class: int | None
    moment: str
    test: dict[str, float | int]
    f1: float
    validation: float | None = None
    difference: dict[str, float | int] | None = None
    best_on_validation: bool = False
    difference_over_stores: dict[str, float | int] | None = None


@dataclass
class StudyResults:
    """Rows and summaries; `probes` are the probe's figures by arm, one for each store and seed."""

    rows: list[Row] = field(default_factory=list)
    summaries: list[ArmSummary] = field(default_factory=list)
    probes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def summary(self, arm: str, labels_per_class: int | None, moment: str) -> ArmSummary | None:
        """That of one arm, None where none of its runs is finished."""
        wanted = (arm, labels_per_class, moment)
        return next((s for s in self.summaries if (s.arm, s.labels_per_class, s.moment) == wanted), None)


def collect_results(cells: Sequence[Cell], records: Mapping[str, JobRecord], *, baseline: str) -> StudyResults:
    """Put the records of the finished jobs together; those that are missing are left out."""
    rows = [row for cell in cells for row in _rows(cell, cells, records)]
    probes: dict[str, dict[str, dict[str, Any]]] = {}
    for cell in cells:
        if cell.probe is not None and cell.probe in records:
            probes.setdefault(cell.arm, {})[cell.probe] = records[cell.probe].results
    results = StudyResults(rows, [], {arm: list(found.values()) for arm, found in probes.items()})
    for labels in dict.fromkeys(row.labels_per_class for row in rows):
        for moment in MOMENTS:
            chosen = [row for row in rows if row.labels_per_class == labels and row.moment == moment]
            results.summaries += _summaries(chosen, labels, moment, baseline)
    return results


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write the rows as a Parquet table, completely or not at all."""
    draft = path.with_name(f".{path.name}.partial")
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=_SCHEMA), draft)
    draft.replace(path)


def _rows(cell: Cell, cells: Sequence[Cell], records: Mapping[str, JobRecord]) -> list[Row]:
    knn, linear = _probed(cell, cells, records)
    rows = []
    for labels, name in cell.finetune.items():
        record = records.get(name)
        if record is None:
            continue
        for moment in MOMENTS:
            for split, scores in record.results[moment].items():
                rows.append(
                    Row(cell.arm, cell.store, cell.seed, labels, moment, split, scores["accuracy"], scores["f1"],
                        knn, linear, record.seconds, record.results["run"])
                )  # fmt: skip
    return rows


def _probed(cell: Cell, cells: Sequence[Cell], records: Mapping[str, JobRecord]) -> tuple[float | None, float | None]:
    """KNN and linear probe of the weights that a run starts from; from scratch, those of the untrained network."""
    same = [other for other in cells if (other.store, other.seed) == (cell.store, cell.seed)]
    from_scratch = cell.probe is None and cell.pretrain is None
    candidates = [other.probe for other in same] if from_scratch else [cell.probe]
    found = next((records[name].results for name in candidates if name is not None and name in records), None)
    if found is None:
        return None, None
    which = UNTRAINED if from_scratch else "model"
    return found["knn"][which], found["linear"][which]


def _summaries(rows: Sequence[Row], labels: int | None, moment: str, baseline: str) -> list[ArmSummary]:
    """Every arm of one number of labels at one moment."""
    by_arm: dict[str, list[Row]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, []).append(row)
    tests = {arm: _by_pair(found, FIGURE_SPLIT) for arm, found in by_arm.items()}
    validations = {arm: _by_pair(found, CHOICE_SPLIT) for arm, found in by_arm.items()}
    of_baseline = tests.get(baseline, {})
    differences = {arm: _difference(tests[arm], of_baseline) for arm in by_arm if arm != baseline}
    corrected = holm({arm: d["p"] for arm, d in differences.items() if d is not None and "p" in d})
    best = _best(validations)
    summaries = []
    for arm, found in by_arm.items():
        difference = differences.get(arm)
        if difference is not None and arm in corrected:
            difference = difference | {"p_holm": corrected[arm]}
        summaries.append(
            ArmSummary(
                arm,
                labels,
                moment,
                test=_within_bounds(mean_interval(list(tests[arm].values()))),
                f1=fmean(row.f1 for row in found if row.split == FIGURE_SPLIT),
                validation=fmean(validations[arm].values()) if validations[arm] else None,
                difference=difference,
                difference_over_stores=None if arm == baseline else _difference_over_stores(tests[arm], of_baseline),
                best_on_validation=arm == best,
            )
        )
    return summaries


def _within_bounds(interval: Mapping[str, float | int]) -> dict[str, float | int]:
    """An accuracy is never below 0 nor above 1, which Student's t does not know."""
    return {name: min(1.0, max(0.0, value)) if name in ("low", "high") else value for name, value in interval.items()}


def _by_pair(rows: Iterable[Row], split: str) -> dict[tuple[str, int], float]:
    return {(row.store, row.seed): row.accuracy for row in rows if row.split == split}


def _difference(
    arm: Mapping[tuple[str, int], float], baseline: Mapping[tuple[str, int], float]
) -> dict[str, float | int] | None:
    pairs = [pair for pair in arm if pair in baseline]
    return paired_difference([arm[pair] for pair in pairs], [baseline[pair] for pair in pairs]) if pairs else None


def _difference_over_stores(
    arm: Mapping[tuple[str, int], float], baseline: Mapping[tuple[str, int], float]
) -> dict[str, float | int] | None:
    by_store: dict[str, list[tuple[str, int]]] = {}
    for pair in arm:
        if pair in baseline:
            by_store.setdefault(pair[0], []).append(pair)
    if len(by_store) < 2:
        return None
    treated, control = (
        [fmean(side[pair] for pair in pairs) for pairs in by_store.values()] for side in (arm, baseline)
    )
    return paired_difference(treated, control)


def _best(validations: Mapping[str, Mapping[tuple[str, int], float]]) -> str | None:
    """The arm with the best mean on the validation videos of the pairs that all arms have; the first of equals."""
    shared = set.intersection(*(set(found) for found in validations.values())) if validations else set()
    if not shared:
        return None
    return max(validations, key=lambda arm: fmean(validations[arm][pair] for pair in shared))
