from pathlib import Path

from sparsedense.experiments.study_gates import study_gates
from sparsedense.experiments.study_jobs import Cell, StudyPlan
from sparsedense.experiments.study_results import StudyResults


def test_the_representation_is_judged_by_the_untrained_network(tmp_path: Path) -> None:
    """Above PyTorch's default weights, which are easier to beat, is not enough."""
    cells = [Cell("scratch", "store", 0, None, None, {}), Cell("mine", "store", 0, "pretrain/mine", "probe/mine", {})]
    figures = {"model": 0.5, "random": 0.1, "untrained": 0.6}
    better = {"model": 0.7, "random": 0.1, "untrained": 0.6}
    results = StudyResults(probes={"mine": [{"knn": figures, "linear": better, "controls": None}]})
    gates = study_gates(StudyPlan([], cells), {}, results, tmp_path, baseline="scratch", labels_per_class=[3])
    of_number = {gate.number: gate for gate in gates}
    assert [of_number[number].status for number in (4, 5)] == ["fail", "pass"]
    assert of_number[4].finding == "50 %, untrained 60 %: 0.8 times as often"
